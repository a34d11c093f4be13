//! What is known of every phase: a table, not code.

use crate::plan::PhaseId;

/// Which hosts a phase acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Every host of the inventory.
    AllHosts,
    /// The first control plane.
    FirstControlPlane,
    /// All control planes.
    ControlPlanes,
    /// The control planes after the first.
    OtherControlPlanes,
    /// The hosts that are no control planes.
    Workers,
    /// The hosts of an etcd beside Kubernetes, and its clients.
    EtcdHosts,
    /// The cluster as a whole, by way of a control plane.
    Cluster,
}

/// How many steps of a phase may run at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// One at a time over all hosts, in the order of the plan; when one fails, the rest of the phase does not run.
    InOrder,
    /// As many as the operation's concurrency allows; one host still does its steps one after the other.
    Concurrent,
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PhaseSpec {
    /// Which phase.
    pub id: PhaseId,
    /// For people.
    pub title: &'static str,
    /// Which hosts it acts on.
    pub scope: Scope,
    /// How many of its steps run at once.
    pub concurrency: Limit,
    /// Whether none of its steps may start before every host's images are in place. A host that pulls or fails
    /// halfway through kubeadm leaves a cluster to repair; one that lacks an image before it leaves nothing.
    pub after_images: bool,
}

/// All phases, in their order.
pub const PHASES: [PhaseId; 22] = [
    PhaseId::Preflight,
    PhaseId::Prepare,
    PhaseId::Distribute,
    PhaseId::Packages,
    PhaseId::Runtime,
    PhaseId::Cni,
    PhaseId::Registry,
    PhaseId::Images,
    PhaseId::Etcd,
    PhaseId::Snapshot,
    PhaseId::UpgradeControlPlane,
    PhaseId::UpgradeWorker,
    PhaseId::SettingsControlPlane,
    PhaseId::SettingsWorker,
    PhaseId::Init,
    PhaseId::JoinControlPlane,
    PhaseId::JoinWorker,
    PhaseId::Label,
    PhaseId::Addons,
    PhaseId::Verify,
    PhaseId::Leave,
    PhaseId::Reset,
];

/// The row of `id`.
#[must_use]
pub const fn spec(id: PhaseId) -> PhaseSpec {
    use Limit::{Concurrent, InOrder};
    use Scope::{AllHosts, Cluster, ControlPlanes, EtcdHosts, FirstControlPlane, OtherControlPlanes, Workers};
    let (title, scope, concurrency, after_images) = match id {
        PhaseId::Preflight => ("Check the hosts", AllHosts, Concurrent, false),
        PhaseId::Prepare => ("Prepare the hosts", AllHosts, Concurrent, false),
        PhaseId::Distribute => ("Distribute the bundle", AllHosts, Concurrent, false),
        PhaseId::Packages => ("Install packages", AllHosts, Concurrent, false),
        PhaseId::Runtime => ("Install the runtime", AllHosts, Concurrent, false),
        PhaseId::Registry => ("Set up the registry", AllHosts, Concurrent, false),
        PhaseId::Images => ("Import the images", AllHosts, Concurrent, false),
        // Two members that restart at once are a quorum lost.
        PhaseId::Etcd => ("Set up etcd", EtcdHosts, InOrder, true),
        PhaseId::Snapshot => ("Save etcd's data", Cluster, InOrder, true),
        // Only one may be away at a time: etcd's quorum hangs on the others.
        PhaseId::UpgradeControlPlane => ("Upgrade the control planes", ControlPlanes, InOrder, true),
        PhaseId::UpgradeWorker => ("Upgrade the workers", Workers, Concurrent, true),
        PhaseId::SettingsControlPlane => ("Change settings of the control planes", ControlPlanes, InOrder, true),
        PhaseId::SettingsWorker => ("Change settings of the workers", Workers, Concurrent, true),
        PhaseId::Init => ("Start the first control plane", FirstControlPlane, InOrder, true),
        // etcd takes one learner at a time.
        PhaseId::JoinControlPlane => ("Join the control planes", OtherControlPlanes, InOrder, true),
        PhaseId::JoinWorker => ("Join the workers", Workers, Concurrent, true),
        PhaseId::Cni => ("Set up the pod network", AllHosts, Concurrent, false),
        PhaseId::Label => ("Set labels and taints", Cluster, Concurrent, false),
        // In the inventory's order: a chart may rely on those before it.
        PhaseId::Addons => ("Apply manifests and charts", Cluster, InOrder, true),
        PhaseId::Verify => ("Verify the cluster", Cluster, Concurrent, false),
        // etcd loses one member at a time, and pods one node.
        PhaseId::Leave => ("Take nodes out", AllHosts, InOrder, false),
        PhaseId::Reset => ("Reset the hosts", AllHosts, Concurrent, false),
    };
    PhaseSpec { id, title, scope, concurrency, after_images }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_phases() {
        assert!(PHASES.is_sorted());
        for id in PHASES {
            assert_eq!(spec(id).id, id);
        }
    }
}
