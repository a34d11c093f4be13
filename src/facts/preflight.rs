//! The preflight checks: pure judgements of facts, each with a name, a finding and a remedy.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::kubeadm_checks::{etcd_data, external_etcd, kubeadm_checks, refused_by_kubeadm};
use super::members::members;
use super::model::{CgroupVersion, Facts, HostFacts, INOTIFY};
use crate::inventory::{CHECKS, CgroupDriver, EndpointMode, Inventory, Node, Role};
use crate::kubernetes::CGROUP_V2_FROM;
use crate::resource::{Membership, ModuleState};
use crate::version::KubeVersion;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Warning,
    /// Nothing is changed on any host while it stands.
    Error,
}

/// One thing a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The check's name, as `preflight.ignore` takes it.
    pub check: String,
    /// The host.
    pub host: String,
    /// How bad.
    pub severity: Severity,
    /// What was found.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

/// Ports that must be free before a host joins.
fn needed_ports(inv: &Inventory, node: &Node, host: &HostFacts) -> Vec<u16> {
    let mut ports = Vec::new();
    // A member that is there already is ours.
    if host.etcd.as_ref().is_some_and(|e| !e.unit) {
        ports.extend([2379, 2380, 2381]);
    }
    if node.role == Role::Etcd {
        return ports;
    }
    ports.push(10250);
    if node.role.is_control_plane() {
        ports.extend([6443, 10257, 10259]);
        if inv.etcd.mode == crate::inventory::EtcdMode::Stacked {
            ports.extend([2379, 2380]);
        }
    }
    if matches!(inv.endpoint.mode, EndpointMode::Haproxy | EndpointMode::KeepalivedHaproxy) {
        ports.push(inv.api_endpoint().port);
    }
    if inv.registry.is_served_by(&node.name) {
        ports.push(inv.registry.port);
    }
    ports
}

/// Makes every check on every host, and the checks that compare hosts. Findings named in `preflight.ignore` become
/// warnings, except `membership`, `ca` and `rotation`: a host of another cluster is never overridden from the inventory,
/// and neither is a CA that half of the nodes trust.
#[must_use]
pub fn preflight(inv: &Inventory, facts: &Facts) -> Vec<Finding> {
    let mut all = Vec::new();
    for node in inv.machines() {
        if let Some(host) = facts.hosts.get(&node.name) {
            one_host(inv, facts, &node, host, &mut all);
        }
    }
    between_hosts(inv, facts, &mut all);
    all.extend(members(inv, facts));
    for finding in &mut all {
        let ignorable = !matches!(finding.check.as_str(), "membership" | "ca" | "rotation");
        if ignorable && inv.preflight.ignore.contains(&finding.check) {
            finding.severity = Severity::Warning;
        }
    }
    let rank = |name: &str| CHECKS.iter().position(|c| *c == name);
    all.sort_by(|a, b| (&a.host, rank(&a.check)).cmp(&(&b.host, rank(&b.check))));
    all
}

fn one_host(inv: &Inventory, facts: &Facts, node: &Node, host: &HostFacts, all: &mut Vec<Finding>) {
    let mut find = |check: &str, severity: Severity, message: String, remedy: &str| {
        all.push(Finding { check: check.into(), host: node.name.clone(), severity, message, remedy: remedy.into() });
    };
    let limits = &inv.preflight;
    if host.os_id.is_empty() || host.os_id == "unknown" {
        find("os", Severity::Warning, "no /etc/os-release".into(), "use a distribution with systemd and os-release");
    }
    match host.arch() {
        Some(arch) if inv.cluster.arch.contains(&arch) => {}
        _ => find(
            "arch",
            Severity::Error,
            format!("its machine is `{}`, the inventory's cluster.arch has no such entry", host.machine),
            "add the architecture to cluster.arch, then lock and build the bundle again",
        ),
    }
    if !matches!(host.systemd.as_str(), "running" | "degraded" | "starting") {
        find(
            "systemd",
            Severity::Error,
            format!("systemd is not the running init (`systemctl is-system-running`: {:?})", host.systemd),
            "provision needs systemd as PID 1",
        );
    }
    if !host.missing_commands.is_empty() {
        find(
            "commands",
            Severity::Error,
            format!("missing: {}", host.missing_commands.join(", ")),
            "install the packages that hold them (iproute2, iptables, kmod, procps, util-linux, tar)",
        );
    }
    let membership = facts.membership(inv, node);
    let joins = matches!(membership, Membership::Absent | Membership::Partial(_));
    if node.role != Role::Etcd {
        for_kubernetes(inv, host, joins, &mut find);
        if joins {
            kubeadm_checks(inv, node, host, &mut find);
        }
        if membership == Membership::Absent {
            etcd_data(inv, node, host, &mut find);
        }
        if facts.voice.is_none() {
            external_etcd(inv, node, host, &mut find);
        }
    }
    let wanted = if node.role.is_control_plane() { limits.control_plane_memory_mib } else { limits.worker_memory_mib };
    if host.memory_mib < wanted {
        find(
            "memory",
            Severity::Error,
            format!("{} MiB of memory, {wanted} MiB wanted", host.memory_mib),
            "give it more memory or lower preflight.*_memory_mib",
        );
    }
    if host.disk_free_mib < limits.free_disk_mib && membership == Membership::Absent {
        find(
            "disk",
            Severity::Error,
            format!("{} MiB free under /var/lib, {} MiB wanted", host.disk_free_mib, limits.free_disk_mib),
            "free some space or lower preflight.free_disk_mib",
        );
    }
    if host.hostname != node.name {
        find(
            "hostname",
            Severity::Warning,
            format!("its hostname is `{}`, its node name will be `{}`", host.hostname, node.name),
            "hostnamectl set-hostname makes logs easier to read; kubeadm is given the node name either way",
        );
    }
    if !host.addresses.is_empty() && !host.addresses.contains(&node.address.to_string()) {
        find(
            "address",
            Severity::Error,
            format!("{} is not an address of it (it has {})", node.address, host.addresses.join(", ")),
            "correct the host's address; use ssh_address for one that only SSH uses",
        );
    }
    match membership {
        Membership::Foreign(why) => find(
            "membership",
            Severity::Error,
            why,
            "take the host out of the inventory, or make it bare with `provision reset --host NAME` if it may go",
        ),
        Membership::Down(why) if host.state.node == Some(false) => find(
            "membership",
            Severity::Error,
            why,
            "`systemctl restart kubelet` on it registers the node again; if it shall not come back as it is, `provision reset --host NAME` makes it bare and the next apply joins it",
        ),
        Membership::Down(why) => find(
            "membership",
            Severity::Error,
            why,
            "look at `systemctl status kubelet containerd` and the API endpoint; provision never resets a node that was whole",
        ),
        Membership::Absent => {
            let taken: Vec<String> = needed_ports(inv, node, host)
                .into_iter()
                .filter(|p| host.ports.contains(p))
                .map(|p| p.to_string())
                .collect();
            if !taken.is_empty() {
                find(
                    "ports",
                    Severity::Error,
                    format!("something listens on port {}", taken.join(", ")),
                    "`ss -tlnp` names it; stop it",
                );
            }
        }
        Membership::Partial(_) | Membership::Member => {}
    }
}

/// What only the kubelet and pods ask of a host.
fn for_kubernetes(inv: &Inventory, host: &HostFacts, joins: bool, find: &mut impl FnMut(&str, Severity, String, &str)) {
    let version = inv.cluster.version.parse::<KubeVersion>().map_or(0, |v| v.minor);
    if host.cgroup != CgroupVersion::V2 && version >= CGROUP_V2_FROM {
        let remedy = "boot with systemd.unified_cgroup_hierarchy=1, or set kubelet.config.failCgroupV1 = false and add \
                      \"SystemVerification\" to kubeadm.ignore_preflight_errors";
        if !inv.kubelet.accepts_cgroup_v1() {
            let why = format!("cgroup v1: the kubelet of 1.{version} does not start on it");
            find("cgroup", Severity::Error, why, remedy);
        }
        if joins && refused_by_kubeadm(inv, "SystemVerification") {
            let why = format!("cgroup v1: kubeadm 1.{version} refuses it (SystemVerification)");
            find("cgroup", Severity::Error, why, remedy);
        }
    }
    if host.cgroup == CgroupVersion::V1 && inv.runtime.cgroup_driver == CgroupDriver::Systemd {
        find(
            "cgroup",
            Severity::Warning,
            "cgroup v1 with the systemd driver".into(),
            "cgroup v2 is what the systemd driver is meant for",
        );
    }
    for (module, _) in host.modules.iter().filter(|(m, _)| host.module(m) == ModuleState::Missing) {
        find(
            "modules",
            Severity::Error,
            format!("kernel module {module} is neither built in nor loadable"),
            "install the kernel's module package; or put \"modules\" into preflight.ignore if pods work without",
        );
    }
    if host.swap > 0 {
        let kept = inv.kubelet.config.get("failSwapOn") == Some(&serde_json::Value::Bool(false));
        let remedy = if kept {
            "swap stays on, as kubelet.config.failSwapOn = false asks for; leave that out to have apply turn it off"
        } else {
            "apply turns it off and takes it out of /etc/fstab"
        };
        find("swap", Severity::Warning, "swap is on".into(), remedy);
    }
    for (key, least) in INOTIFY {
        // Where the host may change it, apply does.
        if let Some(now) = host.inotify.get(key).filter(|now| **now < least && host.inotify_read_only) {
            find(
                "inotify",
                Severity::Error,
                format!("fs.inotify.{key} is {now}, {least} wanted, and it cannot be changed from this host"),
                "set it on the machine that this host runs on, with a file in /etc/sysctl.d there",
            );
        }
    }
}

fn between_hosts(inv: &Inventory, facts: &Facts, all: &mut Vec<Finding>) {
    type Field = fn(&HostFacts) -> Vec<String>;
    let unique: [(&str, Severity, Field, &str); 3] = [
        (
            "machine-id",
            Severity::Error,
            |h| vec![h.machine_id.clone()],
            "rm /etc/machine-id && systemd-machine-id-setup on one of them, then reboot it",
        ),
        (
            "product-uuid",
            // Containers and some clouds share it; kubeadm only needs it to tell nodes apart, and the names do that.
            Severity::Warning,
            |h| vec![h.product_uuid.clone()],
            "give each virtual machine its own UUID",
        ),
        ("mac", Severity::Error, |h| h.macs.clone(), "give each network interface its own MAC address"),
    ];
    for (check, severity, field, remedy) in unique {
        let mut seen: BTreeMap<String, &str> = BTreeMap::new();
        for (name, host) in &facts.hosts {
            for value in field(host).into_iter().filter(|v| !v.is_empty()) {
                if let Some(first) = seen.get(&value) {
                    all.push(Finding {
                        check: check.into(),
                        host: name.clone(),
                        severity,
                        message: format!("{check} {value} is also that of {first}"),
                        remedy: remedy.into(),
                    });
                } else {
                    seen.insert(value, name);
                }
            }
        }
    }
    // The offsets are each known to within their uncertainty; only a difference beyond both is one.
    let offsets: Vec<(&String, &HostFacts)> = facts.hosts.iter().collect();
    if let Some((base, first)) = offsets.first() {
        for (name, host) in &offsets[1..] {
            let apart = host.clock_offset_ms.abs_diff(first.clock_offset_ms);
            let doubt = host.clock_uncertainty_ms + first.clock_uncertainty_ms;
            if apart.saturating_sub(doubt) > inv.preflight.clock_skew_ms {
                all.push(Finding {
                    check: "clock".into(),
                    host: (*name).clone(),
                    severity: Severity::Error,
                    message: format!("its clock is {apart} ms apart from that of {base} (give or take {doubt} ms)"),
                    remedy: "run an NTP client (chrony) on every host against the same source".into(),
                });
            }
        }
    }
    authorities(inv, facts, all);
}

/// The CA of every member must be one of those that the control plane that speaks for the cluster trusts: while one gives
/// way to another, nodes have both, and then the new one alone. Until that is over nothing else is changed.
fn authorities(inv: &Inventory, facts: &Facts, all: &mut Vec<Finding>) {
    let state = |name: &String| facts.hosts.get(name).map(|h| &h.state);
    let of_voice = facts.voice.as_ref().and_then(state).map(|s| s.ca.as_slice()).unwrap_or_default();
    for node in inv.nodes() {
        let Some(state) = state(&node.name) else { continue };
        let mut find = |check: &str, message: String, remedy: &str| {
            let (check, host, remedy) = (check.into(), node.name.clone(), remedy.into());
            all.push(Finding { check, host, severity: Severity::Error, message, remedy });
        };
        if !of_voice.is_empty() && !state.ca.is_empty() && !state.ca.iter().any(|ca| of_voice.contains(ca)) {
            let message = "its cluster CA is not that of this cluster".into();
            find(
                "ca",
                message,
                "it belongs to another cluster (or an earlier one): `provision reset --host NAME` if it may go",
            );
        }
        if let Some(name) = &state.rotation {
            let message = format!("the rotation of the CA {name} was begun and is not done");
            find("rotation", message, "`provision certs rotate-ca` with the same --ca goes on with it; then this");
        }
    }
}

#[cfg(test)]
#[path = "preflight_tests.rs"]
mod tests;
