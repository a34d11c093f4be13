//! The checks that hold the hosts against the cluster they are members of. Pure.

use super::model::Facts;
use super::preflight::{Finding, Severity};
use crate::inventory::{EtcdMode, Inventory, Node};
use crate::resource::Membership;

/// Hosts whose role is not what they are in the cluster, control planes that would join beside a dead one, and a cluster
/// whose control planes the inventory does not list.
pub(super) fn members(inv: &Inventory, facts: &Facts) -> Vec<Finding> {
    let mut all = Vec::new();
    let mut find = |host: &str, message: String, remedy: String| {
        let (check, host) = ("membership".to_owned(), host.to_owned());
        all.push(Finding { check, host, severity: Severity::Error, message, remedy });
    };
    let is = |node: &Node, what: Membership| facts.membership(inv, node) == what;
    for node in inv.nodes().iter().filter(|n| is(n, Membership::Member)) {
        let other = match (node.role.is_control_plane(), runs_control_plane(facts, node)) {
            (true, false) => ("worker", "control plane"),
            (false, true) => ("control plane", "worker"),
            _ => continue,
        };
        find(
            &node.name,
            format!("it is a {} of the cluster, and a {} in the inventory", other.0, other.1),
            format!("`provision node remove {0}`, then `provision apply`: it joins as a {1}", node.name, other.1),
        );
    }
    let planes = inv.control_planes();
    if facts.voice.is_none() && planes.iter().all(|n| is(n, Membership::Absent)) {
        for worker in inv.workers().iter().filter(|n| is(n, Membership::Member)) {
            find(
                &worker.name,
                "it is in a cluster of which the inventory lists no control plane, and another would be made".into(),
                "list the control plane that runs beside the new one: `provision node replace OLD NEW`".into(),
            );
        }
    }
    let joins = planes.iter().any(|n| facts.hosts.contains_key(&n.name) && !is(n, Membership::Member));
    let known = |name: &String| inv.hosts.iter().any(|h| h.name == *name);
    if joins && inv.etcd.mode == EtcdMode::Stacked {
        let is_node = |name: &String| facts.nodes.iter().flatten().any(|n| n.name == *name);
        let others = facts.members.iter().flat_map(|m| &m.0).filter(|m| !m.name.is_empty() && !known(&m.name));
        for lost in others.filter(|m| !m.healthy || !is_node(&m.name)) {
            find(
                &lost.name,
                "etcd has a member of this name that is dead or no node, and it is not in the inventory: no control plane joins while etcd counts it".into(),
                format!("`provision node replace {0} NEW`, or `provision node remove {0}`", lost.name),
            );
        }
    }
    all
}

/// What the host is in the cluster. The mark is the API's, the static pods are the host's.
fn runs_control_plane(facts: &Facts, node: &Node) -> bool {
    let state = facts.hosts.get(&node.name).map(|h| &h.state);
    let pods = state.is_some_and(|s| !s.manifests.is_empty());
    let object = facts.nodes.iter().flatten().find(|o| o.name == node.name);
    let marked = state.is_some_and(|s| s.control_plane_label) || object.is_some_and(|o| o.is_control_plane());
    if node.role.is_control_plane() { pods || marked } else { pods }
}
