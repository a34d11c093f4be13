//! What the preflight checks of `kubeadm init` and `kubeadm join` would refuse a host for, as far as its facts tell. Pure.
//!
//! Source: cmd/kubeadm/app/preflight/checks.go and checks_linux.go of Kubernetes 1.35 and 1.36 (`InitNodeChecks`,
//! `JoinNodeChecks`, `addCommonChecks`), and `DefaultSysSpec` of k8s.io/system-validators. A check that the inventory skips
//! or ignores says nothing here either. Of what `provision` itself puts on a host (programs, sysctls, swap, the runtime)
//! nothing is said: that is done before kubeadm runs.

use super::model::{CgroupVersion, HostFacts};
use super::preflight::Severity;
use crate::inventory::{EtcdMode, Inventory, Node};
use crate::kubernetes::external_etcd_floor;
use crate::version::{KubeVersion, Release};

/// `ControlPlaneNumCPU` and `ControlPlaneMem` (MiB) in cmd/kubeadm/app/constants/constants.go.
const CONTROL_PLANE_CPUS: u64 = 2;
const CONTROL_PLANE_MEMORY_MIB: u64 = 1700;
/// The first minor whose list of kernel options, controllers and programs is that below. Of earlier ones only what all have
/// in common is checked.
const LIST_FROM: u32 = 35;

/// Kernel options that `SystemVerification` wants, built in or as modules.
pub(super) const KERNEL_OPTIONS: [&str; 21] = [
    "NAMESPACES",
    "NET_NS",
    "PID_NS",
    "IPC_NS",
    "UTS_NS",
    "CPUSETS",
    "MEMCG",
    "INET",
    "EXT4_FS",
    "PROC_FS",
    "NETFILTER_XT_TARGET_REDIRECT",
    "IP_NF_TARGET_REDIRECT",
    "NETFILTER_XT_MATCH_COMMENT",
    "FAIR_GROUP_SCHED",
    "CGROUPS",
    "CGROUP_PIDS",
    "CGROUP_SCHED",
    "CGROUP_CPUACCT",
    "CGROUP_DEVICE",
    "CGROUP_FREEZER",
    "CGROUP_BPF",
];
const ONLY_CGROUP_V1: [&str; 3] = ["CGROUP_CPUACCT", "CGROUP_DEVICE", "CGROUP_FREEZER"];
const ONLY_CGROUP_V2: [&str; 1] = ["CGROUP_BPF"];
/// Either of the two will do.
const REDIRECT: [&str; 2] = ["NETFILTER_XT_TARGET_REDIRECT", "IP_NF_TARGET_REDIRECT"];
const CONTROLLERS_V1: [&str; 7] = ["cpu", "cpuacct", "cpuset", "devices", "freezer", "memory", "pids"];
/// Less those that every kernel with cgroup v2 has and lists nowhere: devices, freezer.
const CONTROLLERS_V2: [&str; 4] = ["cpu", "cpuset", "memory", "pids"];

/// Programs that kubeadm wants to find, with the minors that look for each: from the first, before the second. conntrack:
/// kubernetes/kubernetes pull request 126952; crictl: kubeadm before 1.31 runs it.
const PROGRAMS: [(&str, u32, u32, &str); 4] = [
    ("conntrack", 0, 32, "install the package conntrack (conntrack-tools on RPM systems)"),
    ("crictl", 0, 31, "leave runtime.crictl_version out, so that the bundle brings it"),
    ("losetup", LIST_FROM, u32::MAX, "install the package util-linux"),
    ("cp", LIST_FROM, u32::MAX, "install the package coreutils"),
];

/// Whether kubeadm makes this check when it inits or joins, and stops at what it finds.
pub(super) fn refused_by_kubeadm(inv: &Inventory, check: &str) -> bool {
    !inv.kubeadm.skips_preflight() && !inv.kubeadm.ignores(check)
}

/// What kubeadm would refuse a host for that is not in the cluster yet.
pub(super) fn kubeadm_checks(
    inv: &Inventory,
    node: &Node,
    host: &HostFacts,
    find: &mut impl FnMut(&str, Severity, String, &str),
) {
    let minor = inv.cluster.version.parse::<KubeVersion>().map_or(0, |v| v.minor);
    if node.role.is_control_plane() {
        let few = (1..CONTROL_PLANE_CPUS).contains(&host.cpus);
        if few && refused_by_kubeadm(inv, "NumCPU") {
            find(
                "cpus",
                Severity::Error,
                format!("{} CPU, kubeadm wants {CONTROL_PLANE_CPUS} on a control plane (NumCPU)", host.cpus),
                "give the host another CPU, or add \"NumCPU\" to kubeadm.ignore_preflight_errors",
            );
        }
        // Below the inventory's own limit it is found already.
        let little = (inv.preflight.control_plane_memory_mib..CONTROL_PLANE_MEMORY_MIB).contains(&host.memory_mib);
        if little && refused_by_kubeadm(inv, "Mem") {
            find(
                "memory",
                Severity::Error,
                format!("{} MiB of memory, kubeadm wants {CONTROL_PLANE_MEMORY_MIB} MiB (Mem)", host.memory_mib),
                "give the host more memory, or add \"Mem\" to kubeadm.ignore_preflight_errors",
            );
        }
    }
    for (program, from, before, remedy) in PROGRAMS {
        let brought = program == "crictl" && inv.runtime.crictl_version.as_deref() != Some("");
        let wanted =
            (from..before).contains(&minor) && !brought && host.missing_for_kubeadm.iter().any(|c| c == program);
        if wanted && refused_by_kubeadm(inv, &format!("FileExisting-{program}")) {
            let why = format!("kubeadm 1.{minor} wants the program {program} (FileExisting-{program})");
            find("commands", Severity::Error, why, remedy);
        }
    }
    if minor >= LIST_FROM && refused_by_kubeadm(inv, "SystemVerification") {
        system_verification(host, find);
    }
}

fn system_verification(host: &HostFacts, find: &mut impl FnMut(&str, Severity, String, &str)) {
    let ignore = "use a kernel that has them, or add \"SystemVerification\" to kubeadm.ignore_preflight_errors";
    let v2 = host.cgroup == CgroupVersion::V2;
    let has = |option: &str| host.kernel_options.iter().any(|o| o == option);
    match host.kernel_config.as_str() {
        // Not said, or kubeadm loads the module `configs` to read it.
        "" | "loadable" => {}
        "none" | "unread" => find(
            "kernel",
            Severity::Error,
            "kubeadm cannot read the kernel's configuration (SystemVerification): neither /proc/config.gz nor \
             /boot/config-RELEASE nor another file that it looks for can be read, and the module configs is not there"
                .into(),
            "put the configuration of the running kernel into /boot, or add \"SystemVerification\" to \
             kubeadm.ignore_preflight_errors",
        ),
        _ => {
            let other = if v2 { &ONLY_CGROUP_V1[..] } else { &ONLY_CGROUP_V2[..] };
            let either = |o: &str| REDIRECT.contains(&o) && REDIRECT.iter().any(|r| has(r));
            let missing: Vec<&str> =
                KERNEL_OPTIONS.into_iter().filter(|o| !other.contains(o) && !has(o) && !either(o)).collect();
            if !missing.is_empty() {
                let why = format!(
                    "kubeadm wants kernel options that are not set (SystemVerification): {}",
                    missing.join(", ")
                );
                find("kernel", Severity::Error, why, ignore);
            }
        }
    }
    let wanted = if v2 { &CONTROLLERS_V2[..] } else { &CONTROLLERS_V1[..] };
    let missing: Vec<&str> = wanted.iter().copied().filter(|w| !host.controllers.iter().any(|c| c == w)).collect();
    // A host that names no controller at all did not say.
    if !host.controllers.is_empty() && !missing.is_empty() {
        let why = format!(
            "kubeadm wants cgroup controllers that are not enabled (SystemVerification): {}",
            missing.join(", ")
        );
        find(
            "cgroup",
            Severity::Error,
            why,
            "enable them on the kernel's command line, or in the container that the host is",
        );
    }
}

/// kubeadm puts etcd's data only into an empty directory, and a file system that is mounted there has lost+found in it.
pub(super) fn etcd_data(
    inv: &Inventory,
    node: &Node,
    host: &HostFacts,
    find: &mut impl FnMut(&str, Severity, String, &str),
) {
    let stacked = inv.etcd.mode == EtcdMode::Stacked && node.role.is_control_plane();
    if stacked && !host.etcd_dir.is_empty() && refused_by_kubeadm(inv, "DirAvailable--var-lib-etcd") {
        find(
            "etcd-data",
            Severity::Error,
            format!(
                "/var/lib/etcd is not empty (it has {}), kubeadm refuses it (DirAvailable--var-lib-etcd)",
                host.etcd_dir
            ),
            "empty /var/lib/etcd; for lost+found of a file system of its own, add \"DirAvailable--var-lib-etcd\" to \
             kubeadm.ignore_preflight_errors",
        );
    }
}

/// An etcd that somebody else runs: its files on a control plane, and its version.
pub(super) fn external_etcd(
    inv: &Inventory,
    node: &Node,
    host: &HostFacts,
    find: &mut impl FnMut(&str, Severity, String, &str),
) {
    if inv.etcd.mode != EtcdMode::External || !inv.etcd.hosts.is_empty() || !node.role.is_control_plane() {
        return;
    }
    // The others get the files from the first, by way of the cluster.
    let first = inv.control_planes().first().is_some_and(|n| n.name == node.name);
    if first && !host.missing_files.is_empty() && refused_by_kubeadm(inv, "ExternalEtcdClientCertificates") {
        find(
            "etcd",
            Severity::Error,
            format!("etcd.ca_file, cert_file or key_file is not there: {}", host.missing_files.join(", ")),
            "copy the files of the external etcd to these paths on the host",
        );
    }
    let Some((version, floor)) =
        inv.cluster.version.parse::<KubeVersion>().ok().and_then(|v| Some((v, external_etcd_floor(v)?)))
    else {
        return;
    };
    for (endpoint, has) in &host.external_etcd {
        let old = has.parse::<Release>().is_ok_and(|r| r < floor);
        if old && refused_by_kubeadm(inv, "ExternalEtcdVersion") {
            find(
                "etcd",
                Severity::Error,
                format!("{endpoint} is etcd {has}, kubeadm {version} needs {floor} or newer (ExternalEtcdVersion)"),
                "upgrade that etcd first, one minor at a time",
            );
        }
    }
}
