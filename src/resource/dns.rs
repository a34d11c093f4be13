//! Where the pods of CoreDNS run. kubeadm installs it while the first control plane is the only node, and the scheduler
//! never moves a pod that runs: both replicas would stay there and go with that node.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::shell::shell_probe;
use crate::bundle::Digest;
use crate::host::{Answer, Probe};
use crate::kubeadm::{self, MARK_PREFIX, NodeObject};

/// The Deployment that kubeadm makes.
pub(crate) const DNS: &str = "coredns";
/// On that Deployment: the nodes for which spreading was attempted and the scheduler put the pods on one node again.
pub(crate) const DNS_MARK: &str = "dns-spread";

/// Asks a control plane for the Deployment and the pods of CoreDNS.
#[must_use]
pub(crate) fn dns_probe() -> Probe {
    shell_probe("dns", &[])
}

/// CoreDNS with all its pods on one node, while others could run some.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Crowded {
    /// The node.
    pub(crate) node: String,
    /// The youngest of the pods.
    pub(crate) pod: String,
    /// Stands for the nodes that could run the pods.
    pub(crate) mark: String,
    /// Spreading was attempted with the same nodes.
    pub(crate) attempted: bool,
}

/// Whether nothing is left to do: the pods run on more than one node, or no other node can run one, or the scheduler puts
/// them on one node all the same.
pub(super) fn is_spread(answers: &[Answer]) -> bool {
    crowded(answers).is_some_and(|crowded| crowded.is_none_or(|c| c.attempted))
}

/// Reads the answers to the probes for nodes and for CoreDNS: `Some(None)` when its pods are not all on one node, or have
/// to be, or there are not two of them; `None` when the answers cannot be read.
pub(crate) fn crowded(answers: &[Answer]) -> Option<Option<Crowded>> {
    let [Answer::Shell { code: 0, stdout: nodes, .. }, Answer::Shell { code: 0, stdout: dns, .. }] = answers else {
        return None;
    };
    let nodes = kubeadm::nodes(nodes).ok()?;
    let list: List = serde_json::from_str(dns).ok()?;
    Some(list.crowded(&nodes))
}

#[derive(Deserialize)]
struct List {
    items: Vec<Object>,
}

#[derive(Deserialize)]
struct Object {
    kind: String,
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: String,
    #[serde(default)]
    creation_timestamp: Option<String>,
    #[serde(default)]
    deletion_timestamp: Option<String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// Of a Deployment the template, of a pod the node.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    node_name: String,
    template: Template,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Template {
    spec: PodSpec,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodSpec {
    node_selector: BTreeMap<String, String>,
    tolerations: Vec<Toleration>,
    affinity: Affinity,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Affinity {
    node_affinity: Option<NodeAffinity>,
    pod_affinity: Option<serde_json::Value>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct NodeAffinity {
    required_during_scheduling_ignored_during_execution: Option<serde_json::Value>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Toleration {
    key: String,
    operator: String,
    value: String,
    effect: String,
}

impl Toleration {
    /// Whether it lets a pod onto a node with this taint, `key=value:Effect`.
    fn covers(&self, taint: &str) -> bool {
        let (left, effect) = taint.rsplit_once(':').unwrap_or((taint, ""));
        let (key, value) = left.split_once('=').unwrap_or((left, ""));
        let same = match self.operator.as_str() {
            "Exists" => self.key.is_empty() || self.key == key,
            _ => self.key == key && self.value == value,
        };
        same && (self.effect.is_empty() || self.effect == effect)
    }
}

impl PodSpec {
    /// Whether a node may run the pods. What resources are left on it is the scheduler's to decide.
    fn fits(&self, node: &NodeObject) -> bool {
        let hard = |taint: &&String| !taint.ends_with(":PreferNoSchedule");
        node.ready
            && !node.unschedulable
            && self.node_selector.iter().all(|(k, v)| node.labels.get(k) == Some(v))
            && node.taints.iter().filter(hard).all(|taint| self.tolerations.iter().any(|t| t.covers(taint)))
    }

    /// Whether somebody has said in finer words than a selector where the pods run.
    fn is_placed(&self) -> bool {
        let affinity = &self.affinity;
        affinity.pod_affinity.is_some()
            || affinity
                .node_affinity
                .as_ref()
                .is_some_and(|n| n.required_during_scheduling_ignored_during_execution.is_some())
    }
}

impl List {
    fn crowded(&self, nodes: &[NodeObject]) -> Option<Crowded> {
        let deployment = self.items.iter().find(|o| o.kind == "Deployment" && o.metadata.name == DNS)?;
        let template = &deployment.spec.template.spec;
        if template.is_placed() {
            return None;
        }
        let mut pods: Vec<&Object> = self
            .items
            .iter()
            .filter(|o| o.kind == "Pod" && o.metadata.deletion_timestamp.is_none() && !o.spec.node_name.is_empty())
            .collect();
        pods.sort_by_key(|p| (&p.metadata.creation_timestamp, &p.metadata.name));
        let [first, .., last] = pods.as_slice() else { return None };
        let node = &first.spec.node_name;
        if pods.iter().any(|p| p.spec.node_name != *node) {
            return None;
        }
        let mut others: Vec<&str> =
            nodes.iter().filter(|n| n.name != *node && template.fits(n)).map(|n| n.name.as_str()).collect();
        others.sort_unstable();
        if others.is_empty() {
            return None;
        }
        let digest = Digest::of(others.join(" ").as_bytes());
        let mark = digest.hex().get(..16).unwrap_or_default().to_owned();
        let attempted = deployment.metadata.annotations.get(&format!("{MARK_PREFIX}{DNS_MARK}")) == Some(&mark);
        Some(Crowded { node: node.clone(), pod: last.metadata.name.clone(), mark, attempted })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn node(name: &str, taint: Option<(&str, &str)>, cordoned: bool) -> Value {
        let taints: Vec<Value> = taint.into_iter().map(|(key, effect)| json!({"key": key, "effect": effect})).collect();
        json!({
            "metadata": {"name": name, "labels": {"kubernetes.io/os": "linux", "kubernetes.io/hostname": name}},
            "spec": {"taints": taints, "unschedulable": cordoned},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        })
    }

    fn pod(name: &str, on: &str, made: &str) -> Value {
        json!({"kind": "Pod", "metadata": {"name": name, "creationTimestamp": made}, "spec": {"nodeName": on}})
    }

    /// As kubeadm makes it.
    fn deployment() -> Value {
        json!({
            "kind": "Deployment",
            "metadata": {"name": "coredns", "annotations": {"deployment.kubernetes.io/revision": "1"}},
            "spec": {"replicas": 2, "template": {"spec": {
                "nodeSelector": {"kubernetes.io/os": "linux"},
                "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100}]}},
                "tolerations": [
                    {"key": "CriticalAddonsOnly", "operator": "Exists"},
                    {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"},
                ],
            }}},
        })
    }

    const PLANE: Option<(&str, &str)> = Some(("node-role.kubernetes.io/control-plane", "NoSchedule"));

    fn seen(nodes: &[Value], objects: &[Value]) -> Option<Option<Crowded>> {
        let shell = |items: &[Value]| {
            let stdout = json!({ "items": items }).to_string();
            Answer::Shell { code: 0, stdout, stderr: String::new() }
        };
        crowded(&[shell(nodes), shell(objects)])
    }

    fn is_crowded(nodes: &[Value], objects: &[Value]) -> bool {
        seen(nodes, objects).is_some_and(|c| c.is_some())
    }

    fn both_on(node: &str) -> [Value; 2] {
        [pod("coredns-a", node, "2026-01-01T00:00:01Z"), pod("coredns-b", node, "2026-01-01T00:00:02Z")]
    }

    #[test]
    fn pods_on_one_node_are_crowded_while_another_can_run_them() {
        let [a, b] = both_on("cp1");
        let objects = [b.clone(), a.clone(), deployment()];
        let found = seen(&[node("cp1", PLANE, false), node("cp2", PLANE, false)], &objects).flatten();
        assert_eq!(found.as_ref().map(|c| (c.node.as_str(), c.pod.as_str())), Some(("cp1", "coredns-b")));
        let alone = [node("cp1", PLANE, false)];
        assert_eq!(seen(&alone, &objects), Some(None));
        for other in [
            node("cp2", PLANE, true),
            node("w1", Some(("dedicated", "NoSchedule")), false),
            node("w1", Some(("node-role.kubernetes.io/control-plane", "NoExecute")), false),
        ] {
            assert!(!is_crowded(&[node("cp1", PLANE, false), other.clone()], &objects), "{other}");
        }
        let soft = node("w1", Some(("dedicated", "PreferNoSchedule")), false);
        assert!(is_crowded(&[node("cp1", PLANE, false), soft], &objects));
        let nodes = [node("cp1", PLANE, false), node("w1", None, false)];
        assert!(is_crowded(&nodes, &objects));
        assert!(!is_crowded(&nodes, &[a.clone(), deployment()]), "one replica");
        assert!(!is_crowded(&nodes, &[a.clone(), b.clone()]), "no Deployment of kubeadm's");
        assert!(!is_crowded(&nodes, &[a, pod("coredns-b", "w1", ""), deployment()]));
        assert!(!is_crowded(&nodes, &[b, pod("coredns-c", "", ""), deployment()]), "one waits for a node");
    }

    #[test]
    fn what_somebody_has_said_of_their_place_holds() {
        let nodes = [node("cp1", PLANE, false), node("w1", None, false)];
        let with = |path: &str, value: Value| {
            let mut deployment = deployment();
            if let Some(spec) = deployment.pointer_mut("/spec/template/spec").and_then(Value::as_object_mut) {
                spec.insert(path.into(), value);
            }
            let [a, b] = both_on("cp1");
            is_crowded(&nodes, &[a, b, deployment])
        };
        assert!(!with("nodeSelector", json!({"kubernetes.io/hostname": "cp1"})));
        let required = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {}}});
        assert!(!with("affinity", required));
        assert!(with("affinity", json!({"nodeAffinity": {}})));
        assert!(with("nodeSelector", json!({})));
    }

    #[test]
    fn what_was_attempted_with_the_same_nodes_is_not_attempted_again() {
        let [a, b] = both_on("cp1");
        let mut nodes = vec![node("cp1", PLANE, false), node("w1", None, false)];
        let mark = seen(&nodes, &[a.clone(), b.clone(), deployment()]).flatten().map(|c| c.mark).unwrap_or_default();
        let mut marked = deployment();
        if let Some(annotations) = marked.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
            annotations.insert("provision.dev/dns-spread".into(), mark.into());
        }
        let objects = [a, b, marked];
        assert_eq!(seen(&nodes, &objects).flatten().map(|c| c.attempted), Some(true));
        nodes.push(node("w2", None, false));
        assert_eq!(seen(&nodes, &objects).flatten().map(|c| c.attempted), Some(false));
    }

    #[test]
    fn what_cannot_be_read_is_never_spread() {
        let shell = |stdout: &str| Answer::Shell { code: 0, stdout: stdout.into(), stderr: String::new() };
        assert!(!is_spread(&[shell(r#"{"items":[]}"#), shell("")]));
        assert!(!is_spread(&[shell(r#"{"items":[]}"#)]));
        assert!(is_spread(&[shell(r#"{"items":[]}"#), shell(r#"{"items":[]}"#)]), "there is no CoreDNS");
    }
}
