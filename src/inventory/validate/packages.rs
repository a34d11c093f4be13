//! Package repositories and the names of packages.

use super::judge::{at, under};
use super::syntax::{is_base_url, is_dns_label};
use crate::inventory::model::Inventory;
use crate::inventory::packages::{PackageKind, PackageRepository};
use crate::inventory::structure::shown;
use crate::inventory::tree::{Finding, Path};

pub(super) fn check(inventory: &Inventory, found: &mut Vec<Finding>) {
    let all = &inventory.packages.repository;
    for (index, repository) in all.iter().enumerate() {
        let path = under(&at(["packages", "repository"]), index);
        one(&path, repository, found);
        if all[..index].iter().any(|other| other.name == repository.name) {
            found.push(Finding::error(
                under(&path, "name"),
                format!("two package repositories are named \"{}\"", shown(&repository.name)),
                "give each a name of its own",
            ));
        }
    }
    if !all.is_empty() && all.iter().all(|r| r.names.is_empty()) {
        found.push(Finding::warning(
            at(["packages", "repository"]),
            "no package is named: the repositories have no effect",
            "add names = [\"...\"] to one of them",
        ));
    }
}

fn one(path: &Path, repository: &PackageRepository, found: &mut Vec<Finding>) {
    if !is_dns_label(&repository.name) {
        found.push(Finding::error(
            under(path, "name"),
            format!("\"{}\" is not a name for a repository", shown(&repository.name)),
            "use lower case letters, digits and dashes, like \"debian\"",
        ));
    }
    if !is_base_url(&repository.url.replace("{arch}", "arch")) {
        found.push(Finding::error(
            under(path, "url"),
            format!("\"{}\" is not a base URL", shown(&repository.url)),
            "write it like \"https://mirror.example/debian\", without a query",
        ));
    }
    let flat = repository.suite.as_deref().is_some_and(|s| s.ends_with('/'));
    match (repository.kind, &repository.suite) {
        (PackageKind::Deb, None) => found.push(Finding::error(
            path.clone(),
            "a deb repository needs a suite",
            "add suite = \"bookworm\", or suite = \"./\" for a flat repository",
        )),
        (PackageKind::Deb, Some(suite)) if !is_path(suite) => found.push(Finding::error(
            under(path, "suite"),
            format!("\"{}\" is not a suite", shown(suite)),
            "write it like \"bookworm\" or \"bookworm-security\"",
        )),
        (PackageKind::Deb, Some(_)) if flat != repository.components.is_empty() => found.push(Finding::error(
            under(path, "components"),
            if flat { "a flat repository has no components" } else { "a suite without components holds no packages" },
            "write components = [\"main\"], or end the suite with `/` when the repository is flat",
        )),
        (PackageKind::Rpm, Some(_)) => {
            found.push(of_deb(under(path, "suite")));
        }
        _ => {}
    }
    if repository.kind == PackageKind::Rpm && !repository.components.is_empty() {
        found.push(of_deb(under(path, "components")));
    }
    for (index, component) in repository.components.iter().enumerate().filter(|(_, c)| !is_path(c)) {
        found.push(Finding::error(
            under(&under(path, "components"), index),
            format!("\"{}\" is not a component", shown(component)),
            "write it like \"main\"",
        ));
    }
    for (index, name) in repository.names.iter().enumerate().filter(|(_, n)| !is_package_name(n)) {
        found.push(Finding::error(
            under(&under(path, "names"), index),
            format!("\"{}\" is not the name of a package", shown(name)),
            "write the name alone, like \"conntrack\": the version is the newest that is found, and the lock pins it",
        ));
    }
}

fn of_deb(path: Path) -> Finding {
    let mut finding = Finding::error(path, "only deb repositories have this", "remove it");
    finding.on_key = true;
    finding
}

// Part of a URL, and never a way out of it.
fn is_path(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('/')
        && text.split('/').all(|part| part != "..")
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'/' | b'+' | b'~'))
}

// What both dpkg and rpm take; it is passed to apt-get and dnf, so it never begins with a dash.
fn is_package_name(text: &str) -> bool {
    text.len() >= 2
        && text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.' | b'_'))
        // apt-get reads `name+` and `name-` as "install" and "remove".
        && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_paths_are_judged() {
        assert!(is_package_name("libstdc++6") && is_package_name("python3.11") && is_package_name("NetworkManager"));
        for bad in ["", "a", "-y", "a b", "a=1", "nano-", "a/b", "a;b"] {
            assert!(!is_package_name(bad), "{bad}");
        }
        assert!(is_path("bookworm") && is_path("./") && is_path("stable/updates"));
        for bad in ["", "/a", "../a", "a b", "a?b"] {
            assert!(!is_path(bad), "{bad}");
        }
    }
}
