//! Questions that only a control plane can answer.

use super::shell::shell_probe;
use crate::host::{Answer, Probe};
use crate::kubeadm::{EtcdStatus, etcd_status};

/// Asks a control plane for all node objects (`kubectl get nodes -o json`).
#[must_use]
pub fn nodes_probe() -> Probe {
    shell_probe("nodes", &[])
}

/// Asks a control plane for etcd's members and their health.
#[must_use]
pub fn etcd_probe() -> Probe {
    shell_probe("etcd", &[])
}

/// Asks a host for every certificate of Kubernetes on it, and those in these files.
#[must_use]
pub fn certs_probe(more: &[&str]) -> Probe {
    shell_probe("certs", more)
}

/// Asks a control plane how the API behind the cluster's endpoint and the members of its etcd are.
#[must_use]
pub fn cluster_status_probe() -> Probe {
    shell_probe("cluster-status", &[])
}

/// Reads the answer to [`cluster_status_probe`]: what the endpoint answered (`ok` is healthy), and etcd's members.
#[must_use]
pub fn cluster_status(answer: &Answer) -> (Option<String>, Vec<EtcdStatus>) {
    let Answer::Shell { stdout, .. } = answer else {
        return (None, Vec::new());
    };
    let of = |key: &str| stdout.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix('='));
    (of("endpoint").map(str::to_owned), of("etcd").and_then(|json| etcd_status(json).ok()).unwrap_or_default())
}

/// Asks a control plane for its own health.
#[must_use]
pub fn control_plane_probe(address: &str) -> Probe {
    shell_probe("control-plane", &[address])
}

/// Components of a control plane and what is wrong with each (`ok` is healthy).
pub type ControlPlaneHealth = Vec<(String, String)>;

/// Reads the answer to the control-plane probe; `None` when it says nothing.
#[must_use]
pub fn control_plane_health(answer: &Answer) -> Option<ControlPlaneHealth> {
    let Answer::Shell { stdout, .. } = answer else {
        return None;
    };
    let parts: ControlPlaneHealth =
        stdout.lines().filter_map(|l| l.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    (!parts.is_empty()).then_some(parts)
}
