//! How far a node has left the cluster.

use std::net::IpAddr;

use super::shell::shell_probe;
use super::upgrade::movable_pods;
use crate::host::{Answer, Probe};
use crate::kubeadm::{self, LEAVING, Members, names_endpoint};

/// Asks a control plane for what kubeadm before 1.22 keeps of every control plane.
#[must_use]
pub fn kubeadm_status_probe() -> Probe {
    shell_probe("kubeadm-status", &[])
}

/// The answer to [`kubeadm_status_probe`]; empty where kubeadm keeps nothing, `None` when it was not answered.
#[must_use]
pub(crate) fn kubeadm_status(answer: &Answer) -> Option<&str> {
    match answer {
        Answer::Shell { code: 0, stdout, .. } => Some(stdout),
        _ => None,
    }
}

/// Whether the node takes no pods and has none that move, or is no more.
pub(super) fn is_evacuated(answers: &[Answer], name: &str) -> bool {
    let [Answer::Shell { code: 0, stdout, .. }, pods] = answers else { return false };
    kubeadm::nodes(stdout).is_ok_and(|nodes| match nodes.iter().find(|n| n.name == name) {
        None => true,
        Some(node) => {
            node.unschedulable
                && node.marks.contains_key(LEAVING)
                && movable_pods(pods).is_some_and(|pods| pods.is_empty())
        }
    })
}

/// Whether etcd has no member of the node, and all that were healthy are.
pub(super) fn has_left_etcd(answer: &Answer, node: &str, address: Option<IpAddr>, healthy: &[String]) -> bool {
    let Answer::Shell { code: 0, stdout, .. } = answer else { return false };
    Members::read(stdout).is_ok_and(|members| {
        members.of(node, address).is_none() && healthy.iter().all(|name| members.names(true).any(|n| n == name))
    })
}

/// Whether the cluster knows nothing of the node any more.
pub(super) fn is_forgotten(answers: &[Answer], name: &str) -> bool {
    let [Answer::Shell { code: 0, stdout, .. }, Answer::Shell { code: 0, stdout: pods, .. }, status] = answers else {
        return false;
    };
    kubeadm::nodes(stdout).is_ok_and(|nodes| !nodes.iter().any(|n| n.name == name))
        && pods.trim().is_empty()
        && kubeadm_status(status).is_some_and(|status| !names_endpoint(status, name))
}
