//! What Kubernetes itself takes away between two minors: `bundles/removals.toml`, embedded. Pure.

use std::sync::LazyLock;

use serde::Deserialize;

use super::component::Component;
use crate::error::{Error, Result};

/// `bundles/removals.toml`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// Versions of APIs that are no longer served.
    pub api: Vec<GoneApi>,
    /// Flags.
    pub flag: Vec<GoneFlags>,
    /// Feature gates.
    pub gate: Vec<Gone>,
    /// Admission plugins.
    pub admission: Vec<Gone>,
}

/// A version of an API that a minor no longer serves.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GoneApi {
    /// The first minor without it.
    pub minor: u32,
    /// Its group.
    pub group: String,
    /// Its version.
    pub version: String,
    /// Its resources.
    pub resources: Vec<String>,
    /// What takes its place.
    pub instead: String,
    /// Where that is written.
    pub source: String,
}

/// Flags that a minor no longer has.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GoneFlags {
    /// The first minor without them.
    pub minor: u32,
    /// Whose flags they were.
    pub components: Vec<Component>,
    /// The flags, without leading dashes.
    pub names: Vec<String>,
    /// Where that is written.
    pub source: String,
}

/// Names that a minor no longer has.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gone {
    /// The first minor without them.
    pub minor: u32,
    /// The names.
    pub names: Vec<String>,
    /// Where that is written.
    pub source: String,
}

static TABLE: LazyLock<std::result::Result<Table, toml::de::Error>> =
    LazyLock::new(|| toml::from_str(include_str!("../../bundles/removals.toml")));

/// The table.
///
/// # Errors
/// When the table in the program is broken, which a test rules out.
pub fn table() -> Result<&'static Table> {
    TABLE.as_ref().map_err(|e| Error::failed(format!("failed to read bundles/removals.toml: {e}")))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::version::{NEWEST_MINOR, OLDEST_MINOR};

    #[test]
    fn the_table_is_well_formed_and_sourced() {
        let table = table().unwrap_or_else(|e| panic!("{e}"));
        type Entries = Vec<(u32, Vec<String>, String)>;
        let gone = |g: &Gone| (g.minor, g.names.clone(), g.source.clone());
        let kinds: [(&str, Entries); 4] = [
            ("flag", table.flag.iter().map(|g| (g.minor, g.names.clone(), g.source.clone())).collect()),
            ("gate", table.gate.iter().map(gone).collect()),
            ("admission", table.admission.iter().map(gone).collect()),
            ("api", table.api.iter().map(|g| (g.minor, g.resources.clone(), g.source.clone())).collect()),
        ];
        for (kind, entries) in kinds {
            assert!(entries.windows(2).all(|w| w[0].0 <= w[1].0), "{kind} is not sorted");
            for (minor, names, source) in entries {
                assert!((OLDEST_MINOR + 1..=NEWEST_MINOR).contains(&minor), "{kind} {minor}");
                let ours = ["https://kubernetes.io/", "https://github.com/kubernetes/"];
                assert!(ours.iter().any(|o| source.starts_with(o)), "{kind} {names:?}: {source}");
                assert!(!names.is_empty() && names.iter().all(|n| !n.is_empty() && !n.starts_with('-')), "{names:?}");
            }
        }
        let mut seen = BTreeSet::new();
        for name in table.gate.iter().flat_map(|g| &g.names) {
            assert!(seen.insert(name), "{name} is removed twice");
        }
        let mut seen = BTreeSet::new();
        for api in &table.api {
            for resource in &api.resources {
                assert!(seen.insert((&api.group, &api.version, resource)), "{resource} stands twice");
            }
        }
    }
}
