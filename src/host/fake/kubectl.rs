//! kubectl.

use super::effect::{broken, done};
use super::world::World;
use crate::host::Output;

impl World {
    pub(super) fn kubectl(&mut self, name: &str, args: &[&str]) -> Output {
        if let Err(e) = self.through_admin(name) {
            return broken(1, e);
        }
        match args {
            ["get", "node", node, ..] => {
                done(if self.nodes.contains_key(*node) { format!("node/{node}\n") } else { String::new() })
            }
            ["-n", "kube-system", "get", "configmap", "kubeadm-config", ..] => {
                let text = self.settings.get("ClusterConfiguration");
                done(serde_json::json!({ "data": { "ClusterConfiguration": text } }).to_string())
            }
            ["-n", "kube-system", "patch", "configmap", "kubeadm-config", "--type=merge", "-p", patch, ..] => {
                let patch: serde_json::Value = serde_json::from_str(patch).unwrap_or_default();
                let text = patch.pointer("/data/ClusterConfiguration").and_then(|t| t.as_str());
                self.settings.insert("ClusterConfiguration".into(), text.unwrap_or_default().to_owned());
                done("")
            }
            ["-n", "kube-system", "delete", "pod", pod, ..] => {
                self.dns.delete(pod);
                done("")
            }
            ["-n", "kube-system", "annotate", "deployment", "coredns", "--overwrite", mark] => {
                self.dns.mark = mark.split_once('=').map(|(_, value)| value.to_owned()).unwrap_or_default();
                done("")
            }
            ["get", "nodes", "-o", "json", ..] => done(self.nodes_json()),
            ["delete", "pods", "--all-namespaces", "--field-selector", field, ..] => {
                let node = field.trim_start_matches("spec.nodeName=");
                self.pods.retain(|_, on| on != node);
                self.dns.leave(node);
                done("")
            }
            ["-n", "kube-system", "patch", "configmap", "kubeadm-config", .., patch] => {
                let patch: serde_json::Value = serde_json::from_str(patch).unwrap_or_default();
                let status = patch.pointer("/data/ClusterStatus").and_then(|s| s.as_str());
                status.unwrap_or_default().clone_into(&mut self.cluster_status);
                done("")
            }
            ["delete", "node", node, ..] => {
                self.nodes.remove(*node);
                self.dns.leave(node);
                done("")
            }
            ["label", "node", node, "--overwrite", pairs @ ..] => {
                let Some(record) = self.nodes.get_mut(*node) else { return broken(1, "not found") };
                for (key, value) in pairs.iter().filter_map(|p| p.split_once('=')) {
                    record.labels.insert(key.into(), value.into());
                }
                done("")
            }
            ["taint", "node", node, "--overwrite", taints @ ..] => {
                let Some(record) = self.nodes.get_mut(*node) else { return broken(1, "not found") };
                record.taints.extend(taints.iter().map(|t| (*t).to_owned()));
                done("")
            }
            ["taint", "node", node, taint] => {
                let gone = taint.trim_end_matches('-');
                let taken = self.nodes.get_mut(*node).is_some_and(|record| record.taints.remove(gone));
                if taken { done("") } else { broken(1, "taint not found") }
            }
            ["drain", node, flags @ ..] => self.drain(node, flags),
            ["get", "poddisruptionbudgets", ..] => done(""),
            ["apply", "-f", "-"] => done(""),
            ["create", "namespace", _] => {
                self.test_namespace = true;
                done("")
            }
            ["delete", "namespace", ..] => {
                self.test_namespace = false;
                done("")
            }
            ["-n", namespace, "rollout", verb, owner, ..] => {
                let name = owner.rsplit('/').next().unwrap_or_default();
                let begins = format!("{namespace}|{name}");
                let anew = |l: &str| {
                    let owned = l.starts_with(&begins) || l.contains(&format!("|{name}|"));
                    let made = if owned && *verb == "restart" { "2026-01-01T00:00:10Z" } else { "" };
                    let mut fields: Vec<&str> = l.split('|').collect();
                    if !made.is_empty() && fields.len() > 3 {
                        fields[3] = made;
                    }
                    fields.join("|") + "\n"
                };
                self.token_pods = self.token_pods.lines().map(anew).collect();
                done("")
            }
            _ => broken(127, format!("the fake knows no kubectl {}", args.join(" "))),
        }
    }
}
