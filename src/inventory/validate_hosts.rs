//! Rules of hosts and pools. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::model::{Host, Inventory, Sudo, SudoMethod};
use super::tree::Seg;
use super::validate::{Problems, at, is_dns_name};

pub(super) fn hosts(inv: &Inventory, out: &mut Problems) {
    if inv.hosts.is_empty() {
        out.error(at!["hosts"], "no hosts", "add [[hosts]] with name, address and role");
        return;
    }
    let (mut names, mut addresses): (BTreeMap<&str, usize>, BTreeMap<IpAddr, &str>) =
        (BTreeMap::new(), BTreeMap::new());
    for (at, host) in inv.hosts.iter().enumerate() {
        if !is_dns_name(&host.name) {
            out.error(
                at!["hosts", at, "name"],
                format!("`{}` is not a DNS name", host.name),
                "use lower-case letters, digits and dashes",
            );
        }
        if names.insert(&host.name, at).is_some() {
            out.error(
                at!["hosts", at, "name"],
                format!("the name `{}` is taken by another host", host.name),
                "every host has its own name",
            );
        }
        if let Some(other) = addresses.insert(host.address, &host.name) {
            out.error(
                at!["hosts", at, "address"],
                format!("{} is also the address of {other}", host.address),
                "every host has its own address",
            );
        }
        one(inv, at, host, out);
    }
    let planes = inv.control_planes().len();
    if planes == 0 {
        out.error(at!["hosts"], "no control plane", "give one host (or three) role = \"control-plane\" or \"both\"");
    } else if planes % 2 == 0 {
        out.warning(
            at!["hosts"],
            format!("{planes} control planes: an even number"),
            format!(
                "etcd needs a majority: {planes} members survive the loss of {}, as {} do; the extra one only adds a way to fail",
                (planes - 1) / 2,
                planes - 1
            ),
        );
    }
}

fn one(inv: &Inventory, at: usize, host: &Host, out: &mut Problems) {
    if let Some(pool) = &host.pool
        && !inv.pools.contains_key(pool)
    {
        let known: Vec<&str> = inv.pools.keys().map(String::as_str).collect();
        let help =
            if known.is_empty() { format!("add [pools.{pool}]") } else { format!("there are: {}", known.join(", ")) };
        out.error(at!["hosts", at, "pool"], format!("there is no pool `{pool}`"), help);
    }
    if host.port == Some(0) {
        out.error(at!["hosts", at, "port"], "port 0", "22 is the usual one");
    }
    if let Some(key) = &host.host_key {
        host_key(at!["hosts", at, "host_key"], key, out);
    }
    if let Some(sudo_) = &host.sudo {
        sudo(at!["hosts", at, "sudo"], sudo_, out);
    }
    labels(&at!["hosts", at], &host.labels, out);
    taints(&at!["hosts", at], &host.taints, out);
    if let Some(key) = host.jump.as_ref().and_then(|j| j.host_key.as_ref()) {
        host_key(at!["hosts", at, "jump", "host_key"], key, out);
    }
}

pub(super) fn pools(inv: &Inventory, out: &mut Problems) {
    let used: BTreeSet<&str> = inv.hosts.iter().filter_map(|h| h.pool.as_deref()).collect();
    let all = inv.pools.iter().map(|(n, s)| (at!["pools", n.as_str()], s));
    for (at, settings) in std::iter::once((at!["defaults"], &inv.defaults)).chain(all) {
        let with = |key: &str| at.iter().cloned().chain([Seg::from(key)]).collect::<Vec<_>>();
        if let Some(s) = &settings.sudo {
            sudo(with("sudo"), s, out);
        }
        if settings.port == Some(0) {
            out.error(with("port"), "port 0", "22 is the usual one");
        }
        labels(&at, &settings.labels, out);
        taints(&at, &settings.taints, out);
    }
    for name in inv.pools.keys().filter(|n| !used.contains(n.as_str())) {
        out.warning(at!["pools", name.as_str()], format!("no host is in pool `{name}`"), "");
    }
}

fn sudo(at: Vec<Seg>, sudo: &Sudo, out: &mut Problems) {
    match sudo.method {
        SudoMethod::Env if sudo.env.is_none() => {
            out.error(at, "sudo method \"env\" needs `env`", "the name of the environment variable with the password");
        }
        SudoMethod::File if sudo.file.is_none() => {
            out.error(at, "sudo method \"file\" needs `file`", "the file with the password")
        }
        _ => {}
    }
}

fn host_key(at: Vec<Seg>, key: &str, out: &mut Problems) {
    use base64::Engine as _;
    let mut words = key.split_whitespace();
    let algorithm = words.next().unwrap_or_default();
    let body = words.next().unwrap_or_default();
    let good = (algorithm.starts_with("ssh-") || algorithm.starts_with("ecdsa-") || algorithm.starts_with("sk-"))
        && base64::engine::general_purpose::STANDARD.decode(body).is_ok_and(|b| b.len() > 16);
    if !good {
        out.error(
            at,
            "this is not an SSH public key",
            "as `ssh-keyscan HOST` shows it (compare the fingerprint on the console): ssh-ed25519 AAAA...",
        );
    }
}

fn labels(at: &[Seg], labels: &BTreeMap<String, String>, out: &mut Problems) {
    for (key, value) in labels {
        let path = || at.iter().cloned().chain(at!["labels", key.as_str()]).collect::<Vec<_>>();
        if !is_label_key(key) {
            out.error(
                path(),
                format!("`{key}` is not a label's key"),
                "[prefix/]name, the name up to 63 letters, digits, -, _ and .",
            );
        }
        if !value.is_empty() && !is_label_word(value) {
            out.error(
                path(),
                format!("`{value}` is not a label's value"),
                "up to 63 letters, digits, -, _ and ., letters or digits at both ends",
            );
        }
        if key.starts_with("node-role.kubernetes.io/control-plane") || key.starts_with("node-role.kubernetes.io/master")
        {
            out.error(path(), format!("`{key}` is kubeadm's own mark"), "set the host's role instead");
        }
    }
}

fn taints(at: &[Seg], taints: &[String], out: &mut Problems) {
    for (n, taint) in taints.iter().enumerate() {
        let good = taint.rsplit_once(':').is_some_and(|(left, effect)| {
            let (key, value) = left.split_once('=').unwrap_or((left, ""));
            is_label_key(key)
                && (value.is_empty() || is_label_word(value))
                && matches!(effect, "NoSchedule" | "PreferNoSchedule" | "NoExecute")
        });
        if !good {
            let path = at.iter().cloned().chain(at!["taints", n]).collect();
            out.error(
                path,
                format!("`{taint}` is not a taint"),
                "key=value:Effect or key:Effect, the effect NoSchedule, PreferNoSchedule or NoExecute",
            );
        }
    }
}

fn is_label_word(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.len() <= 63
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        && edge(text.chars().next())
        && edge(text.chars().last())
}

fn is_label_key(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, name)) => is_dns_name(prefix) && is_label_word(name),
        None => is_label_word(key),
    }
}
