//! Where containerd asks for images instead of at the registries that their names say. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::registry_steps;
use crate::error::Result;
use crate::inventory::{Inventory, RegistryMode};
use crate::registry::image_path;
use crate::resource::REGISTRY_CA;
use crate::resource::template::{Mirror, hosts_toml};

/// The `hosts.toml` of each upstream registry on this node: of those that the bundle's images name when there is a
/// registry of ours, and of those that the inventory itself gives mirrors, which win.
pub(super) fn hosts_files(
    inv: &Inventory,
    registries: &BTreeSet<String>,
    node: &str,
) -> Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    if inv.registry.mode != RegistryMode::Preload {
        let builtin = inv.registry.mode == RegistryMode::Builtin;
        let urls = if builtin { registry_steps::urls(inv)? } else { inv.registry.urls.clone() };
        let trusts = builtin || inv.registry.ca.is_some();
        for registry in registries {
            let mut mirrors: Vec<Mirror> = urls.iter().map(|url| ours(inv, url, registry, trusts)).collect();
            // Each node begins with another one: they share the load, and the loss of one is not felt by all.
            let index = inv.hosts.iter().position(|h| h.name == node).unwrap_or(0);
            let turn = index % mirrors.len().max(1);
            mirrors.rotate_left(turn);
            files.insert(registry.clone(), hosts_toml(registry, &mirrors, false)?);
        }
    }
    for (registry, mirrors) in &inv.runtime.mirrors {
        let mirrors: Vec<Mirror> = mirrors.iter().map(|url| Mirror::plain(url)).collect();
        files.insert(registry.clone(), hosts_toml(registry, &mirrors, true)?);
    }
    Ok(files)
}

/// As `bundle push` names repositories: the prefix, then the upstream registry.
fn ours(inv: &Inventory, url: &str, registry: &str, trusts: bool) -> Mirror {
    let prefix = match &inv.registry.prefix {
        Some(prefix) if inv.registry.mode == RegistryMode::External => format!("{prefix}/"),
        _ => String::new(),
    };
    let trusts = trusts && url.starts_with("https://");
    Mirror {
        url: format!("{}/v2/{prefix}{}", url.trim_end_matches('/'), image_path(registry)),
        ca: trusts.then(|| REGISTRY_CA.to_owned()),
        whole_path: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::{SAMPLE, parse};

    #[test]
    fn every_registry_of_the_bundle_is_asked_for_at_ours_and_nowhere_else() {
        let mut inv = parse(SAMPLE).unwrap_or_else(|d| panic!("{d:?}")).inventory;
        let first = inv.hosts[0].name.clone();
        let registries: BTreeSet<String> = ["registry.k8s.io", "docker.io"].map(str::to_owned).into();
        assert_eq!(hosts_files(&inv, &registries, &first).unwrap_or_default(), BTreeMap::new());
        inv.registry.mode = RegistryMode::External;
        inv.registry.urls = vec!["https://harbor.example/".into()];
        inv.registry.prefix = Some("k8s".into());
        inv.registry.ca = Some("PEM".into());
        inv.runtime.mirrors.insert("docker.io".into(), vec!["https://own.example".into()]);
        let files = hosts_files(&inv, &registries, &first).unwrap_or_default();
        assert_eq!(
            files["registry.k8s.io"],
            "# Written by provision: where registry.k8s.io is pulled from\n\
             server = \"https://harbor.example/v2/k8s/registry.k8s.io\"\ncapabilities = [\"pull\", \"resolve\"]\n\
             override_path = true\nca = \"/etc/provision/registry-ca.crt\"\n\n\
             [host.\"https://harbor.example/v2/k8s/registry.k8s.io\"]\ncapabilities = [\"pull\", \"resolve\"]\n\
             override_path = true\nca = \"/etc/provision/registry-ca.crt\"\n"
        );
        assert!(files["docker.io"].contains("[host.\"https://own.example\"]"));
    }

    #[test]
    fn the_hosts_of_a_builtin_registry_are_the_mirrors() {
        let mut inv = parse(SAMPLE).unwrap_or_else(|d| panic!("{d:?}")).inventory;
        inv.registry.mode = RegistryMode::Builtin;
        inv.registry.hosts = inv.hosts.iter().skip(1).take(2).map(|h| h.name.clone()).collect();
        let registries: BTreeSet<String> = ["docker.io".to_owned()].into();
        let first = inv.hosts[0].name.clone();
        let file = hosts_files(&inv, &registries, &first).unwrap_or_default().remove("docker.io").unwrap_or_default();
        for host in &inv.hosts[1..3] {
            let url = format!("\"https://{}:5443/v2/docker.io\"", host.address);
            assert!(file.contains(&url) && file.contains("ca = \"/etc/provision/registry-ca.crt\""), "{file}");
        }
    }

    #[test]
    fn every_node_begins_with_another_registry() {
        let mut inv = parse(SAMPLE).unwrap_or_else(|d| panic!("{d:?}")).inventory;
        inv.registry.mode = RegistryMode::External;
        inv.registry.urls = ["https://a:5443", "https://b:5443"].map(str::to_owned).into();
        let registries: BTreeSet<String> = ["docker.io".to_owned()].into();
        let mut firsts = BTreeSet::new();
        for host in &inv.hosts {
            let file =
                hosts_files(&inv, &registries, &host.name).unwrap_or_default().remove("docker.io").unwrap_or_default();
            assert!(file.contains("//a:5443/v2/docker.io\"") && file.contains("//b:5443/v2/docker.io\""), "{file}");
            firsts.extend(file.lines().find(|l| l.starts_with("[host.")).map(str::to_owned));
        }
        assert_eq!(firsts.len(), inv.hosts.len().min(2));
    }
}
