//! What is planned when a cluster is built anew round a snapshot. Pure.

use std::collections::BTreeSet;

use super::action::Action;
use super::model::{PhaseId, Step};
use crate::facts::Facts;
use crate::inventory::Inventory;
use crate::resource::NodeState;

/// kubeadm's check that `init` finds no etcd data: here it is what init shall start from.
const ETCD_DATA: &str = "DirAvailable--var-lib-etcd";

/// The facts as they will be once the old control planes are set aside: nothing of a cluster is on them but our claim,
/// and nobody answers for it.
#[must_use]
pub fn without_control_planes(inv: &Inventory, facts: &Facts) -> Facts {
    let mut facts = facts.clone();
    for node in inv.control_planes() {
        if let Some(host) = facts.hosts.get_mut(&node.name) {
            host.state = NodeState { claim: host.state.claim.take(), ..NodeState::default() };
        }
    }
    Facts { hosts: facts.hosts, ..Facts::default() }
}

/// The inventory with this host first, so that it is the one that inits.
#[must_use]
pub fn led_by(inv: &Inventory, name: &str) -> Inventory {
    let mut inv = inv.clone();
    inv.hosts.sort_by_key(|h| h.name != name);
    inv
}

/// Of `steps`, those of one host whose phase is wanted; `init` takes etcd's data as it finds it.
#[must_use]
pub fn of_host(steps: Vec<Step>, host: &str, wanted: impl Fn(PhaseId) -> bool) -> Vec<Step> {
    let mut kept: Vec<Step> = steps.into_iter().filter(|s| s.host == host && wanted(s.phase)).collect();
    let ids: BTreeSet<String> = kept.iter().map(|s| s.id.clone()).collect();
    for step in &mut kept {
        step.needs.retain(|id| ids.contains(id));
        if let Action::KubeadmInit { ignore_preflight_errors, .. } = &mut step.action {
            ignore_preflight_errors.push(ETCD_DATA.into());
        }
    }
    kept
}
