//! Hosts, pools and how they are reached.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;

use super::judge::{at, under};
use super::syntax::{is_dns_label, is_env_name, is_label_key, is_label_value, is_taint};
use crate::inventory::structure::shown;
use crate::inventory::tree::{Finding, Path};
use crate::inventory::{Host, Inventory, Jump, Role, Sudo, SudoMethod};

/// Labels that say what a node is; they follow from its role.
const ROLE_LABELS: [&str; 2] = ["node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"];

pub(super) fn check(inventory: &Inventory, found: &mut Vec<Finding>) {
    let mut names: BTreeMap<&str, usize> = BTreeMap::new();
    let mut addresses = BTreeMap::new();
    let mut reached = BTreeMap::new();
    let nodes = inventory.machines();
    for (index, (host, node)) in inventory.hosts.iter().zip(&nodes).enumerate() {
        let path = under(&at(["hosts"]), index);
        if !is_dns_label(&host.name) {
            found.push(Finding::error(
                under(&path, "name"),
                format!("\"{}\" is not a DNS label", shown(&host.name)),
                "use lower-case letters, digits and dashes, at most 63 of them, like \"worker-1\"",
            ));
        }
        if names.insert(&host.name, index).is_some() {
            found.push(Finding::error(
                under(&path, "name"),
                format!("there is a second host \"{}\"", shown(&host.name)),
                "node names are unique in a cluster: rename one of the two",
            ));
        }
        if let Some(first) = addresses.insert(host.address, &host.name) {
            found.push(Finding::error(
                under(&path, "address"),
                format!("{} is the address of host \"{}\" too", host.address, shown(first)),
                "give every host an address of its own",
            ));
        } else if let Some(first) = reached.insert((&node.ssh.address, node.ssh.port, &node.ssh.jump), &host.name) {
            found.push(Finding::error(
                under(&path, "ssh_address"),
                format!("SSH of this host leads to the same place as that of host \"{}\"", shown(first)),
                "give every host an ssh_address or a port of its own",
            ));
        }
        if host.address.is_unspecified() || host.address.is_loopback() || host.address.is_multicast() {
            found.push(Finding::error(
                under(&path, "address"),
                format!("{} cannot be the address of a node", host.address),
                "use the address by which the other nodes reach it",
            ));
        }
        if host.role == Role::Etcd {
            dedicated(inventory, host, &path, found);
        }
        check_host(inventory, host, &path, found);
    }
    check_settings(inventory, found);
    control_planes(inventory, found);
}

/// A host for etcd alone.
fn dedicated(inventory: &Inventory, host: &Host, path: &Path, found: &mut Vec<Finding>) {
    if !inventory.etcd.runs_on(&host.name) {
        found.push(Finding::error(
            under(path, "role"),
            format!("\"{}\" is for etcd alone, and [etcd] does not name it", shown(&host.name)),
            "set mode = \"external\" in [etcd] and put the host into its `hosts`, or give it another role",
        ));
    }
    let set = [("labels", !host.labels.is_empty()), ("taints", !host.taints.is_empty())];
    for (key, _) in set.into_iter().filter(|(_, set)| *set) {
        found.push(Finding::warning(
            under(path, key),
            format!("`{key}` has no effect on a host that is no node of the cluster"),
            "remove it",
        ));
    }
    if inventory.registry.is_served_by(&host.name) {
        found.push(Finding::error(
            under(path, "role"),
            format!("\"{}\" is for etcd alone, and [registry] names it", shown(&host.name)),
            "let nodes of the cluster serve images",
        ));
    }
}

fn control_planes(inventory: &Inventory, found: &mut Vec<Finding>) {
    let count = inventory.hosts.iter().filter(|h| h.role.is_control_plane()).count();
    if count == 0 {
        found.push(Finding::error(
            at(["hosts"]),
            "no host is a control plane",
            "give one host, or better three, role = \"control-plane\" (or \"both\")",
        ));
    } else if count % 2 == 0 {
        found.push(Finding::warning(
            at(["hosts"]),
            format!("{count} control planes are an even number"),
            super::etcd::majority(count),
        ));
    }
}

fn check_host(inventory: &Inventory, host: &Host, path: &Path, found: &mut Vec<Finding>) {
    if let Some(pool) = host.pool.as_deref().filter(|p| !inventory.pools.contains_key(*p)) {
        let known: Vec<&str> = inventory.pools.keys().map(String::as_str).collect();
        let help =
            if known.is_empty() { "none is defined".into() } else { format!("defined are {}", known.join(", ")) };
        found.push(Finding::error(
            under(path, "pool"),
            format!("there is no pool \"{}\"", shown(pool)),
            format!("add a table [pools.{}]; {help}", shown(pool)),
        ));
    }
    if let Some(key) = &host.host_key {
        check_host_key(under(path, "host_key"), key, found);
    }
    let settings = Settings {
        port: host.port,
        sudo: host.sudo.as_ref(),
        jump: host.jump.as_ref(),
        key_passphrase_env: None,
        labels: &host.labels,
        taints: &host.taints,
    };
    settings.check(path, found);
}

fn check_settings(inventory: &Inventory, found: &mut Vec<Finding>) {
    let used: BTreeSet<&str> = inventory.hosts.iter().filter_map(|h| h.pool.as_deref()).collect();
    let pools = inventory.pools.iter().map(|(name, settings)| (under(&at(["pools"]), name), settings));
    for (path, settings) in pools.chain([(at(["defaults"]), &inventory.defaults)]) {
        let settings = Settings {
            port: settings.port,
            sudo: settings.sudo.as_ref(),
            jump: settings.jump.as_ref(),
            key_passphrase_env: settings.key_passphrase_env.as_deref(),
            labels: &settings.labels,
            taints: &settings.taints,
        };
        settings.check(&path, found);
    }
    for name in inventory.pools.keys().filter(|p| !used.contains(p.as_str())) {
        found.push(Finding::warning(
            under(&at(["pools"]), name),
            format!("no host is in pool \"{}\"", shown(name)),
            "name it in a host (pool = \"...\"), or remove it",
        ));
    }
}

// What hosts, pools and defaults have in common.
struct Settings<'a> {
    port: Option<u16>,
    sudo: Option<&'a Sudo>,
    jump: Option<&'a Jump>,
    key_passphrase_env: Option<&'a str>,
    labels: &'a BTreeMap<String, String>,
    taints: &'a [String],
}

impl Settings<'_> {
    fn check(&self, path: &Path, found: &mut Vec<Finding>) {
        check_port(under(path, "port"), self.port, found);
        if let Some(sudo) = self.sudo {
            check_sudo(&under(path, "sudo"), sudo, found);
        }
        if let Some(jump) = self.jump {
            let path = under(path, "jump");
            check_port(under(&path, "port"), jump.port, found);
            if let Some(key) = &jump.host_key {
                check_host_key(under(&path, "host_key"), key, found);
            }
        }
        check_env(under(path, "key_passphrase_env"), self.key_passphrase_env, found);
        for (key, value) in self.labels {
            let at_key = under(&under(path, "labels"), key);
            if !is_label_key(key) {
                let message = format!("\"{}\" is not a label's key", shown(key));
                let mut finding = Finding::error(
                    at_key,
                    message,
                    "write it as \"name\" or \"prefix.example/name\", of letters, digits, -, _ and .",
                );
                finding.on_key = true;
                found.push(finding);
            } else if ROLE_LABELS.contains(&key.as_str()) {
                let message = format!("\"{key}\" is kubeadm's own mark of a control plane");
                let mut finding = Finding::error(at_key, message, "set the host's role instead");
                finding.on_key = true;
                found.push(finding);
            } else if !is_label_value(value) {
                found.push(Finding::error(
                    at_key,
                    format!("\"{}\" is not a label's value", shown(value)),
                    "use at most 63 letters, digits, -, _ and ., with a letter or digit at both ends",
                ));
            }
        }
        for (index, taint) in self.taints.iter().enumerate().filter(|(_, t)| !is_taint(t)) {
            found.push(Finding::error(
                under(&under(path, "taints"), index),
                format!("\"{}\" is not a taint", shown(taint)),
                "write it as \"key=value:Effect\" or \"key:Effect\"; the effect is NoSchedule, PreferNoSchedule or \
                 NoExecute",
            ));
        }
    }
}

fn check_port(path: Path, port: Option<u16>, found: &mut Vec<Finding>) {
    if port == Some(0) {
        found.push(Finding::error(path, "0 is not a port", "use 1 to 65535, or leave the key out for 22"));
    }
}

fn check_env(path: Path, name: Option<&str>, found: &mut Vec<Finding>) {
    if let Some(name) = name.filter(|n| !is_env_name(n)) {
        // It may be the password itself, so it is neither repeated nor shown.
        let mut finding = Finding::error(
            path,
            format!("these {} characters are not a name of an environment variable", name.chars().count()),
            "name the variable, like \"PROVISION_SUDO_PASSWORD\"; what it holds stays out of the inventory",
        );
        finding.secret = true;
        finding.on_key = true;
        found.push(finding);
    }
}

fn check_sudo(path: &Path, sudo: &Sudo, found: &mut Vec<Finding>) {
    let (needed, example) = match sudo.method {
        SudoMethod::Env => (Some("env"), "env = \"PROVISION_SUDO_PASSWORD\""),
        SudoMethod::File => (Some("file"), "file = \"/run/secrets/sudo\""),
        SudoMethod::None | SudoMethod::Passwordless | SudoMethod::Prompt => (None, ""),
    };
    for (name, set) in [("env", sudo.env.is_some()), ("file", sudo.file.is_some())] {
        if needed == Some(name) && !set {
            found.push(Finding::error(
                under(path, name),
                format!("sudo method \"{name}\" needs `{name}`"),
                format!("add {example}: where the password is, not the password"),
            ));
        } else if needed != Some(name) && set {
            found.push(Finding::warning(
                under(path, name),
                format!("`{name}` has no effect with this sudo method"),
                format!("set method = \"{name}\", or remove it"),
            ));
        }
    }
    check_env(under(path, "env"), sudo.env.as_deref(), found);
}

fn check_host_key(path: Path, key: &str, found: &mut Vec<Finding>) {
    if !is_public_key(key) {
        found.push(Finding::error(
            path,
            "this is not an SSH public key",
            "write the type and the key, like \"ssh-ed25519 AAAA...\", as `ssh-keyscan` or /etc/ssh/ssh_host_*.pub on \
             the host have it",
        ));
    }
}

/// Whether `text` is a key as in a .pub file: a type, and base64 of a blob that begins with that type's name (RFC 4253,
/// 6.6).
fn is_public_key(text: &str) -> bool {
    let mut words = text.split_whitespace();
    let (Some(kind), Some(body)) = (words.next(), words.next()) else {
        return false;
    };
    let blob = base64::engine::general_purpose::STANDARD.decode(body).unwrap_or_default();
    let Some((length, rest)) = blob.split_first_chunk::<4>() else {
        return false;
    };
    let length = u32::from_be_bytes(*length) as usize;
    rest.get(..length) == Some(kind.as_bytes()) && rest.len() > length + 16
}
