#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use proptest::prelude::*;

use super::*;
use crate::bundle::Digest;
use crate::plan::{Action, Disruption, Fingerprints, PLAN_FORMAT, PhaseId};

/// What goes wrong with the next call for a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The call fails for good, without effect.
    Fails,
    /// The connection is lost before the effect.
    LostBefore,
    /// The connection is lost after the effect: the reply is lost.
    LostAfter,
    /// It says it is done and is not.
    NoEffect,
    /// The step's code panics.
    Panics,
}

/// Hosts in memory: which steps took effect, how often each was applied, and faults for the coming calls.
#[derive(Default)]
struct Memory {
    done: Mutex<BTreeSet<String>>,
    applied: Mutex<BTreeMap<String, u32>>,
    faults: Mutex<BTreeMap<String, Vec<Fault>>>,
    /// Requested when a step of this id is applied, this many times.
    cancel: Option<(String, u32, Cancel)>,
}

impl Memory {
    fn with_faults(faults: &[(&str, &[Fault])]) -> Arc<Self> {
        let faults = faults.iter().map(|(id, faults)| ((*id).to_owned(), faults.to_vec())).collect();
        Arc::new(Self { faults: Mutex::new(faults), ..Self::default() })
    }
    fn applied(&self, id: &str) -> u32 {
        self.applied.lock().unwrap().get(id).copied().unwrap_or(0)
    }
}

#[async_trait]
impl Runner for Memory {
    async fn satisfied(&self, step: &Step) -> Result<bool> {
        tokio::task::yield_now().await;
        Ok(self.done.lock().unwrap().contains(&step.id))
    }
    async fn apply(&self, step: &Step, notes: &(dyn Fn(StepNote) + Send + Sync)) -> Result<()> {
        tokio::task::yield_now().await;
        *self.applied.lock().unwrap().entry(step.id.clone()).or_default() += 1;
        if let Some((id, times, cancel)) = &self.cancel
            && *id == step.id
        {
            for _ in 0..*times {
                cancel.request();
            }
            if *times > 1 {
                std::future::pending::<()>().await;
            }
        }
        let fault = {
            let mut faults = self.faults.lock().unwrap();
            faults.get_mut(&step.id).and_then(Vec::pop)
        };
        notes(StepNote::Bytes { done: 1, total: 2 });
        match fault {
            Some(Fault::Fails) => return Err(Error::failed("exit 1").hint("mend it")),
            Some(Fault::LostBefore) => return Err(Error::unreachable("lost")),
            Some(Fault::Panics) => panic!("a bug"),
            Some(Fault::NoEffect) if step.action.is_change() => return Ok(()),
            Some(Fault::NoEffect | Fault::LostAfter) | None => {}
        }
        notes(StepNote::Bytes { done: 2, total: 2 });
        self.done.lock().unwrap().insert(step.id.clone());
        if fault == Some(Fault::LostAfter) { Err(Error::unreachable("lost")) } else { Ok(()) }
    }
}

#[derive(Default)]
struct Record(Mutex<Vec<Event>>);
impl Sink for Record {
    fn event(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}
impl Record {
    fn outcomes(&self) -> BTreeMap<String, Outcome> {
        let mut outcomes = BTreeMap::new();
        for event in self.0.lock().unwrap().iter() {
            if let Event::StepEnded { step, outcome, .. } = event {
                assert!(outcomes.insert(step.clone(), outcome.clone()).is_none(), "{step} ended twice");
            }
        }
        outcomes
    }
    fn stopping(&self) -> bool {
        self.0.lock().unwrap().iter().any(|e| matches!(e, Event::Stopping { running: 1.. }))
    }
    /// The phases that were started, and those that were ended.
    fn phases(&self) -> (BTreeSet<PhaseId>, BTreeSet<PhaseId>) {
        let (mut started, mut ended) = (BTreeSet::new(), BTreeSet::new());
        for event in self.0.lock().unwrap().iter() {
            match event {
                Event::PhaseStarted { phase, .. } => assert!(started.insert(*phase), "{phase:?} started twice"),
                Event::PhaseEnded { phase, .. } => assert!(ended.insert(*phase), "{phase:?} ended twice"),
                _ => {}
            }
        }
        (started, ended)
    }
    fn retries(&self) -> usize {
        self.0.lock().unwrap().iter().filter(|e| matches!(e, Event::Retry { .. })).count()
    }
}

fn plan(steps: &[(&str, PhaseId, &str, Action)]) -> Plan {
    let step = |(id, phase, host, action): &(&str, PhaseId, &str, Action)| Step {
        id: (*id).to_owned(),
        phase: *phase,
        host: (*host).to_owned(),
        action: action.clone(),
        reason: String::new(),
        diff: None,
        disruption: Disruption::Quiet,
        needs: Vec::new(),
    };
    let digest = Digest::of(b"");
    Plan {
        format_version: PLAN_FORMAT,
        cluster: "c".into(),
        inputs: Fingerprints { tool: String::new(), inventory: digest.clone(), bundle: digest, hosts: BTreeMap::new() },
        steps: steps.iter().map(step).collect(),
        warnings: Vec::new(),
        drift: Vec::new(),
    }
}

fn init() -> Action {
    Action::KubeadmInit {
        node: "a".into(),
        cluster: "c".into(),
        stacked: true,
        config: String::new(),
        skip_phases: Vec::new(),
        ignore_preflight_errors: Vec::new(),
    }
}

fn small() -> Plan {
    plan(&[
        ("prepare/a/swap", PhaseId::Prepare, "a", Action::SwapOff),
        ("prepare/b/swap", PhaseId::Prepare, "b", Action::SwapOff),
        ("runtime/a/x", PhaseId::Runtime, "a", Action::RemoveFile { path: "/x".into() }),
        ("init/a/kubeadm", PhaseId::Init, "a", init()),
        ("verify/a/node", PhaseId::Verify, "a", Action::WaitNodeReady { node: "a".into(), timeout_s: 1 }),
    ])
}

async fn go(plan: &Plan, memory: &Arc<Memory>, cancel: Cancel) -> (Result<Summary>, Arc<Record>) {
    let record = Arc::new(Record::default());
    let opts = Options {
        operation: "op".into(),
        command: "apply".into(),
        concurrency: 4,
        retry: RetryPolicy { pauses: vec![Duration::ZERO; 3] },
    };
    let runner: Arc<dyn Runner> = Arc::<Memory>::clone(memory);
    let result = run(plan, runner, &opts, Arc::<Record>::clone(&record), cancel).await;
    (result, record)
}

#[tokio::test]
async fn the_second_run_changes_nothing() {
    let memory = Arc::new(Memory::default());
    let (first, record) = go(&small(), &memory, Cancel::new()).await;
    let first = first.unwrap();
    assert_eq!((first.changed, first.unchanged), (4, 1), "a wait that held is no change");
    assert_eq!(first.phases.iter().map(|p| p.0.as_str()).collect::<Vec<_>>(), ["prepare", "runtime", "init", "verify"]);
    let events = record.0.lock().unwrap().clone();
    assert!(matches!(&events[0], Event::Started { steps: 5, .. }));
    assert!(matches!(events.last(), Some(Event::Ended { ok: true, error: None, .. })));
    let (second, _) = go(&small(), &memory, Cancel::new()).await;
    assert_eq!((second.unwrap().changed, memory.applied("init/a/kubeadm")), (0, 1));
}

#[tokio::test]
async fn a_failure_names_its_host_and_counts_the_rest() {
    let memory = Memory::with_faults(&[("prepare/a/swap", &[Fault::Fails])]);
    let (result, record) = go(&small(), &memory, Cancel::new()).await;
    let error = result.unwrap_err();
    assert_eq!(error.to_string(), "a: failed to turn swap off (step prepare/a/swap; 3 not run)");
    assert_eq!((error.host(), error.hints()), (Some("a"), &["mend it".to_owned()][..]));
    let outcomes = record.outcomes();
    assert_eq!(outcomes["prepare/b/swap"], Outcome::Changed, "the other host is not disturbed");
    assert_eq!(outcomes["prepare/a/swap"], Outcome::Failed { error: "a: exit 1".into() });
    assert!(matches!(&outcomes["init/a/kubeadm"], Outcome::Skipped { why } if why.contains("prepare/a/swap")));
    let (again, _) = go(&small(), &memory, Cancel::new()).await;
    assert_eq!(again.unwrap().changed, 3);
}

#[tokio::test]
async fn lost_connections_are_tried_again_and_lost_replies_are_no_second_change() {
    let memory = Memory::with_faults(&[
        ("prepare/a/swap", &[Fault::LostBefore, Fault::LostBefore]),
        ("prepare/b/swap", &[Fault::LostAfter]),
    ]);
    let (result, record) = go(&small(), &memory, Cancel::new()).await;
    assert_eq!(result.unwrap().changed, 4);
    assert_eq!((memory.applied("prepare/a/swap"), memory.applied("prepare/b/swap")), (3, 1));
    assert_eq!(record.retries(), 3);
}

#[tokio::test]
async fn kubeadm_init_is_never_done_twice() {
    let memory = Memory::with_faults(&[("init/a/kubeadm", &[Fault::LostAfter])]);
    assert_eq!(go(&small(), &memory, Cancel::new()).await.0.unwrap().changed, 4);
    assert_eq!(memory.applied("init/a/kubeadm"), 1);

    let memory = Memory::with_faults(&[("init/a/kubeadm", &[Fault::LostBefore])]);
    let error = go(&small(), &memory, Cancel::new()).await.0.unwrap_err();
    assert_eq!((error.kind(), memory.applied("init/a/kubeadm")), (Kind::Unreachable, 1));
}

#[tokio::test]
async fn a_change_without_effect_is_not_converged_and_a_panic_is_a_failure() {
    for (fault, says) in [(Fault::NoEffect, "not converged"), (Fault::Panics, "the step's own code broke")] {
        let memory = Memory::with_faults(&[("runtime/a/x", &[fault])]);
        let (result, record) = go(&small(), &memory, Cancel::new()).await;
        assert!(result.unwrap_err().report().contains(says));
        assert!(matches!(&record.outcomes()["runtime/a/x"], Outcome::Failed { .. }));
    }
}

#[tokio::test]
async fn one_stop_lets_running_steps_end_and_two_end_at_once() {
    for (times, applied_ends) in [(1, Outcome::Changed), (2, Outcome::Unchanged)] {
        let cancel = Cancel::new();
        let memory = Memory { cancel: Some(("runtime/a/x".into(), times, cancel.clone())), ..Memory::default() };
        let (result, record) = go(&small(), &Arc::new(memory), cancel).await;
        let error = result.unwrap_err();
        assert_eq!(error.kind(), Kind::Interrupted);
        assert!(error.report().contains("run apply again: it goes on where it stopped"));
        let outcomes = record.outcomes();
        assert_eq!(outcomes.len(), 5);
        if times == 1 {
            assert_eq!(outcomes["runtime/a/x"], applied_ends);
            assert!(record.stopping());
        } else {
            assert!(matches!(&outcomes["runtime/a/x"], Outcome::Failed { error } if error.contains("may or may not")));
        }
        assert!(matches!(&outcomes["init/a/kubeadm"], Outcome::Skipped { .. }));
    }
}

fn faults() -> impl Strategy<Value = Fault> {
    prop_oneof![Just(Fault::Fails), Just(Fault::LostBefore), Just(Fault::LostAfter), Just(Fault::NoEffect),]
}

proptest! {
    /// Whatever goes wrong: every step ends exactly once, and running again and again converges and then rests.
    #[test]
    fn any_faults_converge_on_reruns(
        faults in prop::collection::vec(prop::collection::vec(faults(), 0..6), 5),
    ) {
        let plan = small();
        let faults = plan.steps.iter().map(|s| s.id.clone()).zip(faults).collect();
        let memory = Arc::new(Memory { faults: Mutex::new(faults), ..Memory::default() });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let runs = runtime.block_on(async {
            for n in 1.. {
                let (result, record) = go(&plan, &memory, Cancel::new()).await;
                assert_eq!(record.outcomes().len(), plan.steps.len());
                let (started, ended) = record.phases();
                assert_eq!(started, ended);
                if result.is_ok() {
                    return n;
                }
                assert!(n < 40, "does not converge");
            }
            0
        });
        prop_assert!(runs > 0);
        let (rest, _) = runtime.block_on(go(&plan, &memory, Cancel::new()));
        prop_assert_eq!(rest.unwrap().changed, 0);
    }
}
