//! Where etcd runs, and what each place needs.

use super::judge::{at, under};
use crate::inventory::host::Role;
use crate::inventory::model::{EtcdMode, Inventory};
use crate::inventory::structure::shown;
use crate::inventory::tree::Finding;

pub(super) fn check(inventory: &Inventory, found: &mut Vec<Finding>) {
    let etcd = &inventory.etcd;
    let files = [("ca_file", &etcd.ca_file), ("cert_file", &etcd.cert_file), ("key_file", &etcd.key_file)];
    if etcd.mode == EtcdMode::Stacked {
        let set = files.iter().filter(|(_, file)| file.is_some()).map(|(name, _)| *name);
        let lists = [("endpoints", &etcd.endpoints), ("hosts", &etcd.hosts)];
        let lists = lists.into_iter().filter(|(_, list)| !list.is_empty()).map(|(name, _)| name);
        for name in set.chain(lists) {
            found.push(Finding::warning(
                at(["etcd", name]),
                format!("`{name}` has no effect with a stacked etcd"),
                "set mode = \"external\", or remove it",
            ));
        }
        return;
    }
    if !etcd.hosts.is_empty() {
        built(inventory, found);
        let set = files.iter().filter(|(_, file)| file.is_some()).map(|(name, _)| *name);
        for name in set.chain((!etcd.endpoints.is_empty()).then_some("endpoints")) {
            found.push(Finding::error(
                at(["etcd", name]),
                format!("`{name}` is for an etcd that somebody else runs, and `hosts` for one that is built"),
                "remove one of the two",
            ));
        }
        return;
    }
    if etcd.endpoints.is_empty() {
        found.push(Finding::error(
            at(["etcd", "endpoints"]),
            "an external etcd needs its `endpoints`, or the `hosts` it is to be built on",
            "add endpoints = [\"https://192.168.10.21:2379\"], or hosts = [\"NAME\", \"NAME\", \"NAME\"]",
        ));
    }
    for (index, url) in etcd.endpoints.iter().enumerate() {
        // Without TLS the client certificate would be of no use, and etcd holds every secret of the cluster.
        let rest = url.strip_prefix("https://");
        if rest.is_none_or(|r| r.is_empty() || r.contains(['/', ' '])) {
            found.push(Finding::error(
                under(&at(["etcd", "endpoints"]), index),
                format!("\"{}\" is not a client URL of etcd", shown(url)),
                "write it like \"https://192.168.10.21:2379\"",
            ));
        }
    }
    for (name, file) in files {
        match file.as_deref() {
            None => found.push(Finding::error(
                at(["etcd", name]),
                format!("an external etcd needs `{name}`"),
                format!("add {name} = \"/etc/kubernetes/etcd/...\": a path on every control plane"),
            )),
            Some(path) if !path.starts_with('/') => found.push(Finding::error(
                at(["etcd", name]),
                format!("\"{}\" is not an absolute path", shown(path)),
                "it is a path on every control plane, like \"/etc/kubernetes/etcd/ca.crt\"",
            )),
            Some(_) => {}
        }
    }
}

/// An etcd that is built on hosts of the inventory.
fn built(inventory: &Inventory, found: &mut Vec<Finding>) {
    let etcd = &inventory.etcd;
    for (index, name) in etcd.hosts.iter().enumerate() {
        let place = under(&at(["etcd", "hosts"]), index);
        let host = inventory.hosts.iter().find(|h| h.name == *name);
        match host.map(|h| h.role) {
            None => found.push(Finding::error(
                place,
                format!("there is no host \"{}\"", shown(name)),
                "name hosts of this inventory: of role \"etcd\", or control planes",
            )),
            Some(Role::Worker) => found.push(Finding::error(
                place,
                format!(
                    "\"{}\" is a worker: whoever gets out of a pod there has every secret of the cluster",
                    shown(name)
                ),
                "give the host role = \"etcd\", or name a control plane",
            )),
            Some(_) if etcd.hosts.iter().take(index).any(|n| n == name) => {
                found.push(Finding::error(place, format!("\"{}\" stands twice", shown(name)), "remove one"));
            }
            Some(_) => {}
        }
    }
    let count = etcd.hosts.len();
    if count.is_multiple_of(2) {
        found.push(Finding::warning(
            at(["etcd", "hosts"]),
            format!("{count} members of etcd are an even number"),
            majority(count),
        ));
    }
}

/// What an even number of members is good for.
pub(super) fn majority(count: usize) -> String {
    let (less, more) = (count - 1, count + 1);
    format!(
        "etcd needs a majority: {count} members survive no more failures than {less}, and there are more of them to fail; \
         use {less} or {more}"
    )
}
