//! What each registry mode needs.

use super::judge::{at, under};
use super::syntax::{is_base_url, is_path_prefix};
use crate::inventory::model::Inventory;
use crate::inventory::structure::shown;
use crate::inventory::tree::Finding;
use crate::inventory::{Registry, RegistryMode};

pub(super) fn check(inventory: &Inventory, found: &mut Vec<Finding>) {
    let registry = &inventory.registry;
    match registry.mode {
        RegistryMode::Preload => foreign(registry, "preload", found),
        RegistryMode::External => external(registry, found),
        RegistryMode::Builtin => builtin(inventory, found),
    }
    if registry.mode != RegistryMode::Builtin && !registry.hosts.is_empty() {
        found.push(Finding::warning(
            at(["registry", "hosts"]),
            "`hosts` has effect only in mode \"builtin\"",
            "set mode = \"builtin\", or remove it",
        ));
    }
}

fn builtin(inventory: &Inventory, found: &mut Vec<Finding>) {
    let registry = &inventory.registry;
    match registry.hosts.as_slice() {
        [] => found.push(Finding::error(
            at(["registry", "mode"]),
            "mode \"builtin\" needs the `hosts` that serve",
            "add hosts = [\"NAME\", \"NAME\"]: two or more names of [[hosts]]",
        )),
        [only] => found.push(Finding::warning(
            at(["registry", "hosts"]),
            format!("without {} no image can be pulled", shown(only)),
            "name a second host, so that the loss of one costs nothing",
        )),
        _ => {}
    }
    let known: Vec<&str> = inventory.hosts.iter().map(|h| h.name.as_str()).collect();
    for (index, name) in registry.hosts.iter().enumerate() {
        let place = under(&at(["registry", "hosts"]), index);
        if !known.contains(&name.as_str()) {
            found.push(Finding::error(
                place,
                format!("there is no host \"{}\"", shown(name)),
                format!("name hosts of this inventory: {}", known.join(", ")),
            ));
        } else if registry.hosts.iter().take(index).any(|n| n == name) {
            found.push(Finding::error(place, format!("\"{}\" stands twice", shown(name)), "remove one"));
        }
    }
    // Kubernetes' own, and those a service without privileges cannot have.
    let endpoint = inventory.api_endpoint().port;
    if registry.port < 1024
        || (10248..=10260).contains(&registry.port)
        || [2379, 2380, 2381, 6443, endpoint].contains(&registry.port)
    {
        found.push(Finding::error(
            at(["registry", "port"]),
            format!("port {} cannot be the registry's", registry.port),
            "choose one of 1024 and above that neither Kubernetes nor etcd nor the API endpoint has; 5443 when left out",
        ));
    }
    foreign(registry, "builtin", found);
}

/// The keys of mode "external" in another.
fn foreign(registry: &Registry, mode: &str, found: &mut Vec<Finding>) {
    let set = [
        ("urls", !registry.urls.is_empty()),
        ("prefix", registry.prefix.is_some()),
        ("ca_file", registry.ca_file.is_some()),
    ];
    for (key, _) in set.into_iter().filter(|(_, set)| *set) {
        found.push(Finding::warning(
            at(["registry", key]),
            format!("`{key}` has no effect in mode \"{mode}\""),
            "set mode = \"external\", or remove it",
        ));
    }
}

fn external(registry: &Registry, found: &mut Vec<Finding>) {
    if registry.urls.is_empty() {
        found.push(Finding::error(
            at(["registry", "mode"]),
            "mode \"external\" needs the `urls` of the registry",
            "add urls = [\"https://registry.example.internal\"]; several when the same is in several",
        ));
    }
    for (index, url) in registry.urls.iter().enumerate() {
        // A path would be another prefix: one place for it is enough.
        if !is_base_url(url) || url.split("://").nth(1).is_some_and(|u| u.trim_end_matches('/').contains('/')) {
            found.push(Finding::error(
                under(&at(["registry", "urls"]), index),
                format!("\"{}\" is not the URL of a registry", shown(url)),
                "write scheme, host and port, like \"https://registry.example.internal:5000\"; what comes before the \
                 repositories' names is `prefix`",
            ));
        }
    }
    if registry.ca_file.is_some() && registry.urls.iter().any(|u| u.starts_with("http://")) {
        found.push(Finding::warning(
            at(["registry", "ca_file"]),
            "`ca_file` has no effect for a URL without encryption",
            "write https:// in `urls`, or remove it",
        ));
    }
    if let Some(prefix) = registry.prefix.as_deref().filter(|p| !is_path_prefix(p)) {
        found.push(Finding::error(
            at(["registry", "prefix"]),
            format!("\"{}\" cannot stand before a repository's name", shown(prefix)),
            "write what `bundle push REGISTRY/PREFIX` was given, like \"k8s\" or \"mirror/k8s\"",
        ));
    }
}
