//! What each registry mode needs.

use super::judge::at;
use super::syntax::{is_base_url, is_path_prefix};
use crate::inventory::model::Inventory;
use crate::inventory::structure::shown;
use crate::inventory::tree::Finding;
use crate::inventory::{Registry, RegistryMode};

pub(super) fn check(inventory: &Inventory, found: &mut Vec<Finding>) {
    let registry = &inventory.registry;
    match registry.mode {
        RegistryMode::Preload => unused(registry, found),
        RegistryMode::External => external(registry, found),
        RegistryMode::Builtin => found.push(Finding::error(
            at(["registry", "mode"]),
            "mode \"builtin\" is not there yet",
            "run `provision serve` where you like and name it with mode \"external\", or leave [registry] out",
        )),
    }
}

fn unused(registry: &Registry, found: &mut Vec<Finding>) {
    let set = [
        ("url", registry.url.is_some()),
        ("prefix", registry.prefix.is_some()),
        ("ca_file", registry.ca_file.is_some()),
    ];
    for (key, _) in set.into_iter().filter(|(_, set)| *set) {
        found.push(Finding::warning(
            at(["registry", key]),
            format!("`{key}` has no effect in mode \"preload\""),
            "set mode = \"external\", or remove it",
        ));
    }
}

fn external(registry: &Registry, found: &mut Vec<Finding>) {
    match registry.url.as_deref() {
        None => {
            let mut finding = Finding::error(
                at(["registry", "mode"]),
                "mode \"external\" needs the `url` of the registry",
                "add url = \"https://registry.example.internal\"",
            );
            finding.on_key = true;
            found.push(finding);
        }
        // A path would be another prefix: one place for it is enough.
        Some(url)
            if !is_base_url(url) || url.split("://").nth(1).is_some_and(|u| u.trim_end_matches('/').contains('/')) =>
        {
            found.push(Finding::error(
                at(["registry", "url"]),
                format!("\"{}\" is not the URL of a registry", shown(url)),
                "write scheme, host and port, like \"https://registry.example.internal:5000\"; what comes before the \
                 repositories' names is `prefix`",
            ));
        }
        Some(url) if url.starts_with("http://") && registry.ca_file.is_some() => found.push(Finding::warning(
            at(["registry", "ca_file"]),
            "`ca_file` has no effect beside a url without encryption",
            "write https:// in `url`, or remove it",
        )),
        Some(_) => {}
    }
    if let Some(prefix) = registry.prefix.as_deref().filter(|p| !is_path_prefix(p)) {
        found.push(Finding::error(
            at(["registry", "prefix"]),
            format!("\"{}\" cannot stand before a repository's name", shown(prefix)),
            "write what `bundle push REGISTRY/PREFIX` was given, like \"k8s\" or \"mirror/k8s\"",
        ));
    }
}
