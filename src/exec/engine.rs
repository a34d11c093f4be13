//! Carries out a plan: look, change, look again, step by step, in the order of the [`Schedule`].

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;

use crate::error::{Error, Kind, Result};
use crate::inventory::Unfinished;
use crate::plan::{Action, Plan, Step};

use super::cancel::Cancel;
use super::event::{Event, Outcome, Sink};
use super::retry::{RetryPolicy, is_repeatable, with_retries};
use super::runner::{Runner, StepNote};
use super::schedule::{End, Schedule, Skip};
use super::tally::Tally;

pub use super::tally::Summary;

/// The shortest time between two [`Event::Progress`] of a step.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// How a plan is carried out.
#[derive(Debug, Clone)]
pub struct Options {
    /// The operation's id, as in the journal's name.
    pub operation: String,
    /// The command, like `apply`.
    pub command: String,
    /// How many steps may run at once.
    pub concurrency: usize,
    /// What is tried again.
    pub retry: RetryPolicy,
}

/// Carries out `plan`.
///
/// Every step of the plan gets exactly one [`Event::StepEnded`]. The error is the first failure, with its host and the
/// number of the others; or of kind `Interrupted` when `cancel` left steps undone. A plan that can not be ordered is
/// refused before the first event.
pub async fn run(
    plan: &Plan,
    runner: Arc<dyn Runner>,
    opts: &Options,
    sink: Arc<dyn Sink>,
    cancel: Cancel,
) -> Result<Summary> {
    let schedule = Schedule::new(&plan.steps, opts.concurrency)?;
    let begun = Instant::now();
    sink.event(&Event::Started {
        operation: opts.operation.clone(),
        command: opts.command.clone(),
        steps: plan.steps.len(),
    });
    plan.drift.iter().for_each(|drift| sink.event(&Event::Drift(drift.clone())));
    let steps = plan.steps.iter().cloned().map(Arc::new).collect();
    let tally = Tally::new(&plan.steps, Arc::clone(&sink));
    let engine = Engine {
        steps,
        schedule,
        tally,
        tasks: JoinSet::new(),
        running: HashMap::new(),
        policy: opts.retry.clone(),
        runner,
        sink,
        cancel,
    };
    let sink = Arc::clone(&engine.sink);
    let result = engine.run().await;
    sink.event(&Event::Ended {
        ok: result.is_ok(),
        error: result.as_ref().err().map(ToString::to_string),
        seconds: begun.elapsed().as_secs_f64(),
    });
    result
}

struct Engine {
    steps: Vec<Arc<Step>>,
    schedule: Schedule,
    tally: Tally,
    tasks: JoinSet<Result<Outcome>>,
    running: HashMap<Id, (usize, Instant)>,
    policy: RetryPolicy,
    runner: Arc<dyn Runner>,
    sink: Arc<dyn Sink>,
    cancel: Cancel,
}

impl Engine {
    async fn run(mut self) -> Result<Summary> {
        let mut stopping = false;
        let mut at_once = false;
        loop {
            while !stopping && let Some(index) = self.schedule.start_next() {
                self.start(index);
            }
            if self.tasks.is_empty() {
                break;
            }
            tokio::select! {
                biased;
                () = self.cancel.at_once() => { at_once = true; break; }
                () = self.cancel.requested(), if !stopping => {
                    stopping = true;
                    self.sink.event(&Event::Stopping { running: self.running.len() });
                    let skips = self.schedule.stop("interrupted before it started");
                    self.skipped(skips);
                }
                Some(joined) = self.tasks.join_next_with_id() => self.joined(joined),
            }
        }
        if at_once {
            let skips = self.schedule.stop("interrupted before it started");
            self.skipped(skips);
            self.tasks.shutdown().await;
            let mut cut: Vec<_> = self.running.drain().map(|(_, running)| running).collect();
            cut.sort_unstable_by_key(|&(index, _)| index);
            for (index, started) in cut {
                self.tally.cut_short(index, started.elapsed());
            }
        }
        self.tally.finish(self.cancel.is_requested())
    }

    fn start(&mut self, index: usize) {
        let step = Arc::clone(&self.steps[index]);
        self.tally.started(index);
        let (runner, sink) = (Arc::clone(&self.runner), Arc::clone(&self.sink));
        let (policy, cancel) = (self.policy.clone(), self.cancel.clone());
        let task = self.tasks.spawn(async move { perform(&step, &*runner, &policy, &*sink, &cancel).await });
        self.running.insert(task.id(), (index, Instant::now()));
    }

    fn joined(&mut self, joined: Result<(Id, Result<Outcome>), JoinError>) {
        let (id, result) = match joined {
            Ok(done) => done,
            // A bug in one step's code must not take the others' hosts down in the middle of their steps.
            Err(e) => (e.id(), Err(Error::failed("the step's own code broke").source(e))),
        };
        let Some((index, started)) = self.running.remove(&id) else { return };
        let end = result.as_ref().map_or_else(|e| end_of(&self.steps[index].action, e), |_| End::Well);
        self.tally.ended(index, result, started.elapsed());
        let skips = self.schedule.end(index, end);
        self.skipped(skips);
    }

    fn skipped(&mut self, skips: Vec<Skip>) {
        for skip in skips {
            self.tally.skipped(skip);
        }
    }
}

/// How a failed step ends for the others: a node that did not empty in time is left out when the user said so.
fn end_of(action: &Action, error: &Error) -> End {
    let skipped = matches!(action, Action::Drain { unfinished: Unfinished::Skip, .. }) && error.kind() == Kind::Failed;
    if skipped { End::Left } else { End::Failed }
}

/// The whole of one step: is it as wanted? If not, change it once and look again.
async fn perform(
    step: &Step,
    runner: &dyn Runner,
    policy: &RetryPolicy,
    sink: &dyn Sink,
    cancel: &Cancel,
) -> Result<Outcome> {
    let again = |attempt, error: &Error| {
        sink.event(&Event::Retry { step: step.id.clone(), attempt, error: error.to_string() });
    };
    let look = || with_retries(policy, cancel, again, || runner.satisfied(step));
    let notes = notes(step, sink);
    if is_repeatable(&step.action) {
        // A lost reply leaves open whether the change took effect, so every attempt begins by looking.
        let applied = AtomicBool::new(false);
        return with_retries(policy, cancel, again, || converge(step, runner, &notes, &applied)).await;
    }
    if look().await? {
        return Ok(Outcome::Unchanged);
    }
    if let Err(error) = runner.apply(step, &notes).await {
        let lost = error.kind() == Kind::Unreachable;
        return if lost && look().await.unwrap_or(false) { Ok(Outcome::Changed) } else { Err(error) };
    }
    if look().await? { Ok(Outcome::Changed) } else { Err(not_converged(step)) }
}

async fn converge(
    step: &Step,
    runner: &dyn Runner,
    notes: &(dyn Fn(StepNote) + Send + Sync),
    applied: &AtomicBool,
) -> Result<Outcome> {
    if runner.satisfied(step).await? {
        return Ok(if applied.load(Ordering::Relaxed) { Outcome::Changed } else { Outcome::Unchanged });
    }
    if !step.action.is_change() {
        return runner.apply(step, notes).await.map(|()| Outcome::Unchanged);
    }
    applied.store(true, Ordering::Relaxed);
    runner.apply(step, notes).await?;
    if runner.satisfied(step).await? { Ok(Outcome::Changed) } else { Err(not_converged(step)) }
}

fn not_converged(step: &Step) -> Error {
    Error::failed("not converged: the change was made without an error, but the host is still not as wanted")
        .on(&step.host)
        .hint(format!("something else on {} may be undoing it; `provision plan` shows what differs now", step.host))
}

/// Turns a step's notes into events; progress at most every [`PROGRESS_EVERY`], and always the last.
fn notes<'a>(step: &'a Step, sink: &'a dyn Sink) -> impl Fn(StepNote) + Send + Sync + 'a {
    let last: Mutex<Option<Instant>> = Mutex::new(None);
    move |note| match note {
        StepNote::Text(text) => sink.event(&Event::Note { step: step.id.clone(), text }),
        StepNote::Bytes { done, total } => {
            let mut last = last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if done >= total || last.is_none_or(|at| at.elapsed() >= PROGRESS_EVERY) {
                *last = Some(Instant::now());
                sink.event(&Event::Progress { step: step.id.clone(), done, total });
            }
        }
    }
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
