//! Keeps count of how steps end, tells the sink, and turns the counts into the operation's result.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Error, Kind, Result};
use crate::plan::{PhaseId, Step};

use super::event::{Event, Outcome, Sink};
use super::schedule::Skip;

/// What an operation that went well did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Summary {
    /// Steps whose host was already as wanted, and waits and tests that held.
    pub unchanged: usize,
    /// Steps that changed their host.
    pub changed: usize,
    /// Wall time of every phase, in seconds from its first start to its last end, in the order of the phases. Phases
    /// of different hosts may overlap.
    pub phases: Vec<(PhaseId, f64)>,
}

struct Phase {
    left: usize,
    steps: usize,
    started: Option<Instant>,
}

pub(super) struct Tally {
    /// Id, host and title of every step, and its phase.
    steps: Vec<(String, String, String, PhaseId)>,
    phases: BTreeMap<PhaseId, Phase>,
    sink: Arc<dyn Sink>,
    summary: Summary,
    failed: usize,
    skipped: usize,
    first: Option<(usize, Error)>,
}

impl Tally {
    pub(super) fn new(steps: &[Step], sink: Arc<dyn Sink>) -> Self {
        let mut phases: BTreeMap<PhaseId, Phase> = BTreeMap::new();
        for step in steps {
            let phase = phases.entry(step.phase).or_insert(Phase { left: 0, steps: 0, started: None });
            phase.left += 1;
            phase.steps += 1;
        }
        let steps = steps.iter().map(|s| (s.id.clone(), s.host.clone(), s.title(), s.phase)).collect();
        Self { steps, phases, sink, summary: Summary::default(), failed: 0, skipped: 0, first: None }
    }

    pub(super) fn started(&mut self, index: usize) {
        let (id, host, title, phase) = &self.steps[index];
        if let Some(state) = self.phases.get_mut(phase)
            && state.started.is_none()
        {
            state.started = Some(Instant::now());
            self.sink.event(&Event::PhaseStarted { phase: *phase, steps: state.steps });
        }
        self.sink.event(&Event::StepStarted { step: id.clone(), host: host.clone(), title: title.clone() });
    }

    pub(super) fn ended(&mut self, index: usize, result: Result<Outcome>, took: Duration) {
        let outcome = match result {
            Ok(outcome) => outcome,
            Err(error) => {
                let error = if error.host().is_some() { error } else { error.on(&self.steps[index].1) };
                let outcome = Outcome::Failed { error: error.to_string() };
                self.first.get_or_insert((index, error));
                outcome
            }
        };
        self.tell(index, outcome, took);
    }

    pub(super) fn cut_short(&mut self, index: usize, took: Duration) {
        let error = "interrupted while it ran: it may or may not have taken effect".to_owned();
        self.tell(index, Outcome::Failed { error }, took);
    }

    pub(super) fn skipped(&mut self, skip: Skip) {
        self.tell(skip.index, Outcome::Skipped { why: skip.why }, Duration::ZERO);
    }

    fn tell(&mut self, index: usize, outcome: Outcome, took: Duration) {
        match outcome {
            Outcome::Unchanged => self.summary.unchanged += 1,
            Outcome::Changed => self.summary.changed += 1,
            Outcome::Skipped { .. } => self.skipped += 1,
            Outcome::Failed { .. } => self.failed += 1,
        }
        let (id, host, _, phase) = &self.steps[index];
        self.sink.event(&Event::StepEnded {
            step: id.clone(),
            host: host.clone(),
            outcome,
            seconds: took.as_secs_f64(),
        });
        let Some(state) = self.phases.get_mut(phase) else { return };
        state.left -= 1;
        if state.left == 0
            && let Some(started) = state.started
        {
            let seconds = started.elapsed().as_secs_f64();
            self.summary.phases.push((*phase, seconds));
            self.sink.event(&Event::PhaseEnded { phase: *phase, seconds });
        }
    }

    /// The result of the operation, once every step ended or was skipped.
    pub(super) fn finish(mut self, interrupted: bool) -> Result<Summary> {
        self.summary.phases.sort_unstable_by_key(|&(phase, _)| phase);
        if self.failed == 0 && self.skipped == 0 {
            return Ok(self.summary);
        }
        let done = self.summary.unchanged + self.summary.changed;
        if interrupted {
            let counts = format!("interrupted: {done} of {} steps are done", self.steps.len());
            let error = Error::new(Kind::Interrupted, counts).hint("run apply again: it goes on where it stopped");
            return Err(match self.first {
                Some((_, first)) => error.source(first),
                None => error,
            });
        }
        let Some((index, first)) = self.first else { return Ok(self.summary) };
        let (id, host, title, _) = &self.steps[index];
        let others = match self.failed - 1 {
            0 => String::new(),
            n => format!("; {n} more failed"),
        };
        let left = match self.skipped {
            0 => String::new(),
            n => format!("; {n} not run"),
        };
        let mut error = Error::new(first.kind(), format!("failed to {title} (step {id}{others}{left})")).on(host);
        for hint in hints(&first) {
            error = error.hint(hint);
        }
        Err(error.source(first))
    }
}

/// The hints nearest to the surface of the chain: those are the most specific to what was attempted.
fn hints(error: &Error) -> Vec<String> {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(ours) = error.downcast_ref::<Error>()
            && !ours.hints().is_empty()
        {
            return ours.hints().to_vec();
        }
        next = error.source();
    }
    Vec::new()
}
