//! From wanted actions and the hosts' answers to the steps of a plan. Pure.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::action::Action;
use super::desired::{Desired, When};
use super::model::{PhaseId, Step, StepId};
use super::textdiff::file_diff;
use crate::host::{Answer, Probe};
use crate::resource::{CONTAINERD_CONFIG, CONTAINERD_UNIT, ETCD_DIR, REGISTRY_DIR, found, probes, satisfied};

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
    let places: HashMap<&str, usize> = desired.iter().enumerate().map(|(at, d)| (d.id.as_str(), at)).collect();
    let drifted: Vec<bool> = desired.iter().map(|d| !satisfied(&d.action, &answers(d, seen))).collect();
    let mut chosen = vec![false; desired.len()];
    // What the chosen steps write, and when: a unit that was started before is started again in the same run.
    let mut written: HashMap<(&str, Cow<'_, str>), PhaseId> = HashMap::new();
    // The conditions refer to one another in both directions, so choose until nothing is added.
    loop {
        let mut added = false;
        for (at, wanted) in desired.iter().enumerate() {
            if chosen[at] {
                continue;
            }
            let stale = || match &wanted.action {
                Action::Unit { started_after, .. } => started_after.iter().any(|f| {
                    written.get(&(wanted.host.as_str(), Cow::Borrowed(f))).is_some_and(|p| *p <= wanted.phase)
                }),
                _ => false,
            };
            let drift = || drifted[at] || stale();
            let with = |ids: &[StepId]| ids.iter().any(|id| places.get(id.as_str()).is_some_and(|p| chosen[*p]));
            let take = match &wanted.when {
                When::Drift => drift(),
                When::DriftOrWith(ids) => drift() || with(ids),
                When::OnlyWith(ids) => drift() && with(ids),
                When::AlwaysWith(ids) => with(ids),
            };
            if take {
                (chosen[at], added) = (true, true);
                written.extend(writes(&wanted.action).map(|path| ((wanted.host.as_str(), path), wanted.phase)));
            }
        }
        if !added {
            break;
        }
    }
    desired
        .iter()
        .enumerate()
        .filter(|(at, _)| chosen[*at])
        .map(|(_, d)| {
            let answers = answers(d, seen);
            Step {
                id: d.id.clone(),
                phase: d.phase,
                host: d.host.clone(),
                reason: found(&d.action, &answers).map_or(d.reason.clone(), |found| format!("{}: {found}", d.reason)),
                diff: diff_of(&d.action, &answers),
                disruption: d.disruption,
                needs: needs(d, desired, &places, &chosen),
                action: d.action.clone(),
            }
        })
        .collect()
}

/// The files that an action writes and a unit may have been started with.
fn writes(action: &Action) -> impl Iterator<Item = Cow<'_, str>> {
    let (ours, members) = match action {
        Action::WriteFile { path, .. } | Action::InstallBlob { path, .. } => {
            ([Some(Cow::Borrowed(path.as_str())), None], &[][..])
        }
        Action::UnpackBlob { members, .. } => ([None, None], members.as_slice()),
        Action::RegistryIdentity { .. } => ([Some(Cow::Owned(format!("{REGISTRY_DIR}/server.crt"))), None], &[][..]),
        Action::EtcdIdentity { .. } => {
            (["server", "peer"].map(|c| Some(Cow::Owned(format!("{ETCD_DIR}/{c}.crt")))), &[][..])
        }
        _ => ([None, None], &[][..]),
    };
    ours.into_iter().flatten().chain(members.iter().map(|m| Cow::Borrowed(m.path.as_str())))
}

fn needs(wanted: &Desired, desired: &[Desired], places: &HashMap<&str, usize>, chosen: &[bool]) -> Vec<StepId> {
    let mut found: BTreeSet<&str> = BTreeSet::new();
    let mut gone: HashSet<usize> = HashSet::new();
    let mut open: Vec<&StepId> = wanted.after.iter().collect();
    while let Some(id) = open.pop() {
        match places.get(id.as_str()) {
            Some(at) if chosen[*at] => _ = found.insert(id),
            Some(at) if gone.insert(*at) => open.extend(&desired[*at].after),
            _ => {}
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
        Action::RuntimeSettings { config, unit, .. } => {
            let files = [(CONTAINERD_CONFIG, config), (CONTAINERD_UNIT, unit)];
            let old = answers.iter().map(content).chain(std::iter::repeat(None));
            let changed = files.into_iter().zip(old).filter(|((_, new), old)| old.as_ref() != Some(*new));
            Some(changed.map(|((path, new), old)| file_diff(path, old.as_deref(), new)).collect())
        }
        Action::WriteBlock { path, marker, lines } => {
            let old = answers.first().and_then(content).unwrap_or_default();
            Some(file_diff(path, Some(&old), &crate::resource::with_block(&old, marker, lines)))
        }
        _ => None,
    }
}
