//! What each endpoint mode needs.

use std::net::IpAddr;

use super::judge::at;
use super::syntax::is_dns_name;
use crate::inventory::model::{EndpointMode, Inventory};
use crate::inventory::structure::shown;
use crate::inventory::tree::Finding;

/// The port of the API servers themselves.
const API_PORT: u16 = 6443;
/// Ports of control planes and nodes that a balancer on the same host cannot have.
const TAKEN: [(u16, &str); 9] = [
    (API_PORT, "the API server"),
    (22, "SSH"),
    (2379, "etcd"),
    (2380, "etcd"),
    (10249, "kube-proxy"),
    (10250, "the kubelet"),
    (10256, "kube-proxy"),
    (10257, "the controller manager"),
    (10259, "the scheduler"),
];

pub(super) fn check(inventory: &Inventory, found: &mut Vec<Finding>) {
    let endpoint = &inventory.endpoint;
    let host = endpoint.host.as_deref();
    let address = host.and_then(|h| h.parse::<IpAddr>().ok());
    if let Some(name) = host.filter(|h| address.is_none() && !is_dns_name(h)) {
        found.push(Finding::error(
            at(["endpoint", "host"]),
            format!("\"{}\" is neither a DNS name nor an address", shown(name)),
            "write the name or the address alone; the port has a key of its own",
        ));
        return;
    }
    match endpoint.mode {
        EndpointMode::FirstNode => first_node(inventory, address, found),
        EndpointMode::External if host.is_none() => found.push(missing(
            "host",
            "mode \"external\" needs the `host` of the balancer",
            "add host = \"api.example.internal\", or its address",
        )),
        EndpointMode::External => {}
        EndpointMode::Haproxy => {
            if address.is_some() {
                found.push(Finding::error(
                    at(["endpoint", "host"]),
                    "with mode \"haproxy\" the host is a name, not an address",
                    "every node resolves it to itself through /etc/hosts; leave it out for a default name",
                ));
            }
        }
        EndpointMode::KeepalivedHaproxy | EndpointMode::KubeVip => virtual_address(inventory, address, found),
    }
    let haproxy = matches!(endpoint.mode, EndpointMode::Haproxy | EndpointMode::KeepalivedHaproxy);
    if let Some((port, by)) = TAKEN.iter().find(|(port, _)| haproxy && endpoint.port == Some(*port)) {
        found.push(Finding::error(
            at(["endpoint", "port"]),
            format!("port {port} is taken by {by} on the same hosts"),
            "leave the key out for 8443, or choose another port",
        ));
    }
    let direct = matches!(endpoint.mode, EndpointMode::FirstNode | EndpointMode::KubeVip);
    if direct && endpoint.port.is_some_and(|p| p != API_PORT) {
        found.push(Finding::error(
            at(["endpoint", "port"]),
            "with this mode clients speak to the API server itself, and that is on port 6443",
            "leave the key out",
        ));
    }
    if endpoint.port == Some(0) && !direct {
        found.push(Finding::error(
            at(["endpoint", "port"]),
            "0 is not a port",
            "use 1 to 65535, or leave the key out for the default of the mode",
        ));
    }
    if endpoint.virtual_router_id == Some(0) {
        found.push(Finding::error(
            at(["endpoint", "virtual_router_id"]),
            "0 is not a virtual router id",
            "use 1 to 255, one that no other keepalived on this network has",
        ));
    }
    useless(inventory, found);
}

fn first_node(inventory: &Inventory, address: Option<IpAddr>, found: &mut Vec<Finding>) {
    let mut control_planes = inventory.hosts.iter().filter(|h| h.role.is_control_plane());
    let Some(first) = control_planes.next() else { return };
    if inventory.endpoint.host.is_some() && address != Some(first.address) {
        found.push(Finding::error(
            at(["endpoint", "host"]),
            format!("with mode \"first-node\" the host is the first control plane's own address, {}", first.address),
            "leave the key out; a name or another address is mode \"external\"",
        ));
    }
    if control_planes.next().is_some() {
        found.push(Finding::warning(
            at(["endpoint", "mode"]),
            "the API is gone when the first control plane is, although there are others",
            "mode \"haproxy\" needs nothing from outside and goes on",
        ));
    }
}

fn virtual_address(inventory: &Inventory, address: Option<IpAddr>, found: &mut Vec<Finding>) {
    let endpoint = &inventory.endpoint;
    let mode = if endpoint.mode == EndpointMode::KubeVip { "kube-vip" } else { "keepalived-haproxy" };
    match (endpoint.host.as_deref(), address) {
        (None, _) => found.push(missing(
            "host",
            &format!("mode \"{mode}\" needs the virtual address as `host`"),
            "add host = \"192.168.10.10\": a free address in the network of the control planes",
        )),
        (Some(_), None) => found.push(Finding::error(
            at(["endpoint", "host"]),
            format!("with mode \"{mode}\" the host is an address, not a name"),
            "use a free address in the network of the control planes",
        )),
        (Some(_), Some(vip)) => {
            if let Some(host) = inventory.hosts.iter().find(|h| h.address == vip) {
                found.push(Finding::error(
                    at(["endpoint", "host"]),
                    format!("the virtual address {vip} is the address of host \"{}\"", shown(&host.name)),
                    "use a free address in the network of the control planes",
                ));
            }
        }
    }
    match endpoint.interface.as_deref() {
        None => found.push(missing(
            "interface",
            &format!("mode \"{mode}\" needs the `interface` that carries the virtual address"),
            "add interface = \"eth0\": its name on the control planes",
        )),
        // What the kernel takes for a name (IFNAMSIZ, dev_valid_name).
        Some(name) if name.is_empty() || name.len() > 15 || name.contains(|c: char| c == '/' || c <= ' ') => {
            found.push(Finding::error(
                at(["endpoint", "interface"]),
                format!("\"{}\" is not a name of a network interface", shown(name)),
                "`ip -br link` on a control plane lists them",
            ));
        }
        Some(_) => {}
    }
}

fn missing(key: &str, message: &str, help: &str) -> Finding {
    Finding::error(at(["endpoint", key]), message, help)
}

// Keys that the mode does not read: a sign that another mode was meant.
fn useless(inventory: &Inventory, found: &mut Vec<Finding>) {
    let endpoint = &inventory.endpoint;
    let virtual_address = matches!(endpoint.mode, EndpointMode::KeepalivedHaproxy | EndpointMode::KubeVip);
    let keepalived = endpoint.mode == EndpointMode::KeepalivedHaproxy;
    let pods = !matches!(endpoint.mode, EndpointMode::FirstNode | EndpointMode::External);
    for (key, set, read) in [
        ("interface", endpoint.interface.is_some(), virtual_address),
        ("virtual_router_id", endpoint.virtual_router_id.is_some(), keepalived),
        ("keepalived_image", endpoint.keepalived_image.is_some(), keepalived),
        ("image", endpoint.image.is_some(), pods),
    ] {
        if set && !read {
            found.push(Finding::warning(
                at(["endpoint", key]),
                format!("`{key}` has no effect with this endpoint mode"),
                "remove it, or choose the mode that reads it",
            ));
        }
    }
}
