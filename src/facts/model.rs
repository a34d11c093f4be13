//! Facts as data, with plainly named predicates.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::bundle::Digest;
use crate::host::{Answer, Probe};
use crate::inventory::{Arch, EtcdMode, Inventory, Node};
use crate::kubeadm::{Certificate, EtcdMember, Members, NodeObject, Stranger, certificates, strangers};
use crate::resource::{
    EtcdHost, Membership, ModuleState, NodeKeys, NodeState, Strays, UpgradeState, certs_probe, etcd_host,
    etcd_host_probe, etcd_identity_probe, external_etcd, external_etcd_probe, membership, node_keys, node_keys_probe,
    node_state, node_state_probe, registry_ca, registry_probe, shell_probe, strays, strays_probe, upgrade_probe,
    upgrade_state,
};
use crate::upgrade::Budget;

/// Commands a host must have before anything of ours is on it.
pub const NEEDED_COMMANDS: &str =
    "sh tar stat sha256sum base64 systemctl systemd-run ip iptables mount nsenter modprobe sysctl ss df";
/// Commands that kubeadm of some version must find: see [`super::kubeadm_checks`].
const KUBEADM_COMMANDS: &str = "conntrack crictl losetup cp";
/// Kernel settings that every host of pods needs at least, and their values: the kernel's own are 128 and 8192 on a small
/// host, and a node's kubelet, containerd and their pods need an instance each. Kubespray, kind and k3s set the same.
pub const INOTIFY: [(&str, u64); 2] = [("max_user_instances", 8192), ("max_user_watches", 524_288)];
/// Kernel modules that containerd and kube-proxy need, built in or loadable.
pub const NEEDED_MODULES: &str = "overlay br_netfilter";
/// The programs by which a node runs containers.
pub const RUNTIME_FILES: [&str; 2] = ["/usr/local/bin/containerd", "/usr/local/sbin/runc"];
const RUNTIME_UNIT: &str = "containerd.service";
/// Where our bridge CNI configuration lies on a node.
pub const CNI_CONF: &str = "/etc/cni/net.d/10-provision.conflist";

/// The timer of scheduled backups on a control plane.
pub const SNAPSHOT_TIMER_FILE: &str = "/etc/systemd/system/provision-etcd-snapshot.timer";

/// The version of the cgroup hierarchy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CgroupVersion {
    /// cgroup2 alone.
    #[default]
    V2,
    /// cgroup v1 alone.
    V1,
    /// v1 controllers with a v2 tree beside them.
    Hybrid,
}

/// What is known of one host.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HostFacts {
    /// `uname -n`
    pub hostname: String,
    /// `uname -m`
    pub machine: String,
    /// `uname -r`
    pub kernel: String,
    /// ID of os-release.
    pub os_id: String,
    /// VERSION_ID of os-release.
    pub os_version: String,
    /// The node's clock minus the operator's, in milliseconds, as far as the round trip lets one tell.
    pub clock_offset_ms: i64,
    /// Half the round trip: how uncertain the offset is, in milliseconds.
    pub clock_uncertainty_ms: u64,
    /// Changes at every boot.
    pub boot_id: String,
    /// `/etc/machine-id`
    pub machine_id: String,
    /// DMI product UUID, empty where there is none.
    pub product_uuid: String,
    /// MAC addresses.
    pub macs: Vec<String>,
    /// Global addresses.
    pub addresses: Vec<String>,
    /// RAM in MiB.
    pub memory_mib: u64,
    /// Free space under /var/lib in MiB.
    pub disk_free_mib: u64,
    /// Processors.
    pub cpus: u64,
    /// cgroup hierarchy.
    pub cgroup: CgroupVersion,
    /// Active swap areas.
    pub swap: u64,
    /// `systemctl is-system-running`
    pub systemd: String,
    /// Of [`NEEDED_COMMANDS`], those that are not there.
    pub missing_commands: Vec<String>,
    /// TCP ports something listens on.
    pub ports: Vec<u16>,
    /// Whether bridged packets pass iptables here.
    pub bridge_nf: bool,
    /// Kernel modules: `present`, `loadable`, `missing`.
    pub modules: BTreeMap<String, String>,
    /// Of the commands that kubeadm looks for, those that are not there.
    #[serde(default)]
    pub missing_for_kubeadm: Vec<String>,
    /// Of the files that the inventory says are there, those that are not.
    #[serde(default)]
    pub missing_files: Vec<String>,
    /// Where the kernel's configuration is: a path, `loadable`, `none`, or `unread`. Empty when the host does not say.
    #[serde(default)]
    pub kernel_config: String,
    /// Of the kernel options that kubeadm wants, those that are built in or modules.
    #[serde(default)]
    pub kernel_options: Vec<String>,
    /// Enabled controllers of the cgroup hierarchy.
    #[serde(default)]
    pub controllers: Vec<String>,
    /// `fs.inotify` settings.
    #[serde(default)]
    pub inotify: BTreeMap<String, u64>,
    /// `fs.inotify` settings cannot be changed from this host.
    #[serde(default)]
    pub inotify_read_only: bool,
    /// A name in /var/lib/etcd, when that is not empty.
    #[serde(default)]
    pub etcd_dir: String,
    /// The version of each endpoint of an etcd that somebody else runs.
    #[serde(default)]
    pub external_etcd: BTreeMap<String, String>,
    /// Names of other hosts that this one resolves, and to what.
    pub resolves: BTreeMap<String, String>,
    /// What of a cluster is on it.
    pub state: NodeState,
    /// The CA of the built-in registry, on a host of it that can sign with it.
    #[serde(default)]
    pub registry_ca: Option<Digest>,
    /// What of an etcd beside Kubernetes is on it, on a host that the inventory names for one.
    #[serde(default)]
    pub etcd: Option<EtcdHost>,
    /// Backups are scheduled on it.
    #[serde(default)]
    pub snapshot_timer: bool,
    /// The pod networks our CNI configuration on it holds.
    pub pod_cidrs: Vec<String>,
    /// Which version it was taken to.
    pub upgrade: UpgradeState,
    /// Its own clock, seconds since the epoch; 0 when it does not tell.
    #[serde(default)]
    pub now_s: i64,
    /// Static pods and drop-ins, ours among them.
    #[serde(default)]
    pub strays: Strays,
    /// Its certificates of Kubernetes.
    #[serde(skip)]
    pub certificates: HostCertificates,
    /// Its keys that never leave it, and the certificates that came back; of a cluster whose CAs somebody else keeps.
    #[serde(skip)]
    pub keys: NodeKeys,
    /// What of [`RUNTIME_FILES`] is there.
    #[serde(default)]
    pub runtime: BTreeMap<String, Digest>,
    /// containerd runs on it.
    #[serde(default)]
    pub runs_containers: bool,
}

/// The certificates of a host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostCertificates {
    /// All that could be read.
    pub all: Vec<Certificate>,
    /// Those that are not of the host's own authorities.
    pub strangers: Vec<Stranger>,
    /// Why they could not be read.
    pub unreadable: Option<String>,
}

impl HostCertificates {
    fn read(answer: &Answer) -> Self {
        let Answer::Shell { code: 0, stdout, .. } = answer else {
            return Self::default();
        };
        match (certificates(stdout), strangers(stdout)) {
            (Ok(all), Ok(strangers)) => Self { all, strangers, unreadable: None },
            (Err(e), _) | (_, Err(e)) => Self { unreadable: Some(e.to_string()), ..Self::default() },
        }
    }
}

impl HostFacts {
    /// Its architecture, if we know that.
    #[must_use]
    pub fn arch(&self) -> Option<Arch> {
        Arch::from_uname(&self.machine)
    }
    /// Where a module stands.
    #[must_use]
    pub fn module(&self, name: &str) -> ModuleState {
        match self.modules.get(name).map(String::as_str) {
            Some("present") => ModuleState::Present,
            Some("loadable") => ModuleState::Loadable,
            _ => ModuleState::Missing,
        }
    }
}

/// What is known of all hosts, and of the cluster where a control plane answers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Facts {
    /// By host name.
    pub hosts: BTreeMap<String, HostFacts>,
    /// Node objects, when a control plane answers.
    pub nodes: Option<Vec<NodeObject>>,
    /// etcd's members, when a control plane answers.
    pub etcd: Option<Vec<EtcdMember>>,
    /// The same with their health, which changes by itself.
    #[serde(skip)]
    pub members: Option<Members>,
    /// What protects the cluster's pods; asked for only when some node is of another version.
    #[serde(skip)]
    pub budgets: Option<Vec<Budget>>,
    /// The control plane that answered.
    pub voice: Option<String>,
}

impl Facts {
    /// Where a host stands towards the inventory's cluster; `Absent` for a host that was not looked at.
    #[must_use]
    pub fn membership(&self, inv: &Inventory, node: &Node) -> Membership {
        self.hosts.get(&node.name).map_or(Membership::Absent, |facts| {
            let stacked = inv.etcd.mode == crate::inventory::EtcdMode::Stacked;
            let mut state = facts.state.clone();
            // A host that just booted cannot ask the API yet; a control plane that answers can tell for it.
            if state.joined && state.node.is_none() && self.nodes.iter().flatten().any(|n| n.name == node.name) {
                state.node = Some(true);
            }
            membership(&state, &inv.cluster.name, node.role.is_control_plane(), stacked)
        })
    }
}

/// The questions of the first round, for one host.
#[must_use]
pub fn fact_probes(inv: &Inventory, node: &Node) -> Vec<Probe> {
    let others: Vec<&str> = inv.hosts.iter().map(|h| h.name.as_str()).collect();
    let files: Vec<&str> = external_files(inv, node).into_iter().filter(|f| !f.contains(char::is_whitespace)).collect();
    let options = super::kubeadm_checks::KERNEL_OPTIONS.join(" ");
    let words = [NEEDED_COMMANDS, NEEDED_MODULES, &others.join(" "), KUBEADM_COMMANDS, &files.join(" "), &options];
    let mut probes = vec![
        shell_probe("facts", &words),
        node_state_probe(&node.name),
        Probe::Content(CNI_CONF.into()),
        Probe::File(SNAPSHOT_TIMER_FILE.into()),
    ];
    if node.role.is_control_plane() {
        probes.push(crate::resource::nodes_probe());
        probes.push(crate::resource::etcd_probe());
        probes.push(budgets_probe(inv));
    }
    if asks_external_etcd(inv, node) {
        probes.push(external_etcd_probe(&inv.etcd));
    }
    if inv.registry.is_served_by(&node.name) {
        probes.push(registry_probe());
    }
    if inv.etcd.runs_on(&node.name) {
        probes.extend([etcd_host_probe(), etcd_identity_probe()]);
    }
    if inv.certificates.is_external() {
        probes.push(node_keys_probe());
    }
    probes.push(upgrade_probe());
    probes.push(strays_probe());
    probes.push(certs_probe(&[]));
    probes.extend(RUNTIME_FILES.map(|path| Probe::File(path.into())));
    probes.push(Probe::Unit(RUNTIME_UNIT.into()));
    probes
}

/// The files of an etcd that somebody else runs, which a control plane must have.
fn external_files<'a>(inv: &'a Inventory, node: &Node) -> Vec<&'a str> {
    if !asks_external_etcd(inv, node) {
        return Vec::new();
    }
    [&inv.etcd.ca_file, &inv.etcd.cert_file, &inv.etcd.key_file].into_iter().filter_map(|f| f.as_deref()).collect()
}

/// Whether this is a control plane of a cluster whose etcd somebody else runs.
fn asks_external_etcd(inv: &Inventory, node: &Node) -> bool {
    inv.etcd.mode == EtcdMode::External && inv.etcd.hosts.is_empty() && node.role.is_control_plane()
}

/// Asks for the disruption budgets, when another version runs than the inventory wants.
pub(super) fn budgets_probe(inv: &Inventory) -> Probe {
    shell_probe("budgets", &[&inv.version_name()])
}

/// Reads the answers to `probes`, which are [`fact_probes`]. `sent_ms` and `received_ms` are the operator's clock around the round trip.
#[must_use]
pub fn host_facts(probes: &[Probe], answers: &[Answer], sent_ms: i64, received_ms: i64) -> HostFacts {
    let stdout = match answers.first() {
        Some(Answer::Shell { stdout, .. }) => stdout.as_str(),
        _ => "",
    };
    let to = |probe: Probe| answer_to(probes, answers, &probe);
    let map: BTreeMap<&str, &str> = stdout.lines().filter_map(|l| l.split_once('=')).collect();
    let text = |key: &str| map.get(key).map(|v| v.trim().to_owned()).unwrap_or_default();
    let number = |key: &str| text(key).parse::<u64>().unwrap_or(0);
    let list = |key: &str| -> Vec<String> {
        let mut all: Vec<String> =
            text(key).split(',').map(str::trim).filter(|s| !s.is_empty()).map(str::to_owned).collect();
        all.sort();
        all.dedup();
        all
    };
    let prefixed = |prefix: &str| -> BTreeMap<String, String> {
        map.iter().filter_map(|(k, v)| Some((k.strip_prefix(prefix)?.to_owned(), (*v).to_owned()))).collect()
    };
    let now_ms: i64 = text("now_ms").parse().unwrap_or(0);
    HostFacts {
        hostname: text("hostname"),
        machine: text("machine"),
        kernel: text("kernel"),
        os_id: text("os_id"),
        os_version: text("os_version"),
        clock_offset_ms: if now_ms == 0 { 0 } else { now_ms - i64::midpoint(sent_ms, received_ms) },
        clock_uncertainty_ms: u64::try_from(received_ms - sent_ms).unwrap_or(0) / 2,
        boot_id: text("boot_id"),
        machine_id: text("machine_id"),
        product_uuid: text("product_uuid"),
        macs: list("macs"),
        addresses: list("addresses"),
        memory_mib: number("memory_mib"),
        disk_free_mib: number("disk_free_mib"),
        cpus: number("cpus"),
        cgroup: match text("cgroup").as_str() {
            "v1" => CgroupVersion::V1,
            "hybrid" => CgroupVersion::Hybrid,
            _ => CgroupVersion::V2,
        },
        swap: number("swap"),
        systemd: text("systemd"),
        missing_commands: list("missing_commands"),
        ports: list("ports").iter().filter_map(|p| p.parse().ok()).collect(),
        bridge_nf: text("bridge_nf") == "yes",
        modules: prefixed("module."),
        missing_for_kubeadm: list("missing_for_kubeadm"),
        missing_files: list("missing_files"),
        kernel_config: text("kernel_config"),
        kernel_options: list("kernel_options"),
        controllers: list("controllers"),
        inotify: prefixed("inotify.").into_iter().filter_map(|(k, v)| Some((k, v.trim().parse().ok()?))).collect(),
        inotify_read_only: text("inotify_read_only") == "yes",
        etcd_dir: text("etcd_dir"),
        external_etcd: answers_of("external-etcd", probes, answers).map(external_etcd).unwrap_or_default(),
        resolves: prefixed("resolves."),
        state: answers.get(1).map(node_state).unwrap_or_default(),
        registry_ca: to(registry_probe()).and_then(registry_ca),
        etcd: to(etcd_host_probe()).zip(to(etcd_identity_probe())).map(|(host, identity)| etcd_host(host, identity)),
        snapshot_timer: to(Probe::File(SNAPSHOT_TIMER_FILE.into())).is_some_and(|a| *a != Answer::Absent),
        pod_cidrs: to(Probe::Content(CNI_CONF.into())).map(conflist_cidrs).unwrap_or_default(),
        upgrade: to(upgrade_probe()).map(upgrade_state).unwrap_or_default(),
        now_s: now_ms / 1000,
        strays: to(strays_probe()).map(strays).unwrap_or_default(),
        certificates: to(certs_probe(&[])).map(HostCertificates::read).unwrap_or_default(),
        keys: to(node_keys_probe()).map(node_keys).unwrap_or_default(),
        runs_containers: matches!(to(Probe::Unit(RUNTIME_UNIT.into())), Some(Answer::Unit(u)) if u.active == "active"),
        runtime: RUNTIME_FILES.iter().filter_map(|path| digest_of(path, to(Probe::File((*path).into()))?)).collect(),
    }
}

/// The answer to one of the questions.
pub(super) fn answer_to<'a>(probes: &[Probe], answers: &'a [Answer], probe: &Probe) -> Option<&'a Answer> {
    probes.iter().position(|p| p == probe).and_then(|at| answers.get(at))
}

/// The answer to the shell probe of this name, whatever its arguments are.
fn answers_of<'a>(name: &str, probes: &[Probe], answers: &'a [Answer]) -> Option<&'a Answer> {
    let head = format!("# probe:{name} ");
    probes
        .iter()
        .position(|p| matches!(p, Probe::Shell(text) if text.starts_with(&head)))
        .and_then(|at| answers.get(at))
}

fn digest_of(path: &str, answer: &Answer) -> Option<(String, Digest)> {
    match answer {
        Answer::File(file) => Some((path.to_owned(), file.digest.clone()?)),
        _ => None,
    }
}

/// The subnets of host-local in a CNI conflist of ours.
fn conflist_cidrs(answer: &Answer) -> Vec<String> {
    let Answer::File(file) = answer else {
        return Vec::new();
    };
    let Some(json) = file.content.as_ref().and_then(|c| serde_json::from_slice::<serde_json::Value>(c).ok()) else {
        return Vec::new();
    };
    let ranges = json.pointer("/plugins/0/ipam/ranges").and_then(|r| r.as_array()).cloned().unwrap_or_default();
    ranges.iter().filter_map(|set| set.pointer("/0/subnet").and_then(|s| s.as_str()).map(str::to_owned)).collect()
}
