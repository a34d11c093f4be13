#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::bundle::Digest;
use crate::phase::PHASES;

type Outcome = std::result::Result<(), TestCaseError>;

fn step(id: String, phase: PhaseId, host: String, needs: Vec<String>) -> Step {
    let action = if phase == PhaseId::Distribute {
        Action::PutBlob { digest: Digest::of(id.as_bytes()), size: 1, artifact: id.clone() }
    } else {
        Action::SwapOff
    };
    let disruption = crate::plan::Disruption::Quiet;
    Step { id, phase, host, action, reason: String::new(), diff: None, disruption, needs }
}

/// Plans as a planner makes them: phases in order, needs backwards, any host anywhere.
fn plans() -> impl Strategy<Value = Vec<Step>> {
    let raw = prop::collection::vec((0..PHASES.len(), 0..5usize, prop::collection::vec(any::<u16>(), 0..3)), 0..40);
    raw.prop_map(|mut raw| {
        raw.sort_by_key(|r| r.0);
        let mut steps: Vec<Step> = Vec::new();
        for (n, (phase, host, needs)) in raw.into_iter().enumerate() {
            let needs = needs.iter().filter(|_| n > 0).map(|&k| steps[usize::from(k) % n].id.clone()).collect();
            steps.push(step(format!("s{n}"), PHASES[phase], format!("h{host}"), needs));
        }
        steps
    })
}

/// One possible course of events: which running step ends next, and how; `None` failing for ever at `stop_at`.
#[derive(Debug)]
struct Course {
    /// What happened: (index, started?).
    trace: Vec<(usize, bool)>,
    ends: BTreeMap<usize, End>,
    skips: BTreeMap<usize, String>,
}

fn drive(steps: &[Step], concurrency: usize, choices: &[(u16, bool)], stop_at: Option<usize>) -> Course {
    let mut schedule = Schedule::new(steps, concurrency).unwrap();
    let mut course = Course { trace: Vec::new(), ends: BTreeMap::new(), skips: BTreeMap::new() };
    let mut running = Vec::new();
    let mut choices = choices.iter().cycle();
    let mut turns = 0;
    loop {
        if stop_at == Some(turns) {
            course.skips.extend(schedule.stop("stop").into_iter().map(|s| (s.index, s.why)));
        }
        turns += 1;
        while let Some(index) = schedule.start_next() {
            course.trace.push((index, true));
            running.push(index);
        }
        if running.is_empty() {
            break;
        }
        let (pick, fails) = choices.next().copied().unwrap_or((0, false));
        let index = running.remove(usize::from(pick) % running.len());
        let end = if fails { End::Failed } else { End::Well };
        course.trace.push((index, false));
        course.ends.insert(index, end);
        course.skips.extend(schedule.end(index, end).into_iter().map(|s| (s.index, s.why)));
    }
    assert_eq!(schedule.is_done(), course.ends.len() + course.skips.len() == steps.len());
    course
}

fn check(steps: &[Step], concurrency: usize, course: &Course) -> Outcome {
    for index in 0..steps.len() {
        let (ended, skipped) = (course.ends.contains_key(&index), course.skips.contains_key(&index));
        prop_assert!(ended != skipped, "step {index} must either end or be skipped, and not both");
    }
    prop_assert!(course.skips.values().all(|why| !why.is_empty()));
    let position = |id: &str| steps.iter().position(|s| s.id == id);
    let mut running: Vec<usize> = Vec::new();
    let mut well: BTreeSet<usize> = BTreeSet::new();
    let mut first_failed: Option<PhaseId> = None;
    for &(index, started) in &course.trace {
        let step = &steps[index];
        if !started {
            running.retain(|&r| r != index);
            match course.ends[&index] {
                End::Well => {
                    well.insert(index);
                }
                End::Failed | End::Left => first_failed = Some(first_failed.map_or(step.phase, |p| p.min(step.phase))),
            }
            continue;
        }
        for need in &step.needs {
            prop_assert!(well.contains(&position(need).unwrap()), "{} started before its need {need}", step.id);
        }
        if spec(step.phase).after_images {
            let images = (0..steps.len()).filter(|&i| steps[i].phase == PhaseId::Images);
            prop_assert!(images.into_iter().all(|i| well.contains(&i)), "{} started without all images", step.id);
        }
        if let Some(phase) = first_failed {
            prop_assert!(step.phase <= phase, "{} started after a failure in {}", step.id, phase.as_str());
        }
        let upload = |i: usize| matches!(steps[i].action, Action::PutBlob { .. });
        for earlier in (0..index).filter(|&i| steps[i].host == step.host && !(upload(i) && upload(index))) {
            prop_assert!(well.contains(&earlier), "{} overtook {} on its host", step.id, steps[earlier].id);
        }
        if spec(step.phase).concurrency == Limit::InOrder {
            for earlier in (0..index).filter(|&i| steps[i].phase == step.phase) {
                prop_assert!(well.contains(&earlier), "{} overtook {} in its phase", step.id, steps[earlier].id);
            }
        }
        running.push(index);
        prop_assert!(running.len() <= concurrency);
        let beside = running.iter().filter(|&&r| steps[r].host == step.host).count();
        let limit = if upload(index) { UPLOADS_PER_HOST } else { 1 };
        prop_assert!(beside <= limit);
    }
    Ok(())
}

proptest! {
    #[test]
    fn without_failures_everything_runs(
        steps in plans(), concurrency in 1..6usize, picks in prop::collection::vec(any::<u16>(), 1..40),
    ) {
        let choices: Vec<_> = picks.into_iter().map(|p| (p, false)).collect();
        let course = drive(&steps, concurrency, &choices, None);
        prop_assert_eq!(course.ends.len(), steps.len());
        check(&steps, concurrency, &course)?;
    }

    #[test]
    fn with_failures_everything_ends_or_is_skipped(
        steps in plans(), concurrency in 1..6usize,
        choices in prop::collection::vec((any::<u16>(), prop::bool::weighted(0.15)), 1..40),
    ) {
        check(&steps, concurrency, &drive(&steps, concurrency, &choices, None))?;
    }

    #[test]
    fn a_stop_ends_it_at_any_turn(
        steps in plans(), concurrency in 1..6usize, stop_at in 0..40usize,
        choices in prop::collection::vec((any::<u16>(), prop::bool::weighted(0.1)), 1..40),
    ) {
        check(&steps, concurrency, &drive(&steps, concurrency, &choices, Some(stop_at)))?;
    }

    #[test]
    fn a_failure_in_the_same_phase_disturbs_no_other_host(hosts in 2..6usize, each in 1..5usize) {
        let steps: Vec<Step> = (0..hosts)
            .flat_map(|h| (0..each).map(move |n| step(format!("{h}/{n}"), PhaseId::Runtime, format!("h{h}"), vec![])))
            .collect();
        // Only the very first step that ends fails.
        let mut choices = vec![(0, false); hosts * each];
        choices[0].1 = true;
        let course = drive(&steps, hosts, &choices, None);
        prop_assert_eq!(course.ends.len(), (hosts - 1) * each + 1);
        check(&steps, hosts, &course)?;
    }

    /// Any needs at all, also of steps that come later: refused, or it ends.
    #[test]
    fn no_plan_hangs(
        raw in prop::collection::vec((0..PHASES.len(), 0..3usize, prop::collection::vec(0..12usize, 0..2)), 0..12),
    ) {
        let total = raw.len();
        let steps: Vec<Step> = raw.into_iter().enumerate().map(|(n, (phase, host, needs))| {
            let needs = needs.into_iter().filter(|&k| k < total).map(|k| format!("s{k}")).collect();
            step(format!("s{n}"), PHASES[phase], format!("h{host}"), needs)
        }).collect();
        if Schedule::new(&steps, 3).is_ok() {
            prop_assert_eq!(drive(&steps, 3, &[], None).ends.len(), total);
        }
    }
}

#[test]
fn plans_that_can_not_be_ordered_are_refused() {
    let one = |id: &str, needs: &[&str]| {
        step(id.into(), PhaseId::Prepare, id.into(), needs.iter().map(|&n| n.to_owned()).collect())
    };
    for (steps, says) in [
        (vec![one("a", &[]), one("a", &[])], "two steps named `a`"),
        (vec![one("a", &["b"])], "needs `b`, which is not in the plan"),
        (vec![one("a", &["b"]), one("b", &["a"])], "wait for one another: a, b"),
    ] {
        let error = Schedule::new(&steps, 1).unwrap_err();
        assert_eq!(error.kind(), crate::error::Kind::Invalid);
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[test]
fn two_uploads_of_a_host_run_at_once_and_the_next_step_waits_for_all() {
    let mut steps: Vec<Step> =
        (0..3).map(|n| step(format!("blob{n}"), PhaseId::Distribute, "h".into(), vec![])).collect();
    steps.push(step("after".into(), PhaseId::Runtime, "h".into(), vec![]));
    let mut schedule = Schedule::new(&steps, 10).unwrap();
    assert_eq!((schedule.start_next(), schedule.start_next(), schedule.start_next()), (Some(0), Some(1), None));
    schedule.end(1, End::Well);
    assert_eq!((schedule.start_next(), schedule.start_next()), (Some(2), None));
    schedule.end(0, End::Well);
    assert_eq!(schedule.start_next(), None);
    schedule.end(2, End::Well);
    assert_eq!(schedule.start_next(), Some(3));
}
