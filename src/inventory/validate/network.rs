//! Networks: families, overlaps, sizes, and the hosts among them.

use std::net::IpAddr;

use ipnet::IpNet;

use super::judge::{at, under};
use crate::inventory::model::Inventory;
use crate::inventory::structure::shown;
use crate::inventory::tree::{Finding, Path};

pub(super) fn check(inventory: &Inventory, found: &mut Vec<Finding>) {
    let network = &inventory.network;
    let lists = [("pods", "pod", &network.pods), ("services", "service", &network.services)];
    let mut all: Vec<(Path, &str, IpNet)> = Vec::new();
    for (key, what, nets) in lists {
        families(key, what, nets, found);
        for (index, net) in nets.iter().enumerate() {
            all.push((under(&at(["network", key]), index), what, *net));
        }
    }
    if let ([_], [_, _]) | ([_, _], [_]) = (&network.pods[..], &network.services[..]) {
        found.push(Finding::error(
            at(["network", if network.pods.len() == 1 { "pods" } else { "services" }]),
            "pods and services do not have the same address families",
            "give both one network, or both one IPv4 and one IPv6 network",
        ));
    }
    for (index, (path, what, net)) in all.iter().enumerate() {
        if net.network() != net.addr() {
            found.push(Finding::error(
                path.clone(),
                format!("{net} has bits set after its prefix"),
                format!("write \"{}\"", net.trunc()),
            ));
        }
        for (_, other_what, other) in all.iter().take(index) {
            // Two of one family in one list have been spoken of as such.
            if what != other_what && (net.contains(other) || other.contains(net)) {
                found.push(Finding::error(
                    path.clone(),
                    format!("the {what} network {net} overlaps the {other_what} network {other}"),
                    "choose networks that share no address, and that the site does not use",
                ));
            }
        }
        for (number, host) in inventory.hosts.iter().enumerate() {
            if net.contains(&host.address) {
                found.push(Finding::error(
                    under(&under(&at(["hosts"]), number), "address"),
                    format!("{} of host \"{}\" is inside the {what} network {net}", host.address, shown(&host.name)),
                    format!("choose a {what} network ([network]) that holds no address of a host"),
                ));
            }
        }
        if let Some(address) = endpoint_address(inventory).filter(|a| net.contains(a)) {
            found.push(Finding::error(
                at(["endpoint", "host"]),
                format!("the endpoint {address} is inside the {what} network {net}"),
                format!("choose a {what} network ([network]) that does not hold it"),
            ));
        }
    }
    for (index, net) in network.pods.iter().enumerate() {
        room(inventory, index, *net, found);
    }
    for (index, net) in network.services.iter().enumerate() {
        services_size(index, *net, found);
    }
    if let Some(family) = network.pods.first()
        && let Some(number) = inventory
            .hosts
            .iter()
            .position(|h| network.pods.iter().all(|net| net.addr().is_ipv4() != h.address.is_ipv4()))
    {
        found.push(Finding::error(
            under(&under(&at(["hosts"]), number), "address"),
            "the host's address is of a family that the pod networks do not have",
            format!("add a pod network of that family beside {family}, or use an address of the other one"),
        ));
    }
    if let Some(mtu) = inventory.cni.mtu.filter(|m| !(576..=65_535).contains(m)) {
        found.push(Finding::error(
            at(["cni", "mtu"]),
            format!("{mtu} is no usable MTU"),
            "use 576 to 65535, at least 1280 for IPv6; leave it out for the plugin's own default",
        ));
    }
}

fn endpoint_address(inventory: &Inventory) -> Option<IpAddr> {
    inventory.endpoint.host.as_deref()?.parse().ok()
}

fn families(key: &str, what: &str, nets: &[IpNet], found: &mut Vec<Finding>) {
    if nets.is_empty() {
        found.push(Finding::error(
            at(["network", key]),
            format!("there is no {what} network"),
            "name one, or leave the key out for the default",
        ));
    }
    for (index, net) in nets.iter().enumerate() {
        if nets.iter().take(index).any(|n| n.addr().is_ipv4() == net.addr().is_ipv4()) {
            let family = if net.addr().is_ipv4() { "IPv4" } else { "IPv6" };
            found.push(Finding::error(
                under(&at(["network", key]), index),
                format!("{net} is a second {family} {what} network"),
                "Kubernetes takes one network per family: one IPv4, one IPv6, or one of each",
            ));
        }
    }
}

// Whether each node finds a share in the pod network.
fn room(inventory: &Inventory, index: usize, net: IpNet, found: &mut Vec<Finding>) {
    let network = &inventory.network;
    let (key, share, most) = match net {
        IpNet::V4(_) => ("node_prefix", network.node_prefix, 30),
        IpNet::V6(_) => ("node_prefix_v6", network.node_prefix_v6, 126),
    };
    if share > most {
        found.push(Finding::error(
            at(["network", key]),
            format!("/{share} leaves a node no addresses for pods"),
            format!("use at most {most}; /24 (IPv4) and /64 (IPv6) are the defaults"),
        ));
        return;
    }
    let path = under(&at(["network", "pods"]), index);
    let nodes = inventory.nodes().len() as u128;
    let Some(bits) = share.checked_sub(net.prefix_len()) else {
        found.push(Finding::error(
            path,
            format!("the pod network {net} is smaller than one node's share of it, /{share}"),
            format!("use a larger pod network, or a longer {key}"),
        ));
        return;
    };
    // kube-controller-manager refuses more than 16 bits between the two.
    if bits > 16 {
        found.push(Finding::error(
            path,
            format!("there are {bits} bits between the pod network {net} and a node's share, /{share}"),
            format!("Kubernetes takes at most 16: use a smaller pod network or a shorter {key}"),
        ));
    } else if 1u128 << bits < nodes {
        found.push(Finding::error(
            path,
            format!("the pod network {net} has room for {} nodes of /{share}, and there are {nodes}", 1u128 << bits),
            format!("use a larger pod network, or a longer {key} (fewer pods on each node)"),
        ));
    }
}

// kube-apiserver takes no more than 20 bits of service addresses; kubeadm needs the tenth for the cluster's DNS.
fn services_size(index: usize, net: IpNet, found: &mut Vec<Finding>) {
    let bits = net.max_prefix_len() - net.prefix_len();
    let path = under(&at(["network", "services"]), index);
    if bits < 4 {
        found.push(Finding::error(
            path,
            format!("the service network {net} is too small"),
            "the tenth address is the cluster's DNS: use at least 16 addresses, better a /16",
        ));
    } else if bits > 20 {
        let longest = net.max_prefix_len() - 20;
        found.push(Finding::error(
            path,
            format!("the service network {net} is too large"),
            format!("Kubernetes takes at most 2^20 service addresses: use /{longest} or longer"),
        ));
    }
}
