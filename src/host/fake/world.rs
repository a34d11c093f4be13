//! All machines, the cluster they form, and the faults to come.

use std::collections::{BTreeMap, BTreeSet};

use super::machine::Machine;
use super::watch::{Cause, Watch};

/// What goes wrong with one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The connection is refused: nothing was sent.
    Refuse,
    /// The connection is lost before the call took effect.
    DropBefore,
    /// The call took effect, its reply is lost.
    DropAfterEffect,
    /// A write finds the disk full (other calls are well).
    DiskFull,
    /// The program dies before the call took effect: no connection of now works again.
    Kill,
    /// The program dies after the call took effect.
    KillAfterEffect,
    /// The machine is power-cycled in the middle of the call.
    Reboot,
    /// The machine is gone in the middle of the call, and does not come back by itself.
    Die,
}

/// A node object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeRecord {
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Taints.
    pub taints: BTreeSet<String>,
    /// Cordoned.
    pub unschedulable: bool,
    /// Annotations of ours, without the part before the slash.
    pub marks: BTreeMap<String, String>,
}

/// The world.
#[derive(Debug, Clone, Default)]
pub struct World {
    /// Machines by name.
    pub machines: BTreeMap<String, Machine>,
    /// The version of the kubelets, like "1.36.2".
    pub version: String,
    /// The versions of binaries by digest (hex); those that are not here are of `version`.
    pub versions: BTreeMap<String, String>,
    /// Kubelets, and containerds with which no kubelet gets Ready, by digest (hex) and machine: `digest@name`.
    pub broken_kubelets: BTreeSet<String>,
    /// The version in the cluster's own configuration, like `v1.36.2`.
    pub configured: String,
    /// The tags of kube-proxy and CoreDNS, by the names that the upgrade probe prints.
    pub addons: BTreeMap<String, String>,
    /// The time of the machines, in seconds: every call takes one, a look at static pods takes longer.
    pub seconds: u64,
    /// Control planes whose kubelet is of another minor version than before: from when to when it restarts static pods.
    pub(super) resyncs: BTreeMap<String, (u64, u64)>,
    /// The ConfigMaps of kubeadm, the kubelets and kube-proxy: kind of the document to its text.
    pub settings: BTreeMap<String, String>,
    /// The configuration with which kube-proxy's pods were started last.
    pub proxy: String,
    /// API servers of these machines do not come up with this argument.
    pub broken_arguments: BTreeSet<String>,
    /// Kubelets do not come up with a configuration that has this in it.
    pub broken_config: Option<String>,
    /// Nodes whose containerd has a configuration with this in it do not get Ready.
    pub broken_runtime: Option<String>,
    /// Settings that are being changed: machine and file, and the generation in which that began.
    pub(super) changing: BTreeMap<(String, String), u64>,
    /// Pods that a drain moves, by name, and the nodes they are on.
    pub pods: BTreeMap<String, String>,
    /// CoreDNS.
    pub dns: super::dns::Dns,
    /// Pods with what they mount, as the probe `token-pods` prints them.
    pub token_pods: String,
    /// The CAs that service accounts trust, PEM.
    pub accounts: String,
    /// Pods that no drain moves.
    pub stuck: BTreeSet<String>,
    /// Pods without a controller.
    pub bare: BTreeSet<String>,
    /// Pods with an emptyDir volume.
    pub local_data: BTreeSet<String>,
    /// What kubeadm says when it cannot upgrade a machine.
    pub broken_upgrades: BTreeMap<String, String>,
    /// What the scripts say that look for the cause of a failure, by name.
    pub evidence: BTreeMap<String, String>,
    /// The list of PodDisruptionBudgets, as JSON.
    pub budgets: String,
    /// The list of pods that they are about, as JSON.
    pub pods_json: String,
    /// The command of a user's gate fails.
    pub gate_closed: bool,
    /// How many workers may be away for an upgrade at once.
    pub most_away: usize,
    /// Node objects.
    pub nodes: BTreeMap<String, NodeRecord>,
    /// etcd's members: name to id.
    pub etcd: BTreeMap<String, u64>,
    /// Members of an etcd beside Kubernetes that have started once.
    pub etcd_started: BTreeSet<String>,
    /// Live bootstrap tokens.
    pub tokens: BTreeSet<String>,
    /// The namespace of the test pods is there.
    pub test_namespace: bool,
    /// Releases of charts: `namespace/name` to their description.
    pub releases: BTreeMap<String, String>,
    /// Digests (hex) of the manifests that were applied.
    pub manifests: BTreeSet<String>,
    /// Static pods whose container the kubelet does not start again before a while.
    pub held_back: BTreeSet<String>,
    /// Servers that do not read their certificates again.
    pub reads_once: BTreeSet<String>,
    /// The images each host must have before any kubeadm runs.
    pub needed_images: BTreeMap<String, BTreeSet<String>>,
    /// How many control planes there are to be.
    pub control_planes: usize,
    /// Calls so far.
    pub calls: u64,
    /// Faults by the number of the call over all hosts, from 0.
    pub faults: BTreeMap<u64, Fault>,
    /// Faults by host and the number of the call on that host, from 0.
    pub host_faults: BTreeMap<(String, u64), Fault>,
    /// Calls by host.
    pub host_calls: BTreeMap<String, u64>,
    /// The machines whose reset was asked for.
    pub may_go: BTreeSet<String>,
    /// kubeadm's ClusterStatus, where it keeps one.
    pub cluster_status: String,
    /// Connections made in an earlier generation are dead.
    pub generation: u64,
    /// Control planes in the middle of joining.
    pub joining: BTreeSet<String>,
    /// Control planes whose static pods are being replaced.
    pub restarting: BTreeSet<String>,
    /// Machines that are gone.
    pub dead: BTreeSet<String>,
    /// Who looks on.
    pub watch: Watch,
    /// Broken invariants.
    pub violations: Vec<String>,
    /// Commands that changed something, by host, in order.
    pub log: Vec<String>,
    /// The machines' clock, seconds since the epoch; 0 when they do not tell.
    pub now_s: i64,
    pub(super) clock: u64,
    pub(super) serial: u64,
}

impl World {
    /// The next tick.
    pub fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// A number never given before.
    pub(super) fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// Whether this machine's API server answers: its manifest is there, containerd runs and etcd has quorum.
    #[must_use]
    pub fn api_up(&self, name: &str) -> bool {
        (self.etcd_up(name) || self.etcd_is_apart() && self.has_etcd_client(name))
            && self
                .machines
                .get(name)
                .is_some_and(|m| m.has("/etc/kubernetes/manifests/kube-apiserver.yaml") && m.runs("containerd.service"))
            && !self.argument_is_broken(name)
            && self.quorum()
    }

    /// Whether etcd runs on this machine.
    #[must_use]
    pub fn etcd_up(&self, name: &str) -> bool {
        self.etcd.contains_key(name)
            && self.stands(name)
            && self.machines.get(name).is_some_and(|m| {
                m.has("/etc/kubernetes/manifests/etcd.yaml") && m.runs("containerd.service")
                    || m.runs(crate::resource::ETCD_UNIT)
            })
    }

    /// More than half of etcd's members run.
    #[must_use]
    pub fn quorum(&self) -> bool {
        let up = self.etcd.keys().filter(|n| self.etcd_up(n)).count();
        up * 2 > self.etcd.len()
    }

    /// Some API server answers.
    #[must_use]
    pub fn cluster_up(&self) -> bool {
        self.machines.keys().any(|n| self.api_up(n))
    }

    /// The node is Ready.
    #[must_use]
    pub fn ready(&self, node: &str) -> bool {
        !self.dead.contains(node)
            && self.machines.get(node).is_some_and(|m| {
                m.runs("kubelet.service")
                    && m.runs("containerd.service")
                    && m.has("/etc/kubernetes/kubelet.conf")
                    && m.has(crate::facts::CNI_CONF)
                    && !self.runtime_is_broken(node)
                    && !m
                        .kubelet
                        .as_ref()
                        .is_some_and(|k| self.broken_kubelets.contains(&format!("{}@{node}", k.hex())))
            })
    }

    /// Records what must never be.
    pub(super) fn check_invariants(&mut self) {
        self.schedule_dns();
        self.check_etcd();
        if self.etcd.len() > self.control_planes && !self.etcd_is_apart() {
            self.violations.push(format!("{} etcd members", self.etcd.len()));
        }
        if self.joining.len() > 1 {
            self.violations.push(format!("{:?} join at once", self.joining));
        }
        self.check_upgrade();
        self.check_static_pods();
        self.show(Cause::Call);
        self.check_settings();
    }
}
