//! From wanted actions and the hosts' answers to the steps of a plan. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::action::Action;
use super::desired::{Desired, When};
use super::model::{PhaseId, Step, StepId};
use super::textdiff::file_diff;
use crate::host::{Answer, Probe};
use crate::resource::{REGISTRY_DIR, probes, satisfied};

/// Answers by host and question.
pub type Observations = BTreeMap<String, BTreeMap<Probe, Answer>>;

/// The questions to ask each host before [`assemble`] can judge. Each question stands once per host.
#[must_use]
pub fn questions(desired: &[Desired]) -> BTreeMap<String, Vec<Probe>> {
    let mut all: BTreeMap<String, BTreeSet<Probe>> = BTreeMap::new();
    // What is done whenever something else is done does not depend on what it would find now.
    for wanted in desired.iter().filter(|d| !matches!(d.when, When::AlwaysWith(_))) {
        all.entry(asked(wanted).to_owned()).or_default().extend(probes(&wanted.action));
    }
    all.into_iter().map(|(host, set)| (host, set.into_iter().collect())).collect()
}

/// The host that knows whether it is done.
fn asked(wanted: &Desired) -> &str {
    wanted.action.asks().unwrap_or(&wanted.host)
}

fn answers(wanted: &Desired, seen: &Observations) -> Vec<Answer> {
    let host = seen.get(asked(wanted));
    probes(&wanted.action).iter().map(|p| host.and_then(|h| h.get(p)).cloned().unwrap_or(Answer::Absent)).collect()
}

/// Decides which wanted actions become steps, and ties the steps together: a step that needed one that falls away
/// needs what that one needed.
#[must_use]
pub fn assemble(desired: &[Desired], seen: &Observations) -> Vec<Step> {
    let drifted: BTreeSet<&str> =
        desired.iter().filter(|d| !satisfied(&d.action, &answers(d, seen))).map(|d| d.id.as_str()).collect();
    let mut chosen: BTreeSet<&str> = BTreeSet::new();
    // What the chosen steps write, and when: a unit that was started before is started again in the same run.
    let mut written: BTreeMap<(&str, String), PhaseId> = BTreeMap::new();
    // The conditions refer to one another in both directions, so choose until nothing is added.
    loop {
        let before = chosen.len();
        for wanted in desired {
            let stale = match &wanted.action {
                Action::Unit { started_after, .. } => {
                    let before = |f: &String| {
                        written.get(&(wanted.host.as_str(), f.clone())).is_some_and(|p| *p <= wanted.phase)
                    };
                    started_after.iter().any(before)
                }
                _ => false,
            };
            let drift = stale || drifted.contains(wanted.id.as_str());
            let with = |ids: &[StepId]| ids.iter().any(|id| chosen.contains(id.as_str()));
            let take = match &wanted.when {
                When::Drift => drift,
                When::DriftOrWith(ids) => drift || with(ids),
                When::OnlyWith(ids) => drift && with(ids),
                When::AlwaysWith(ids) => with(ids),
            };
            if take && chosen.insert(&wanted.id) {
                let files = writes(&wanted.action).into_iter();
                written.extend(files.map(|path| ((wanted.host.as_str(), path), wanted.phase)));
            }
        }
        if chosen.len() == before {
            break;
        }
    }
    let by_id: BTreeMap<&str, &Desired> = desired.iter().map(|d| (d.id.as_str(), d)).collect();
    desired
        .iter()
        .filter(|d| chosen.contains(d.id.as_str()))
        .map(|d| Step {
            id: d.id.clone(),
            phase: d.phase,
            host: d.host.clone(),
            reason: d.reason.clone(),
            diff: diff_of(&d.action, &answers(d, seen)),
            disruption: d.disruption,
            needs: needs(d, &by_id, &chosen),
            action: d.action.clone(),
        })
        .collect()
}

/// The files that an action writes and a unit may have been started with.
fn writes(action: &Action) -> Vec<String> {
    match action {
        Action::WriteFile { path, .. } | Action::InstallBlob { path, .. } => vec![path.clone()],
        Action::UnpackBlob { members, .. } => members.iter().map(|m| m.path.clone()).collect(),
        Action::RegistryIdentity { .. } => vec![format!("{REGISTRY_DIR}/server.crt")],
        _ => Vec::new(),
    }
}

fn needs(wanted: &Desired, by_id: &BTreeMap<&str, &Desired>, chosen: &BTreeSet<&str>) -> Vec<StepId> {
    let mut found: BTreeSet<&str> = BTreeSet::new();
    let mut visited: BTreeSet<&str> = BTreeSet::new();
    let mut open: Vec<&str> = wanted.after.iter().map(String::as_str).collect();
    while let Some(id) = open.pop() {
        if !visited.insert(id) {
            continue;
        }
        if chosen.contains(id) {
            found.insert(id);
        } else if let Some(gone) = by_id.get(id) {
            open.extend(gone.after.iter().map(String::as_str));
        }
    }
    found.into_iter().map(str::to_owned).collect()
}

fn diff_of(action: &Action, answers: &[Answer]) -> Option<String> {
    let content = |a: &Answer| match a {
        Answer::File(f) => f.content.as_ref().map(|c| String::from_utf8_lossy(c).into_owned()),
        _ => None,
    };
    match action {
        Action::WriteFile { path, content: new, mode } => {
            let old = answers.first();
            let mut diff = file_diff(path, old.and_then(content).as_deref(), new);
            if let Some(Answer::File(f)) = old
                && (f.mode, f.uid, f.gid) != (*mode, 0, 0)
            {
                use std::fmt::Write as _;
                let _ = writeln!(diff, "mode {:04o} {}:{} -> {mode:04o} 0:0", f.mode, f.uid, f.gid);
            }
            Some(diff)
        }
        Action::WriteBlock { path, marker, lines } => {
            let old = answers.first().and_then(content).unwrap_or_default();
            Some(file_diff(path, Some(&old), &crate::resource::with_block(&old, marker, lines)))
        }
        _ => None,
    }
}
