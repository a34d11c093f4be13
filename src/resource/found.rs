//! What was found in place of what an action wants, in a few words: the second half of a step's reason. Pure.

use std::collections::BTreeMap;

use super::judge::{node_object, same_taint};
use crate::host::Answer;
use crate::kubeadm::NodeObject;
use crate::plan::Action;

/// In words, what `answers` (to [`super::probes`] of the action) say that is otherwise; `None` when nothing is there, or
/// when the step's diff shows it.
#[must_use]
pub fn found(action: &Action, answers: &[Answer]) -> Option<String> {
    let first = answers.first()?;
    match (action, first) {
        (Action::ImportImage { name, manifest, .. }, Answer::Images(images)) => {
            let other = images.get(name).filter(|d| **d != manifest.to_string())?;
            Some(format!("containerd has another image under this name, {}", short(other)))
        }
        (Action::InstallBlob { digest, path, .. }, Answer::File(file)) => {
            let other = file.digest.as_ref().filter(|d| *d != digest)?;
            Some(format!("{path} is another file, {}", other.short()))
        }
        (Action::UnpackBlob { members, .. }, _) => {
            let others: Vec<&str> = members
                .iter()
                .zip(answers)
                .filter(|(m, a)| matches!(a, Answer::File(f) if f.digest.as_ref() != Some(&m.digest)))
                .map(|(m, _)| m.path.as_str())
                .collect();
            (!others.is_empty()).then(|| format!("another file is at {}", others.join(", ")))
        }
        (Action::SetSysctl { key, value }, Answer::Sysctl(now)) if now != value => {
            Some(format!("{key} is {now}, not {value}"))
        }
        (Action::Unit { name, active: Some(true), .. }, Answer::Unit(unit)) if unit.active != "active" => {
            Some(format!("{name} is {}", unit.active))
        }
        (Action::NodeMeta { node, labels, taints, remove_taints }, _) => {
            let differs = meta(&node_object(first, node)?, labels, taints, remove_taints);
            (!differs.is_empty()).then(|| differs.join(", "))
        }
        _ => None,
    }
}

/// As digests are shown: enough to tell two apart.
fn short(digest: &str) -> String {
    digest.trim_start_matches("sha256:").chars().take(12).collect()
}

fn meta(
    node: &NodeObject,
    labels: &BTreeMap<String, String>,
    taints: &[String],
    remove_taints: &[String],
) -> Vec<String> {
    let has = |taint: &String| node.taints.iter().any(|have| same_taint(have, taint));
    let labels = labels.iter().filter_map(|(key, value)| match node.labels.get(key) {
        Some(now) if now == value => None,
        Some(now) => Some(format!("label {key} is {now:?}, not {value:?}")),
        None => Some(format!("label {key}={value} is missing")),
    });
    let missing = taints.iter().filter(|t| !has(t)).map(|t| format!("taint {t} is missing"));
    let extra = remove_taints.iter().filter(|t| has(t)).map(|t| format!("taint {t} is there"));
    labels.chain(missing).chain(extra).collect()
}
