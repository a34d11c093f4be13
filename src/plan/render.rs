//! A plan for people. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::drift::Drift;
use super::model::{Disruption, Plan, Step};

/// The plan as text: each host's changes with file diffs, the counts and what is disturbed. Long runs of blobs and
/// images are counted rather than listed unless `all` is set.
#[must_use]
pub fn render(plan: &Plan, all: bool) -> String {
    let mut out = String::new();
    for warning in &plan.warnings {
        let _ = writeln!(out, "Warning: {warning}");
    }
    out += &render_drift(&plan.drift);
    if plan.steps.is_empty() {
        let _ = match plan.drift.len() {
            0 => writeln!(out, "No changes. Cluster {} is what the inventory says.", plan.cluster),
            n => writeln!(out, "\nNo changes. apply would leave the {n} above as found."),
        };
        return out;
    }
    let mut hosts: BTreeMap<&str, Vec<&Step>> = BTreeMap::new();
    for step in &plan.steps {
        hosts.entry(&step.host).or_default().push(step);
    }
    for (host, steps) in &hosts {
        let _ = writeln!(out, "{host}");
        let mut bulk: BTreeMap<&str, (usize, u64)> = BTreeMap::new();
        for step in steps {
            let size = match &step.action {
                super::Action::PutBlob { size, .. } => Some(*size),
                super::Action::ImportImage { .. } => Some(0),
                _ => None,
            };
            if let Some(size) = size.filter(|_| !all) {
                let entry = bulk.entry(step.phase.as_str()).or_default();
                *entry = (entry.0 + 1, entry.1 + size);
                continue;
            }
            flush(&mut out, &mut bulk);
            let mark = if step.action.is_change() { '~' } else { '?' };
            let _ = writeln!(out, "  {mark} {:<19} {}{}", step.phase.as_str(), step.title(), disturbs(step.disruption));
            let _ = writeln!(out, "      {}", step.reason);
            for line in step.diff.iter().flat_map(|d| d.lines()) {
                let _ = writeln!(out, "      {line}");
            }
        }
        flush(&mut out, &mut bulk);
    }
    let changes = plan.steps.iter().filter(|s| s.action.is_change()).count();
    let most = plan.steps.iter().map(|s| s.disruption).max().unwrap_or(Disruption::None);
    let _ = writeln!(
        out,
        "\nPlan: {changes} changes and {} checks on {} hosts{}",
        plan.steps.len() - changes,
        hosts.len(),
        disturbs(most)
    );
    out
}

/// What no step mends, each with what was expected and what to do; empty when there is nothing.
#[must_use]
pub fn render_drift(all: &[Drift]) -> String {
    let mut out = String::new();
    if !all.is_empty() {
        let _ = writeln!(out, "Not as the inventory says, and left alone:");
    }
    for drift in all {
        let _ = writeln!(out, "  ! {drift}\n      Hint: {}", drift.hint);
    }
    out
}

fn flush(out: &mut String, bulk: &mut BTreeMap<&str, (usize, u64)>) {
    for (phase, (count, bytes)) in std::mem::take(bulk) {
        if bytes > 0 {
            let _ = writeln!(out, "  ~ {phase:<19} {count} blobs, {} MB", bytes.div_ceil(1_000_000));
        } else {
            let _ = writeln!(out, "  ~ {phase:<19} {count} images");
        }
    }
}

fn disturbs(disruption: Disruption) -> &'static str {
    match disruption {
        Disruption::None | Disruption::Quiet => "",
        Disruption::RestartsService => " (restarts a service)",
        Disruption::MovesPods => " (moves pods to other nodes)",
        Disruption::Membership => " (changes the cluster's members)",
        Disruption::Destructive => " (REMOVES what is on the host)",
    }
}
