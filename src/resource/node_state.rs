//! Whether a host is a member of a cluster, of which one, and how whole.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use x509_parser::pem::Pem;

use super::shell::shell_probe;
use crate::bundle::Digest;
use crate::host::{Answer, Probe};

/// What the node-state probe saw.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NodeState {
    /// `/etc/kubernetes/kubelet.conf` exists.
    pub kubelet_conf: bool,
    /// `/etc/kubernetes/bootstrap-kubelet.conf` exists: a join began and did not end.
    pub bootstrap_conf: bool,
    /// `/etc/kubernetes/admin.conf` exists.
    pub admin_conf: bool,
    /// etcd has data here.
    pub etcd_data: bool,
    /// kubeadm's static pod manifests that exist.
    pub manifests: Vec<String>,
    /// The cluster CAs that it trusts, each the sha256 of a certificate: one, and two while one gives way to the other.
    pub ca: Vec<Digest>,
    /// The CA whose rotation was begun and not ended.
    #[serde(default)]
    pub rotation: Option<String>,
    /// The name of the cluster that claimed this host through `provision`.
    pub claim: Option<String>,
    /// Our mark that the join was once seen whole.
    pub joined: bool,
    /// A transient unit of ours that runs kubeadm right now.
    pub running: Option<String>,
    /// The node object: `Some(true)` there, `Some(false)` the API says it is not, `None` not known.
    pub node: Option<bool>,
    /// The node object carries the control-plane role label.
    pub control_plane_label: bool,
}

/// Asks for the state of the node object `node` on its own host.
#[must_use]
pub fn node_state_probe(node: &str) -> Probe {
    shell_probe("node-state", &[node])
}

/// Reads the answer to [`node_state_probe`].
#[must_use]
pub fn node_state(answer: &Answer) -> NodeState {
    let Answer::Shell { stdout, .. } = answer else {
        return NodeState::default();
    };
    let map: BTreeMap<&str, &str> = stdout.lines().filter_map(|l| l.split_once('=')).collect();
    let yes = |key: &str| map.get(key) == Some(&"yes");
    let text = |key: &str| map.get(key).map(|v| v.trim().to_owned()).filter(|v| !v.is_empty());
    NodeState {
        kubelet_conf: yes("kubelet_conf"),
        bootstrap_conf: yes("bootstrap_conf"),
        admin_conf: yes("admin_conf"),
        etcd_data: yes("etcd_data"),
        manifests: map
            .get("manifests")
            .map(|m| m.split(',').filter(|s| !s.is_empty()).map(str::to_owned).collect())
            .unwrap_or_default(),
        ca: text("ca").map(|text| authorities(&text)).unwrap_or_default(),
        rotation: text("rotation"),
        claim: text("claim"),
        joined: yes("joined"),
        running: text("running"),
        node: match map.get("node").copied() {
            Some("yes") => Some(true),
            Some("no") => Some(false),
            _ => None,
        },
        control_plane_label: map.get("role") == Some(&"control-plane"),
    }
}

/// Each certificate in a file that comes as base64. What cannot be read stands for itself alone: it is there, and it is
/// nobody else's.
fn authorities(text: &str) -> Vec<Digest> {
    let file = STANDARD.decode(text).unwrap_or_else(|_| text.into());
    let all: Vec<Digest> = Pem::iter_from_buffer(&file).flatten().map(|block| Digest::of(&block.contents)).collect();
    if all.is_empty() { vec![Digest::of(&file)] } else { all }
}

/// Where a host stands towards the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Membership {
    /// Nothing of a cluster is on it.
    Absent,
    /// An init or join of ours runs or broke before it was whole: followed, or cleared and done again.
    Partial(String),
    /// A whole member.
    Member,
    /// Once whole, now the API does not vouch for it: never reset by us on our own.
    Down(String),
    /// It belongs to something else.
    Foreign(String),
}

/// Judges a state for a host of `cluster` in its role. `stacked` says whether a control plane runs etcd.
///
/// A control plane that was once seen whole (`joined`) is never called partial, whatever fails on it now: what is
/// partial is reset, and a cluster that is down as a whole must never be answered with a reset.
#[must_use]
pub fn membership(state: &NodeState, cluster: &str, control_plane: bool, stacked: bool) -> Membership {
    let traces = state.kubelet_conf
        || state.bootstrap_conf
        || state.admin_conf
        || state.etcd_data
        || !state.manifests.is_empty()
        || !state.ca.is_empty();
    match &state.claim {
        Some(claim) if claim != cluster => {
            return Membership::Foreign(format!("it belongs to cluster `{claim}` of provision"));
        }
        None if traces => {
            return Membership::Foreign(
                "it has Kubernetes configuration under /etc/kubernetes or /var/lib/etcd that provision did not make"
                    .into(),
            );
        }
        _ => {}
    }
    if let Some(unit) = &state.running {
        return Membership::Partial(format!("{unit} is running"));
    }
    if !traces {
        return Membership::Absent;
    }
    let wanted: &[&str] = if stacked {
        &["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"]
    } else {
        &["kube-apiserver", "kube-controller-manager", "kube-scheduler"]
    };
    let missing: Vec<&str> = wanted.iter().copied().filter(|w| !state.manifests.iter().any(|m| m == w)).collect();
    let whole = state.kubelet_conf
        && !state.bootstrap_conf
        && (!control_plane || (missing.is_empty() && state.control_plane_label));
    match (state.node, state.joined) {
        (Some(true), true) => Membership::Member,
        (Some(true), false) if whole => Membership::Member,
        (Some(true), false) => Membership::Partial("its node object is there, but kubeadm did not finish".into()),
        (Some(false), true) => Membership::Down("it was a member, but its node object is gone".into()),
        (Some(false), false) => Membership::Partial("kubeadm wrote its files, but there is no node object".into()),
        (None, true) => Membership::Down("it was a member, but the API does not answer it".into()),
        (None, false) => Membership::Partial("kubeadm began, but the API does not answer".into()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole() -> NodeState {
        NodeState {
            kubelet_conf: true,
            admin_conf: true,
            etcd_data: true,
            manifests: ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"].map(String::from).into(),
            ca: vec![Digest::of(b"aa")],
            claim: Some("lab".into()),
            node: Some(true),
            control_plane_label: true,
            ..NodeState::default()
        }
    }

    #[test]
    fn states_are_told_apart() {
        assert_eq!(membership(&NodeState::default(), "lab", true, true), Membership::Absent);
        assert_eq!(membership(&whole(), "lab", true, true), Membership::Member);
        let foreign = NodeState { claim: None, ..whole() };
        assert!(matches!(membership(&foreign, "lab", true, true), Membership::Foreign(_)));
        assert!(matches!(membership(&whole(), "other", true, true), Membership::Foreign(_)));
        let half = NodeState { control_plane_label: false, ..whole() };
        assert!(matches!(membership(&half, "lab", true, true), Membership::Partial(_)));
        let down = NodeState { node: None, joined: true, ..whole() };
        assert!(matches!(membership(&down, "lab", true, true), Membership::Down(_)));
    }

    #[test]
    fn answers_are_read() {
        let answer = Answer::Shell {
            code: 0,
            stdout: "kubelet_conf=yes\nmanifests=etcd,kube-apiserver,\nclaim=lab\nnode=no\njunk\n".into(),
            stderr: String::new(),
        };
        let state = node_state(&answer);
        assert!(state.kubelet_conf && state.manifests.len() == 2 && state.node == Some(false));
        assert_eq!(state.claim.as_deref(), Some("lab"));
    }

    proptest! {
        #[test]
        fn what_was_once_whole_is_never_partial(
            kubelet_conf: bool, bootstrap_conf: bool, admin_conf: bool, etcd_data: bool, label: bool,
            node in proptest::option::of(any::<bool>()), control_plane: bool,
        ) {
            let state = NodeState {
                kubelet_conf, bootstrap_conf, admin_conf, etcd_data, node, control_plane_label: label,
                joined: true, claim: Some("lab".into()), ..NodeState::default()
            };
            let membership = membership(&state, "lab", control_plane, true);
            prop_assert!(!matches!(membership, Membership::Partial(_)));
        }
    }
}
