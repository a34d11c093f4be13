//! Rules of the cluster, its networks, endpoint and etcd. Pure.

use std::net::IpAddr;

use ipnet::IpNet;

use super::model::{EndpointMode, EtcdMode, Inventory};
use super::validate::{Problems, at, is_dns_label, is_dns_name};
use crate::version::{KubeVersion, NEWEST_MINOR, OLDEST_MINOR};

pub(super) fn cluster(inv: &Inventory, out: &mut Problems) {
    if !is_dns_label(&inv.cluster.name) {
        out.error(
            at!["cluster", "name"],
            format!("`{}` is not a DNS label", inv.cluster.name),
            "use lower-case letters, digits and dashes",
        );
    }
    match inv.cluster.version.parse::<KubeVersion>() {
        Err(_) => out.error(
            at!["cluster", "version"],
            format!("`{}` is not a Kubernetes version", inv.cluster.version),
            "write it as major.minor.patch, like \"1.36.2\"",
        ),
        Ok(v) if v.major != 1 || !(OLDEST_MINOR..=NEWEST_MINOR).contains(&v.minor) => out.error(
            at!["cluster", "version"],
            format!("Kubernetes {v} is not supported"),
            format!("this provision knows 1.{OLDEST_MINOR} to 1.{NEWEST_MINOR}"),
        ),
        Ok(v) => {
            let containerd = inv.runtime.containerd_version.as_deref().unwrap_or_default();
            if v.minor >= 36 && containerd.starts_with("1.") {
                out.error(
                    at!["runtime", "containerd_version"],
                    format!("Kubernetes {v} does not work with containerd {containerd}"),
                    "1.35 was the last for containerd 1.x: take 2.x",
                );
            }
        }
    }
    if inv.cluster.arch.is_empty() {
        out.error(
            at!["cluster", "arch"],
            "no architecture",
            "leave it out for [\"amd64\"], or list those of the hosts",
        );
    }
    for (at, name) in inv.preflight.ignore.iter().enumerate() {
        if !crate::facts::CHECKS.contains(&name.as_str()) {
            out.error(
                at!["preflight", "ignore", at],
                format!("there is no preflight check `{name}`"),
                format!("they are: {}", crate::facts::CHECKS.join(", ")),
            );
        }
    }
    for (registry, mirrors) in &inv.runtime.mirrors {
        for (at, url) in mirrors.iter().enumerate() {
            if !(url.starts_with("https://") || url.starts_with("http://")) {
                out.error(
                    at!["runtime", "mirrors", registry.as_str(), at],
                    format!("the mirror `{url}` is no URL"),
                    "it begins with https://",
                );
            }
        }
    }
    for (registry, base) in &inv.sources.registries {
        if !(base.starts_with("https://") || base.starts_with("http://")) {
            out.error(
                at!["sources", "registries", registry.as_str()],
                format!("`{base}` is no URL"),
                "it begins with https://",
            );
        }
    }
}

fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}

pub(super) fn network(inv: &Inventory, out: &mut Problems) {
    let net = &inv.network;
    for (key, nets) in [("pods", &net.pods), ("services", &net.services)] {
        let v4 = nets.iter().filter(|n| matches!(n, IpNet::V4(_))).count();
        if nets.is_empty() || v4 > 1 || nets.len() - v4 > 1 {
            out.error(
                at!["network", key],
                format!("{} networks", nets.len()),
                "give one, or one IPv4 and one IPv6 for dual stack",
            );
        }
        for (at, n) in nets.iter().enumerate() {
            if n.addr() != n.network() {
                out.error(at!["network", key, at], format!("{n} has host bits set"), format!("write {}", n.trunc()));
            }
        }
    }
    if net.pods.len() != net.services.len() {
        out.error(
            at!["network"],
            "pods and services differ in their address families",
            "dual stack needs both of both",
        );
    }
    for (p, pods) in net.pods.iter().enumerate() {
        for services in net.services.iter().filter(|s| overlap(pods, s)) {
            out.error(
                at!["network", "pods", p],
                format!("the pod network {pods} overlaps the service network {services}"),
                "choose networks apart from each other",
            );
        }
        let prefix = if matches!(pods, IpNet::V4(_)) { net.node_prefix } else { net.node_prefix_v6 };
        let key = if matches!(pods, IpNet::V4(_)) { "node_prefix" } else { "node_prefix_v6" };
        if prefix < pods.prefix_len() || prefix > pods.max_prefix_len() - 2 {
            out.error(
                at!["network", key],
                format!("a node's share of /{prefix} does not fit the pod network {pods}"),
                format!("choose between /{} and /{}", pods.prefix_len(), pods.max_prefix_len() - 2),
            );
            continue;
        }
        let room = 1_u128 << (prefix - pods.prefix_len()).min(100);
        if room < inv.hosts.len() as u128 {
            out.error(
                at!["network", "pods", p],
                format!("the pod network {pods} has room for {room} nodes of /{prefix}, there are {}", inv.hosts.len()),
                format!("choose a larger network or a longer {key}; it cannot grow later"),
            );
        }
    }
    for (at, host) in inv.hosts.iter().enumerate() {
        for (what, n) in net.pods.iter().map(|n| ("pod", n)).chain(net.services.iter().map(|n| ("service", n))) {
            if n.contains(&host.address) {
                out.error(
                    at!["hosts", at, "address"],
                    format!("{} lies in the {what} network {n}", host.address),
                    "hosts, pods and services need networks apart from each other",
                );
            }
        }
    }
    if !is_dns_name(&net.domain) {
        out.error(at!["network", "domain"], format!("`{}` is not a DNS name", net.domain), "like cluster.local");
    }
}

pub(super) fn endpoint(inv: &Inventory, out: &mut Problems) {
    let e = &inv.endpoint;
    let host = e.host.as_deref();
    let is_ip = host.is_some_and(|h| h.parse::<IpAddr>().is_ok());
    if let Some(name) = host.filter(|h| !is_ip && !is_dns_name(h)) {
        out.error(at!["endpoint", "host"], format!("`{name}` is neither an address nor a DNS name"), "");
    }
    if e.port == Some(0) {
        out.error(at!["endpoint", "port"], "port 0", "6443 is the usual one");
    }
    match e.mode {
        EndpointMode::External if host.is_none() => {
            out.error(
                at!["endpoint", "mode"],
                "an external endpoint needs `host`",
                "the name or address of your balancer",
            );
        }
        EndpointMode::Haproxy if is_ip => out.error(
            at!["endpoint", "host"],
            "with mode haproxy the endpoint is a name that each host resolves to itself, not an address",
            "leave it out, or write a name like api.prod.internal",
        ),
        EndpointMode::KeepalivedHaproxy | EndpointMode::KubeVip => {
            if !is_ip {
                out.error(
                    at!["endpoint", "host"],
                    "this mode needs the virtual address as `host`",
                    "an address of the hosts' network that nobody uses",
                );
            }
            if e.interface.is_none() {
                out.error(
                    at!["endpoint", "mode"],
                    "this mode needs `interface`",
                    "the network interface that carries the virtual address, like \"eth0\"",
                );
            }
            if host.and_then(|h| h.parse::<IpAddr>().ok()).is_some_and(|ip| inv.hosts.iter().any(|h| h.address == ip)) {
                out.error(
                    at!["endpoint", "host"],
                    "the virtual address is a host's own",
                    "choose one that nobody uses",
                );
            }
        }
        EndpointMode::FirstNode | EndpointMode::External | EndpointMode::Haproxy => {}
    }
    if matches!(e.mode, EndpointMode::Haproxy | EndpointMode::KeepalivedHaproxy) && inv.api_endpoint().port == 6443 {
        out.error(
            at!["endpoint", "port"],
            "the balancer cannot have port 6443: the API servers on the same hosts hold it",
            "8443 is the default",
        );
    }
    if e.virtual_router_id == Some(0) {
        out.error(
            at!["endpoint", "virtual_router_id"],
            "router id 0",
            "1 to 255, one that no other VRRP group of this network uses",
        );
    }
    if e.mode == EndpointMode::FirstNode && inv.control_planes().len() > 1 {
        out.warning(
            at!["endpoint", "mode"],
            "the API is gone when the first control plane is, although there are others",
            "mode \"haproxy\" needs nothing from outside and has no such single point",
        );
    }
}

pub(super) fn etcd(inv: &Inventory, out: &mut Problems) {
    let e = &inv.etcd;
    if e.mode == EtcdMode::External {
        if e.endpoints.is_empty() {
            out.error(at!["etcd", "mode"], "an external etcd needs `endpoints`", "like [\"https://10.0.0.5:2379\"]");
        }
        for (key, value) in [("ca_file", &e.ca_file), ("cert_file", &e.cert_file), ("key_file", &e.key_file)] {
            if value.is_none() {
                out.error(
                    at!["etcd", "mode"],
                    format!("an external etcd needs `{key}`"),
                    "its path on every control plane",
                );
            }
        }
        for (at, url) in e.endpoints.iter().enumerate().filter(|(_, u)| !u.starts_with("https://")) {
            out.error(
                at!["etcd", "endpoints", at],
                format!("`{url}` is not an https URL"),
                "etcd holds every secret of the cluster: it is reached by TLS only",
            );
        }
    }
}
