//! Packages of the operating system.

use std::collections::BTreeMap;

use super::shell::shell_probe;
use crate::host::{Answer, Probe};
use crate::inventory::PackageKind;
use crate::packages::compare;
use crate::plan::LocalFile;

/// Asks which of these packages are installed, and in which version.
pub(super) fn packages_probe(manager: PackageKind, set: &[LocalFile]) -> Probe {
    let names: Vec<&str> = set.iter().map(|p| p.name.as_str()).collect();
    match manager {
        PackageKind::Deb => shell_probe("packages-deb", &names),
        PackageKind::Rpm => shell_probe("packages-rpm", &names),
    }
}

/// Whether all of `names` are installed, and none of `set` that is installed is older than it is there.
pub(super) fn packages_are_there(answer: &Answer, manager: PackageKind, names: &[String], set: &[LocalFile]) -> bool {
    let Answer::Shell { code: 0, stdout, .. } = answer else {
        return false;
    };
    let mut installed: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, version) in stdout.lines().filter_map(|l| l.split_once(' ')) {
        // A package may be there for two architectures, or in two versions where that is allowed: the newest counts.
        let newest = installed.entry(name).or_insert(version);
        if compare(manager, version, newest).is_gt() {
            *newest = version;
        }
    }
    names.iter().all(|n| installed.contains_key(n.as_str()))
        && set.iter().all(|p| installed.get(p.name.as_str()).is_none_or(|v| compare(manager, v, &p.version).is_ge()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::Digest;

    #[test]
    fn what_is_installed_is_judged() {
        let file = |name: &str, version: &str| LocalFile {
            name: name.into(),
            version: version.into(),
            digest: Digest::of(b""),
            path: String::new(),
        };
        let set = [file("app", "1:2.0-1"), file("lib", "1.0")];
        let judge = |stdout: &str| {
            let answer = Answer::Shell { code: 0, stdout: stdout.into(), stderr: String::new() };
            packages_are_there(&answer, PackageKind::Deb, &["app".into()], &set)
        };
        assert!(judge("app 1:2.0-1\n") && judge("app 1:2.1\nlib 1.0\n") && judge("lib 0.9\nlib 1.1\napp 2:0\n"));
        assert!(!judge("") && !judge("lib 1.0\n") && !judge("app 2.0-1\n") && !judge("app 1:2.0-1\nlib 0.9\n"));
        assert!(!packages_are_there(&Answer::Absent, PackageKind::Deb, &[], &set));
    }
}
