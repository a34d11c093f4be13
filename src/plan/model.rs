//! A plan as data: a versioned, serialisable list of steps.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::action::Action;
use super::drift::Drift;
use crate::bundle::Digest;

/// The version of the plan format this program writes and reads.
pub const PLAN_FORMAT: u32 = 1;

/// A whole plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// [`PLAN_FORMAT`] when written.
    pub format_version: u32,
    /// The cluster's name.
    pub cluster: String,
    /// What the plan was made from; `apply --plan` refuses when any of it changed.
    pub inputs: Fingerprints,
    /// The steps; every step's `needs` stand before it.
    pub steps: Vec<Step>,
    /// Things the reader should know that are no steps.
    pub warnings: Vec<String>,
    /// What is not as the inventory says and that no step mends: it is told, and never a pending change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<Drift>,
}

impl Plan {
    /// A plan of these steps that was made from nothing that could go stale.
    #[must_use]
    pub fn of(cluster: &str, steps: Vec<Step>) -> Self {
        let inputs = Fingerprints {
            tool: env!("CARGO_PKG_VERSION").into(),
            inventory: Digest::of(b""),
            bundle: Digest::of(b""),
            hosts: BTreeMap::new(),
        };
        Self {
            format_version: PLAN_FORMAT,
            cluster: cluster.to_owned(),
            inputs,
            steps,
            warnings: Vec::new(),
            drift: Vec::new(),
        }
    }
}

/// Digests of all that a plan was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fingerprints {
    /// The version of `provision`.
    pub tool: String,
    /// Of the inventory, as resolved.
    pub inventory: Digest,
    /// Of `bundle.json`.
    pub bundle: Digest,
    /// Of every host's answers that the plan depends on.
    pub hosts: BTreeMap<String, Digest>,
}

/// Names a step: `<phase>/<host>/<what>`.
pub type StepId = String;

/// One step: one action on one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Its id, unique in the plan.
    pub id: StepId,
    /// The phase it belongs to.
    pub phase: PhaseId,
    /// The host it acts on.
    pub host: String,
    /// What is done.
    pub action: Action,
    /// Why: what was found, and what is wanted.
    pub reason: String,
    /// A unified diff of the file it writes (secrets masked), when it writes one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff: Option<String>,
    /// What it disturbs.
    pub disruption: Disruption,
    /// The steps that must be done before it.
    pub needs: Vec<StepId>,
}

/// A phase; the order of the variants is the order of the phases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PhaseId {
    /// Read-only checks of the hosts.
    Preflight,
    /// Modules, sysctls, swap, names.
    Prepare,
    /// Blobs to the node's content store.
    Distribute,
    /// Packages of the operating system.
    Packages,
    /// containerd, runc, CNI plugins, kubelet and their units.
    Runtime,
    /// The pod network's configuration on each node.
    Cni,
    /// The registry of our own, and who trusts it.
    Registry,
    /// Images into containerd.
    Images,
    /// The etcd that runs beside Kubernetes, one member at a time.
    Etcd,
    /// etcd's data is saved before the running cluster is changed.
    Snapshot,
    /// The control planes to another version, one at a time.
    UpgradeControlPlane,
    /// The workers to another version, wave by wave.
    UpgradeWorker,
    /// Changed settings on the control planes, one at a time.
    SettingsControlPlane,
    /// Changed settings on the workers, wave by wave.
    SettingsWorker,
    /// The first control plane.
    Init,
    /// The other control planes, one at a time.
    JoinControlPlane,
    /// The workers.
    JoinWorker,
    /// Labels and taints.
    Label,
    /// Raw manifests and charts.
    Addons,
    /// The finished cluster is tested.
    Verify,
    /// Nodes leave the cluster, one after the other.
    Leave,
    /// A host is made bare again.
    Reset,
}

impl PhaseId {
    /// As shown and serialised.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Preflight => "preflight",
            Self::Prepare => "prepare",
            Self::Distribute => "distribute",
            Self::Packages => "packages",
            Self::Runtime => "runtime",
            Self::Registry => "registry",
            Self::Images => "images",
            Self::Etcd => "etcd",
            Self::Snapshot => "snapshot",
            Self::UpgradeControlPlane => "upgrade-control-plane",
            Self::UpgradeWorker => "upgrade-worker",
            Self::SettingsControlPlane => "settings-control-plane",
            Self::SettingsWorker => "settings-worker",
            Self::Init => "init",
            Self::JoinControlPlane => "join-control-plane",
            Self::JoinWorker => "join-worker",
            Self::Cni => "cni",
            Self::Label => "label",
            Self::Addons => "addons",
            Self::Verify => "verify",
            Self::Leave => "leave",
            Self::Reset => "reset",
        }
    }
}

/// What a step disturbs, from least to most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Disruption {
    /// Nothing: it only looks.
    None,
    /// Nothing that runs: it adds or changes files.
    Quiet,
    /// A service of the node restarts; running pods go on.
    RestartsService,
    /// The pods of the node move to others.
    MovesPods,
    /// The node joins or leaves the cluster.
    Membership,
    /// What is on the node is removed.
    Destructive,
}
