//! CoreDNS: its Deployment, its pods and the nodes they are on.

use std::collections::BTreeMap;

use super::world::World;

/// CoreDNS.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dns {
    /// Its pods and their nodes; empty for one that waits for a node.
    pub pods: BTreeMap<String, String>,
    /// The Deployment's selector of nodes.
    pub selector: BTreeMap<String, String>,
    /// The scheduler puts all on this node, for reasons of its own.
    pub sticks_to: Option<String>,
    /// The Deployment's annotation that is ours.
    pub mark: String,
    made: u64,
}

impl Dns {
    /// kubeadm's addon phase.
    pub(super) fn install(&mut self) {
        while self.pods.len() < 2 {
            self.another();
        }
    }

    fn another(&mut self) {
        self.made += 1;
        self.pods.insert(format!("coredns-{:03}", self.made), String::new());
    }

    /// A pod is deleted: its Deployment makes another.
    pub(super) fn delete(&mut self, pod: &str) {
        if self.pods.remove(pod).is_some() {
            self.another();
        }
    }

    /// Its pods leave a node.
    pub(super) fn leave(&mut self, node: &str) {
        let there: Vec<String> = self.pods.iter().filter(|(_, on)| *on == node).map(|(pod, _)| pod.clone()).collect();
        there.iter().for_each(|pod| self.delete(pod));
    }

    /// On how many nodes its pods are.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.pods.values().filter(|on| !on.is_empty()).collect::<std::collections::BTreeSet<_>>().len()
    }
}

impl World {
    /// The scheduler: each pod that waits goes to a node that may have it and has the fewest.
    pub(super) fn schedule_dns(&mut self) {
        if !self.dns.pods.values().any(String::is_empty) || !self.cluster_up() {
            return;
        }
        let planes = ["control-plane", "master"].map(|role| format!("node-role.kubernetes.io/{role}:NoSchedule"));
        let free: Vec<String> = self
            .nodes
            .iter()
            .filter(|(name, n)| {
                !n.unschedulable
                    && self.ready(name)
                    && n.taints.iter().all(|t| planes.contains(t))
                    && self.dns.selector.iter().all(|(k, v)| n.labels.get(k) == Some(v))
                    && self.dns.sticks_to.as_ref().is_none_or(|only| only == *name)
            })
            .map(|(name, _)| name.clone())
            .collect();
        let waiting: Vec<String> =
            self.dns.pods.iter().filter(|(_, on)| on.is_empty()).map(|(pod, _)| pod.clone()).collect();
        for pod in waiting {
            let count = |node: &&String| self.dns.pods.values().filter(|on| on == node).count();
            let Some(node) = free.iter().min_by_key(count).cloned() else { return };
            self.dns.pods.insert(pod, node);
        }
    }

    /// The Deployment and its pods, as `kubectl get -o json` lists them.
    pub(super) fn dns_json(&self) -> String {
        let mut items: Vec<serde_json::Value> = Vec::new();
        if !self.dns.pods.is_empty() {
            items.push(serde_json::json!({
                "kind": "Deployment",
                "metadata": {"name": "coredns", "annotations": {"provision.dev/dns-spread": self.dns.mark}},
                "spec": {"replicas": 2, "template": {"spec": {
                    "nodeSelector": self.dns.selector,
                    "tolerations": [
                        {"key": "CriticalAddonsOnly", "operator": "Exists"},
                        {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"},
                        {"key": "node-role.kubernetes.io/master", "effect": "NoSchedule"},
                    ],
                }}},
            }));
        }
        items.extend(self.dns.pods.iter().map(|(pod, node)| {
            serde_json::json!({
                "kind": "Pod",
                "metadata": {"name": pod, "creationTimestamp": "2026-01-01T00:00:00Z"},
                "spec": {"nodeName": node},
            })
        }));
        serde_json::json!({ "items": items }).to_string()
    }
}
