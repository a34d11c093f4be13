//! What is not as the inventory says and that no step mends, because it is not ours to change: told, never touched.
//! Pure.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::cluster_steps::CONTROL_PLANE_TAINTS;
use crate::facts::{Facts, HostFacts};
use crate::inventory::{EndpointMode, EtcdMode, Inventory, Node, Role};
use crate::kubeadm::{NodeObject, Standing, days_left, standing};
use crate::resource::{Membership, is_marked, same_taint};

/// A certificate that ends sooner is told: a change window is rarely further away.
const CERTIFICATE_DAYS: u32 = 30;
/// Where the kubelet takes static pods from.
pub(super) const MANIFESTS: &str = "/etc/kubernetes/manifests";
/// The drop-in of ours; it comes with `kubelet.service`.
const OWN_DROP_INS: [&str; 1] = ["/etc/systemd/system/kubelet.service.d/10-kubeadm.conf"];
/// Kubernetes and its cloud controllers set these themselves, and take them away.
const SYSTEM_TAINTS: [&str; 2] = ["node.kubernetes.io/", "node.cloudprovider.kubernetes.io/"];

/// What a [`Drift`] is about; the order is the order they are told in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DriftKind {
    /// A node of the cluster that is no host of the inventory.
    UnknownNode,
    /// A host of the inventory whose node object is gone.
    MissingNode,
    /// A static pod that is not ours.
    StaticPod,
    /// A drop-in of one of our units that is not ours.
    DropIn,
    /// A certificate that ended, ends soon, or is of another authority.
    Certificate,
    /// A label.
    Label,
    /// A taint.
    Taint,
    /// Somebody else keeps pods off a node.
    Cordon,
}

/// One thing that is not as the inventory says and that apply leaves alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drift {
    /// The host, or the node where the inventory has no such host.
    pub host: String,
    /// What it is about.
    pub kind: DriftKind,
    /// The file, label, taint or certificate.
    pub what: String,
    /// As it should be.
    pub expected: String,
    /// As it is.
    pub found: String,
    /// What to do about it.
    pub hint: String,
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: expected {}, found {}", self.host, self.what, self.expected, self.found)
    }
}

/// Everything of that kind, by host.
#[must_use]
pub fn drift(inv: &Inventory, facts: &Facts) -> Vec<Drift> {
    let nodes = inv.nodes();
    let mut all = Vec::new();
    let known: BTreeSet<&str> = nodes.iter().map(|n| n.name.as_str()).collect();
    for object in facts.nodes.iter().flatten().filter(|n| !known.contains(n.name.as_str())) {
        all.push(Drift {
            host: object.name.clone(),
            kind: DriftKind::UnknownNode,
            what: "node object".into(),
            expected: "a host of the inventory".into(),
            found: format!("a node that the inventory does not know{}", at(object)),
            hint: "add the host to the inventory, or take it out of the cluster: `kubectl drain` and `kubectl delete node`"
                .into(),
        });
    }
    // A label that the inventory gives to some host is its business on every host.
    let keys: BTreeSet<&String> = nodes.iter().flat_map(|n| n.labels.keys()).collect();
    for node in &nodes {
        if let Some(host) = facts.hosts.get(&node.name) {
            let membership = facts.membership(inv, node);
            if matches!(membership, Membership::Down(_)) && host.state.node == Some(false) {
                all.push(missing(node));
            }
            if matches!(membership, Membership::Member | Membership::Down(_)) {
                strays(inv, node, host, &mut all);
                certificates(inv, node, host, &mut all);
            }
        }
        if let Some(object) = facts.nodes.iter().flatten().find(|n| n.name == node.name) {
            labels(node, object, &keys, &mut all);
            taints(inv, node, object, &mut all);
        }
    }
    all.sort_by(|a, b| (&a.host, a.kind, &a.what).cmp(&(&b.host, b.kind, &b.what)));
    all
}

fn at(object: &NodeObject) -> String {
    object.address.as_ref().map(|a| format!(" (at {a})")).unwrap_or_default()
}

fn missing(node: &Node) -> Drift {
    Drift {
        host: node.name.clone(),
        kind: DriftKind::MissingNode,
        what: "node object".into(),
        expected: format!("a node named {}", node.name),
        found: "none, though the host was a member".into(),
        hint: "`systemctl restart kubelet` on it registers the node again; `provision reset --host NAME` makes it bare"
            .into(),
    }
}

/// The static pods that kubeadm and provision keep on a host.
fn own_static_pods(inv: &Inventory, node: &Node) -> Vec<&'static str> {
    let control_plane = node.role.is_control_plane();
    let mut own = Vec::new();
    if control_plane {
        own.extend(["kube-apiserver", "kube-controller-manager", "kube-scheduler"]);
        if inv.etcd.mode == EtcdMode::Stacked {
            own.push("etcd");
        }
    }
    match inv.endpoint.mode {
        EndpointMode::Haproxy => own.push("haproxy"),
        EndpointMode::KeepalivedHaproxy if control_plane => own.extend(["haproxy", "keepalived"]),
        EndpointMode::KubeVip if control_plane => own.push("kube-vip"),
        _ => {}
    }
    own
}

fn strays(inv: &Inventory, node: &Node, host: &HostFacts, all: &mut Vec<Drift>) {
    let own: Vec<String> = own_static_pods(inv, node).iter().map(|name| format!("{MANIFESTS}/{name}.yaml")).collect();
    for (path, image) in host.strays.pods.iter().filter(|(path, _)| !own.contains(path)) {
        let image = if image.is_empty() { String::new() } else { format!(" of image {image}") };
        all.push(Drift {
            host: node.name.clone(),
            kind: DriftKind::StaticPod,
            what: format!("static pod {path}"),
            expected: "no such file".into(),
            found: format!("a pod{image} that provision did not write"),
            hint: "the kubelet runs it with the rights its file asks for: find out whose it is, and remove the file if nobody needs it".into(),
        });
    }
    for path in host.strays.drop_ins.iter().filter(|p| !OWN_DROP_INS.contains(&p.as_str())) {
        all.push(Drift {
            host: node.name.clone(),
            kind: DriftKind::DropIn,
            what: format!("drop-in {path}"),
            expected: "no such file".into(),
            found: "settings over those of provision's unit".into(),
            hint: format!("`systemctl cat` shows what it changes; if nobody needs it, remove {path} and run `systemctl daemon-reload`"),
        });
    }
}

fn certificates(inv: &Inventory, node: &Node, host: &HostFacts, all: &mut Vec<Drift>) {
    let external = inv.certificates.is_external();
    let signed_by_others = "`provision certs csr`, have it signed, `provision certs install`";
    let renewal = if external {
        signed_by_others
    } else if node.role.is_control_plane() {
        "`provision certs renew` makes those of the control planes anew"
    } else {
        "the kubelet renews its own while it reaches the API; `provision reset --host NAME` and apply give it a new one"
    };
    let mut tell = |path: &str, expected: String, found: String, hint: &str| {
        all.push(Drift {
            host: node.name.clone(),
            kind: DriftKind::Certificate,
            what: format!("certificate in {path}"),
            expected,
            found,
            hint: hint.into(),
        });
    };
    let seen = &host.certificates;
    if let Some(why) = &seen.unreadable {
        tell("/etc/kubernetes", "certificates that can be read".into(), why.clone(), "look at the file it names");
    }
    for stranger in &seen.strangers {
        tell(
            &stranger.path,
            format!("one signed by {}", stranger.authority),
            format!("one signed by another authority, {:?}", stranger.issuer),
            if external {
                "find out who put it there; `provision certs install` puts the right one back"
            } else {
                "find out who put it there; `provision certs renew` makes those of the control planes anew"
            },
        );
    }
    for certificate in seen.all.iter().filter(|_| host.now_s != 0) {
        let left = days_left(certificate.not_after, host.now_s);
        // Where certificates are short-lived by choice, the kubelet takes a new one before the last tenth of their life.
        let rotates = left >= days_left(certificate.not_after, certificate.not_before) / 10;
        let found = match standing(certificate, host.now_s, CERTIFICATE_DAYS) {
            Standing::Ok => continue,
            Standing::Expiring if rotates => continue,
            Standing::Expired => format!("one that ended {} days ago", -left),
            Standing::Expiring => format!("one that ends in {left} days"),
            Standing::NotYetValid => "one that does not hold yet by the host's clock".into(),
        };
        let hint = if certificate.ca && external {
            "who keeps the authority knows: every node has to learn a new one before this one ends"
        } else if certificate.ca {
            "`provision certs renew` does not renew an authority: `provision certs rotate-ca` puts a new one in its place"
        } else {
            renewal
        };
        tell(&certificate.path, format!("one that holds for {CERTIFICATE_DAYS} days"), found, hint);
    }
}

fn labels(node: &Node, object: &NodeObject, keys: &BTreeSet<&String>, all: &mut Vec<Drift>) {
    // Other labels are the business of whoever set them: controllers do all day.
    for (key, value) in object.labels.iter().filter(|(k, _)| keys.contains(k) && !node.labels.contains_key(*k)) {
        all.push(Drift {
            host: node.name.clone(),
            kind: DriftKind::Label,
            what: format!("label {key}"),
            expected: "none: the inventory gives it to other hosts".into(),
            found: format!("{key}={value}"),
            hint: format!(
                "`kubectl label node {} {key}-` takes it away; or add it to the host in the inventory",
                node.name
            ),
        });
    }
}

fn taints(inv: &Inventory, node: &Node, object: &NodeObject, all: &mut Vec<Drift>) {
    let of_role = |t: &str| CONTROL_PLANE_TAINTS.iter().any(|own| same_taint(own, t));
    let control_plane = node.role.is_control_plane();
    let ours = |t: &str| {
        SYSTEM_TAINTS.iter().any(|s| t.starts_with(s))
            // Those of the role are set by kubeadm, or taken away by a step.
            || (control_plane && of_role(t))
            || node.taints.iter().any(|own| same_taint(own, t))
    };
    let mut tell = |kind: DriftKind, what: String, expected: &str, found: &str, hint: String| {
        all.push(Drift { host: node.name.clone(), kind, what, expected: expected.into(), found: found.into(), hint });
    };
    for taint in object.taints.iter().filter(|t| !ours(t)) {
        tell(
            DriftKind::Taint,
            format!("taint {taint}"),
            "none: the inventory has no such taint",
            "it is there",
            format!(
                "`kubectl taint node {} {taint}-` takes it away; or add it to the host in the inventory",
                node.name
            ),
        );
    }
    let marked = !inv.kubeadm.skip_phases.iter().any(|p| p == "mark-control-plane");
    if node.role == Role::ControlPlane && marked && !object.taints.iter().any(|t| of_role(t)) {
        tell(
            DriftKind::Taint,
            format!("taint {}", CONTROL_PLANE_TAINTS[0]),
            "it is there: the inventory's role is control-plane",
            "none, so workloads may run there",
            format!(
                "`kubectl taint node {} {}` sets it; or make the host's role \"both\"",
                node.name, CONTROL_PLANE_TAINTS[0]
            ),
        );
    }
    if object.unschedulable && !is_marked(object) {
        tell(
            DriftKind::Cordon,
            "scheduling".into(),
            "pods may be placed on it",
            "it is cordoned, and not by provision",
            format!("`kubectl uncordon {}` once whoever did it is done", node.name),
        );
    }
}
