//! What the drains of a plan would lose, said before anything is changed. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::action::Action;
use super::assemble::Observations;
use super::model::Step;
use crate::error::{Error, Result};
use crate::host::Probe;
use crate::inventory::{Inventory, LostPods, Unfinished};
use crate::resource::{losses, pods_probe};

/// The node that a step drains, the control plane that knows its pods, and whether the step may leave the node out.
fn drained(step: &Step) -> Option<(&str, &str, bool)> {
    match &step.action {
        Action::Drain { node, through, unfinished, .. } => Some((node, through, *unfinished == Unfinished::Skip)),
        Action::Evacuate { node, .. } => Some((node, &step.host, false)),
        _ => None,
    }
}

/// The questions to ask before [`check_drains`] can decide: the pods of each node that the steps drain.
#[must_use]
pub fn drain_questions(steps: &[Step]) -> BTreeMap<String, Vec<Probe>> {
    let mut all: BTreeMap<String, BTreeSet<Probe>> = BTreeMap::new();
    for (node, through, _) in steps.iter().filter_map(drained) {
        all.entry(through.to_owned()).or_default().insert(pods_probe(node));
    }
    all.into_iter().map(|(host, set)| (host, set.into_iter().collect())).collect()
}

/// Adds what each drain loses to the reason of its step.
///
/// Errors (`Refused`): `upgrade.drain` does not allow to lose that, or the pods of a node could not be listed.
pub fn check_drains(inv: &Inventory, steps: &mut [Step], seen: &Observations) -> Result<()> {
    let policy = &inv.upgrade.drain;
    let forced = policy.unfinished == Unfinished::Force;
    let (mut lines, mut keys): (Vec<String>, BTreeSet<&str>) = (Vec::new(), BTreeSet::new());
    for step in steps {
        let Some((node, through, may_skip)) = drained(step) else { continue };
        let Some(losses) = seen.get(through).and_then(|h| losses(h.get(&pods_probe(node))?)) else {
            return Err(Error::refused(format!("failed to list the pods of {node}; nothing was changed"))
                .on(through)
                .hint(format!("run `kubectl get pods -A --field-selector spec.nodeName={node}` on {through}")));
        };
        let mut notes = Vec::new();
        for (what, key, pods, deletes) in [
            ("pods without a controller", "bare_pods", &losses.bare, policy.bare_pods == LostPods::Delete || forced),
            ("pods with an emptyDir volume", "local_data", &losses.local_data, policy.local_data == LostPods::Delete),
        ] {
            if pods.is_empty() {
                continue;
            }
            let named = format!("{what}: {}", listed(pods));
            if deletes {
                notes.push(format!("deletes {named}"));
            } else if may_skip {
                notes.push(format!("leaves the node out for {named}"));
            } else {
                lines.push(format!("\n  {node}: {named}"));
                keys.insert(key);
            }
        }
        for note in notes {
            step.reason += &format!("; {note}");
        }
    }
    if lines.is_empty() {
        return Ok(());
    }
    lines.sort();
    lines.dedup();
    let keys: Vec<String> = keys.into_iter().map(|key| format!("upgrade.drain.{key} = \"delete\"")).collect();
    Err(Error::refused(format!(
        "failed to plan the drain of nodes: pods would be lost; nothing was changed:{}",
        lines.concat()
    ))
    .hint(format!("move or delete these pods yourself, or set {} in the inventory", keys.join(" and "))))
}

/// Names in a line; of many the first ones and how many more there are.
fn listed(names: &[String]) -> String {
    const SHOWN: usize = 10;
    let (first, rest) = names.split_at(names.len().min(SHOWN));
    match rest.len() {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::error::Kind;
    use crate::host::Answer;
    use crate::plan::{Disruption, PhaseId};

    fn step(node: &str, unfinished: Unfinished) -> Step {
        Step {
            id: format!("upgrade-worker/{node}/drain"),
            phase: PhaseId::UpgradeWorker,
            host: node.into(),
            action: Action::Drain { node: node.into(), through: "cp1".into(), timeout_s: 1, grace_s: None, unfinished },
            reason: "its pods move".into(),
            diff: None,
            disruption: Disruption::MovesPods,
            needs: Vec::new(),
        }
    }

    fn inventory(drain: &str) -> Inventory {
        let text = format!("{}[upgrade.drain]\n{drain}", crate::inventory::SAMPLE);
        crate::inventory::parse(&text).unwrap_or_else(|d| panic!("{d:?}")).inventory
    }

    fn seen(code: u32, stdout: &str) -> Observations {
        let answer = Answer::Shell { code, stdout: stdout.into(), stderr: String::new() };
        [("cp1".to_owned(), [(pods_probe("w1"), answer)].into())].into()
    }

    const PODS: &str = "a/bare|Running||||\na/cache|Running|ReplicaSet||ReplicaSet|{}\n";

    /// The reason of the step, or the kind of the error and what it says.
    fn checked(
        drain: &str,
        unfinished: Unfinished,
        seen: &Observations,
    ) -> std::result::Result<String, (Kind, String)> {
        let mut steps = [step("w1", unfinished)];
        match check_drains(&inventory(drain), &mut steps, seen) {
            Ok(()) => Ok(steps[0].reason.clone()),
            Err(e) => Err((e.kind(), e.report())),
        }
    }

    #[test]
    fn what_a_drain_loses_is_refused_or_named() {
        let asked = drain_questions(&[step("w1", Unfinished::Pause), step("w1", Unfinished::Pause)]);
        assert_eq!(asked, [("cp1".to_owned(), vec![pods_probe("w1")])].into());
        let (kind, said) = checked("", Unfinished::Pause, &seen(0, PODS)).unwrap_err();
        assert_eq!(kind, Kind::Refused);
        assert!(said.contains("w1: pods without a controller: a/bare") && !said.contains("a/cache"), "{said}");
        let cache = "deletes pods with an emptyDir volume: a/cache";
        for (drain, unfinished, wanted) in [
            (
                "bare_pods = \"delete\"",
                Unfinished::Pause,
                format!("deletes pods without a controller: a/bare; {cache}"),
            ),
            (
                "unfinished = \"force\"",
                Unfinished::Force,
                format!("deletes pods without a controller: a/bare; {cache}"),
            ),
            ("", Unfinished::Skip, format!("leaves the node out for pods without a controller: a/bare; {cache}")),
        ] {
            assert_eq!(checked(drain, unfinished, &seen(0, PODS)), Ok(format!("its pods move; {wanted}")), "{drain}");
        }
        // What is refused by name stays refused whatever else is forced.
        let drain = "unfinished = \"force\"\nlocal_data = \"refuse\"";
        let (_, said) = checked(drain, Unfinished::Force, &seen(0, PODS)).unwrap_err();
        assert!(said.contains("a/cache") && said.contains("upgrade.drain.local_data = \"delete\""), "{said}");
        assert_eq!(checked("", Unfinished::Pause, &seen(0, "")), Ok("its pods move".into()));
    }

    #[test]
    fn pods_that_cannot_be_listed_are_no_empty_node() {
        for seen in [seen(1, ""), Observations::new()] {
            let (kind, said) = checked("", Unfinished::Pause, &seen).unwrap_err();
            assert!(kind == Kind::Refused && said.contains("failed to list the pods of w1"), "{said}");
        }
    }
}
