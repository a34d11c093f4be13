//! Flags of the components: `bundles/flags.toml`, embedded. Pure.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use super::component::Component;
use crate::error::{Error, Result};
use crate::nearest::nearest;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    minor: u32,
    common: Vec<String>,
    flags: BTreeMap<Component, Vec<String>>,
}

static TABLE: LazyLock<std::result::Result<Table, toml::de::Error>> =
    LazyLock::new(|| toml::from_str(include_str!("../../bundles/flags.toml")));

/// A flag that `--help` of the component of 1.`minor` does not list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownFlag {
    /// A flag of it with a like name.
    pub near: Option<String>,
}

/// Whether the component of 1.`minor` does not list this flag (without leading dashes); of minors and components that are
/// not in the table nothing is said. A flag may be hidden from the list and exist.
///
/// # Errors
/// When the table in the program is broken, which a test rules out.
pub fn unknown_flag(component: Component, minor: u32, flag: &str) -> Result<Option<UnknownFlag>> {
    let table = TABLE.as_ref().map_err(|e| Error::failed(format!("failed to read bundles/flags.toml: {e}")))?;
    let Some(own) = table.flags.get(&component).filter(|_| table.minor == minor) else { return Ok(None) };
    let all: Vec<&str> = table.common.iter().chain(own).map(String::as_str).collect();
    // As pflag compares them in Kubernetes.
    let name = flag.replace('_', "-");
    if all.contains(&name.as_str()) {
        return Ok(None);
    }
    Ok(Some(UnknownFlag { near: nearest(&name, &all).map(str::to_owned) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_known_by_component() {
        let near = |component, flag| {
            unknown_flag(component, 36, flag).unwrap_or_else(|e| panic!("{e}")).map(|f| f.near.unwrap_or_default())
        };
        for flag in ["v", "feature-gates", "audit-log-path", "audit_log_path", "etcd-servers"] {
            assert_eq!(near(Component::KubeApiserver, flag), None, "{flag}");
        }
        assert_eq!(near(Component::KubeApiserver, "audit-log-pat"), Some("audit-log-path".into()));
        assert_eq!(near(Component::Kubelet, "node-ip"), None);
        assert!(near(Component::KubeScheduler, "node-ip").is_some());
        assert_eq!(unknown_flag(Component::Kubelet, 35, "zyx").ok(), Some(None));
    }
}
