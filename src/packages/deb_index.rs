//! A deb repository's Packages index. Pure.

use std::collections::BTreeMap;
use std::io::BufRead;

use super::catalog::{Candidate, Catalog};
use super::relation::parse_deb;
use super::stanza::{Stanza, each_stanza, render};
use crate::error::{Error, Result};

/// What apt reads of a package; the rest (descriptions, tags, addresses) stays out of lock and bundle. apt tells two
/// packages of one version apart by these, so they are kept as they are.
const KEPT: &[&str] = &[
    "Package",
    "Version",
    "Architecture",
    "Multi-Arch",
    "Essential",
    "Protected",
    "Important",
    "Priority",
    "Section",
    "Source",
    "Installed-Size",
    "Pre-Depends",
    "Depends",
    "Conflicts",
    "Breaks",
    "Replaces",
    "Provides",
];

/// Adds the packages of an index to the catalog. `repository` is its place in the inventory, `arch` the architecture
/// that the index is for.
pub fn read_index(
    what: &str,
    reader: &mut dyn BufRead,
    repository: usize,
    arch: &str,
    catalog: &mut Catalog,
) -> Result<()> {
    each_stanza(what, reader, &mut |stanza| {
        let own = stanza.must(what, "Architecture")?;
        // A flat repository's index holds every architecture.
        if own != arch && own != "all" { Ok(()) } else { catalog.add(candidate(what, *stanza, repository, arch)?) }
    })
}

fn candidate(what: &str, stanza: Stanza<'_>, repository: usize, arch: &str) -> Result<Candidate> {
    let kept = stanza.fields().filter(|(name, _)| KEPT.iter().any(|k| k.eq_ignore_ascii_case(name)));
    let kept: BTreeMap<String, String> =
        kept.map(|(name, value)| (name.to_owned(), value.replace('\n', " "))).collect();
    let (name, version) = (stanza.must(what, "Package")?, stanza.must(what, "Version")?);
    let of = || format!("{what}, package {name}");
    let path = stanza.must(&of(), "Filename")?;
    if path.starts_with('/') || path.split('/').any(|part| part == "..") || path.contains("://") {
        return Err(Error::invalid(format!("{} lies at `{path}`, outside of the repository", of())));
    }
    let provides = parse_deb(&stanza.get("Provides").unwrap_or_default(), arch)?;
    let size = stanza.must(&of(), "Size")?;
    Ok(Candidate {
        repository,
        base: stanza.get("Essential").as_deref() == Some("yes")
            || stanza.get("Priority").as_deref() == Some("required"),
        rank: match stanza.get("Priority").as_deref() {
            Some("required") => 0,
            Some("important") => 1,
            Some("standard") => 2,
            Some("optional") => 3,
            _ => 4,
        },
        size: size.parse().map_err(|_| Error::invalid(format!("{} has the size `{size}`", of())))?,
        sha256: stanza.must(&of(), "SHA256")?.parse()?,
        provides: provides
            .into_iter()
            .flat_map(|r| r.any)
            .map(|r| (r.name, r.constraint.map(|(_, version)| version)))
            .collect(),
        fields: render(&kept, &["Package", "Version"]),
        name,
        version,
        path: path.trim_start_matches("./").to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::resolve::resolve;
    use super::*;
    use crate::inventory::PackageKind;

    fn catalog(stanzas: &[&str]) -> Result<Catalog> {
        let text: String = stanzas
            .iter()
            .map(|s| {
                let (first, rest) = s.split_once('\n').unwrap_or((s, ""));
                let (name, version) = first.split_once(' ').unwrap_or((first, "1"));
                let rest = if rest.is_empty() { String::new() } else { format!("{rest}\n") };
                format!("Package: {name}\nVersion: {version}\nArchitecture: amd64\nFilename: pool/{name}.deb\nSize: 1\nSHA256: {}\n{rest}\n", "0".repeat(64))
            })
            .collect();
        let mut catalog = Catalog::new(PackageKind::Deb, "amd64");
        read_index("the test", &mut text.as_bytes(), 0, "amd64", &mut catalog)?;
        Ok(catalog)
    }

    fn set(stanzas: &[&str], names: &[&str]) -> std::result::Result<String, String> {
        let catalog = catalog(stanzas).map_err(|e| e.report())?;
        let found = resolve(&catalog, names, true).map_err(|e| e.report())?;
        let shown: Vec<String> =
            found.iter().map(|i| format!("{} {}", catalog.get(*i).name, catalog.get(*i).version)).collect();
        Ok(shown.join(", "))
    }

    #[test]
    fn a_set_is_closed() {
        let repository = [
            "app\nDepends: lib (>= 2), mta | exim\nPre-Depends: early",
            "early\nDepends: core",
            "lib 1",
            "lib 2.1\nDepends: app",
            "postfix\nPriority: optional\nProvides: mta",
            "aaa\nPriority: extra\nProvides: mta",
            "core\nPriority: required\nDepends: libc",
            "libc",
            "unused",
        ];
        assert_eq!(set(&repository, &["app"]).as_deref(), Ok("app 1, early 1, lib 2.1, postfix 1"));
        assert_eq!(set(&repository, &["libc", "unused"]).as_deref(), Ok("libc 1, unused 1"));
    }

    #[test]
    fn a_later_constraint_narrows_an_earlier_choice() {
        let repository = ["app\nDepends: lib, plugin", "lib 3", "lib 2", "plugin\nDepends: lib (= 2)"];
        assert_eq!(set(&repository, &["app"]).as_deref(), Ok("app 1, lib 2, plugin 1"));
        let torn = ["app\nDepends: lib (>= 3), plugin", "lib 3", "lib 2", "plugin\nDepends: lib (= 2)"];
        let said = set(&torn, &["app"]).err().unwrap_or_default();
        assert!(said.contains("lib (= 2)") && said.contains("plugin 1"), "{said}");
    }

    #[test]
    fn what_is_missing_names_the_chain() {
        let said = set(&["app\nDepends: mid", "mid\nDepends: lib (>= 2) | other", "lib 1"], &["app"]).err();
        let said = said.unwrap_or_default();
        assert!(
            said.contains("no deb repository has lib (>= 2) | other, which mid 1, which is needed by app 1 needs"),
            "{said}"
        );
        assert!(said.contains("there is only lib 1"), "{said}");
        assert!(set(&["a"], &["b"]).is_err_and(|e| e.contains("no deb repository has the package b")));
        assert!(set(&["a\nProvides: b"], &["b"]).is_err_and(|e| e.contains("a provides it")));
    }

    #[test]
    fn virtual_packages_have_versions_only_when_said() {
        let repository = ["app\nDepends: virt (>= 2)", "x\nProvides: virt", "y\nProvides: virt (= 3)"];
        assert_eq!(set(&repository, &["app"]).as_deref(), Ok("app 1, y 1"));
    }

    #[test]
    fn packages_that_exclude_each_other_are_named() {
        for field in ["Conflicts", "Breaks"] {
            let said = set(&[&format!("a 1\n{field}: b (<< 2)"), "b 1"], &["a", "b"]).err().unwrap_or_default();
            assert!(said.contains("a 1 and b 1 exclude each other"), "{said}");
        }
        // One that provides what it conflicts with does not exclude itself.
        assert!(set(&["a 1\nProvides: mta\nConflicts: mta"], &["a"]).is_ok());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), depends in "\\PC{0,40}") {
            let mut catalog = Catalog::new(PackageKind::Deb, "amd64");
            let _ = read_index("the test", &mut &bytes[..], 0, "amd64", &mut catalog);
            let _ = set(&[&format!("a 1\nDepends: {depends}")], &["a"]);
        }

        /// Whatever the graph: what comes out is closed, and the same each time.
        #[test]
        fn any_graph_is_closed(edges in prop::collection::vec(prop::collection::vec(0usize..12, 0..4), 12), roots in prop::collection::btree_set(0usize..12, 1..4)) {
            let stanzas: Vec<String> = edges.iter().enumerate().map(|(n, to)| {
                let list: Vec<String> = to.iter().map(|t| format!("p{t}")).collect();
                format!("p{n} 1\nDepends: {}", list.join(", "))
            }).collect();
            let stanzas: Vec<&str> = stanzas.iter().map(String::as_str).collect();
            let names: Vec<String> = roots.iter().map(|r| format!("p{r}")).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let said = set(&stanzas, &names).map_err(TestCaseError::fail)?;
            let (mut wanted, mut open) = (roots.clone(), roots.into_iter().collect::<Vec<_>>());
            while let Some(at) = open.pop() {
                open.extend(edges[at].iter().filter(|t| wanted.insert(**t)));
            }
            let mut wanted: Vec<String> = wanted.into_iter().map(|w| format!("p{w} 1")).collect();
            wanted.sort();
            prop_assert_eq!(said, wanted.join(", "));
        }
    }
}
