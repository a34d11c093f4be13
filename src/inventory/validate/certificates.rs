//! Who signs, and whose certificates those are.

use std::io;
use std::path::Path as FilePath;

use super::judge::at;
use crate::inventory::certificates::authority;
use crate::inventory::model::{EtcdMode, Inventory};
use crate::inventory::structure::shown;
use crate::inventory::tree::Finding;

pub(super) fn check(inventory: &Inventory, found: &mut Vec<Finding>) {
    let certificates = &inventory.certificates;
    let stacked = inventory.etcd.mode == EtcdMode::Stacked;
    for (name, file) in certificates.files() {
        let place = at(["certificates", name]);
        let wanted = certificates.is_external() && (name != "etcd_ca" || stacked);
        match file {
            Some(_) if !certificates.is_external() => found.push(Finding::warning(
                place,
                format!("`{name}` has no effect while kubeadm makes the CAs"),
                "set mode = \"external\", or remove it",
            )),
            Some(_) if !wanted => found.push(Finding::warning(
                place,
                format!("`{name}` has no effect with an etcd beside the cluster"),
                "remove it",
            )),
            None if wanted => found.push(Finding::error(
                place,
                format!("CAs that somebody else keeps need `{name}`"),
                format!(
                    "add {name} = \"pki/{}.crt\": the CA's certificate in PEM, beside the inventory",
                    name.replace('_', "-")
                ),
            )),
            _ => {}
        }
    }
    if certificates.is_external() && inventory.backup.schedule.is_some() {
        found.push(Finding::error(
            at(["backup", "schedule"]),
            "a backup holds the keys of the cluster's CAs, and somebody else keeps them",
            "remove the schedule, and save etcd with `etcdctl snapshot save` on a control plane",
        ));
    }
    if certificates.is_external() && !inventory.etcd.hosts.is_empty() {
        found.push(Finding::error(
            at(["etcd", "hosts"]),
            "an etcd that is built on hosts has a CA whose key lies on them",
            "with [certificates] mode = \"external\" etcd is stacked, or one that somebody else runs: endpoints",
        ));
    }
}

/// Reads the CAs into the inventory. `content` is asked for paths relative to the inventory; it may not look.
pub(in crate::inventory) fn read_authorities(
    inventory: &mut Inventory,
    content: &dyn Fn(&FilePath) -> Option<io::Result<String>>,
) -> Vec<Finding> {
    let certificates = &mut inventory.certificates;
    let mut found = Vec::new();
    if !certificates.is_external() {
        return found;
    }
    let mut authorities = certificates.authorities.clone();
    for (name, file) in certificates.files() {
        let Some((file, text)) = file.and_then(|f| Some((f, content(f)?))) else { continue };
        let path = shown(&file.display().to_string());
        let place = at(["certificates", name]);
        match text.map_err(|e| e.to_string()).as_deref().map(authority) {
            Err(why) => found.push(Finding::error(
                place,
                format!("failed to read {path} beside the inventory: {why}"),
                "put the CA's certificate in PEM there",
            )),
            Ok(Err(why)) => found.push(Finding::error(
                place,
                format!("{path} {why}"),
                "the file is the certificate of the CA that signs, alone; a CA's key has no place on this machine",
            )),
            Ok(Ok(pem)) => {
                let into = match name {
                    "ca" => &mut authorities.ca,
                    "front_proxy_ca" => &mut authorities.front_proxy_ca,
                    _ => &mut authorities.etcd_ca,
                };
                *into = Some(pem);
            }
        }
    }
    certificates.authorities = authorities;
    found
}
