//! Events as lines of text. Pure; the order of events is all it remembers.

use std::collections::HashMap;

use crate::exec::{Event, Outcome};
use crate::phase::spec;
use crate::plan::PhaseId;

/// Turns events into lines.
#[derive(Debug, Default)]
pub struct Lines {
    verbose: bool,
    /// Whether it is said that long work on this machine begins, and how it goes on; bars show that themselves.
    announces: bool,
    steps: usize,
    ended: usize,
    counts: Counts,
    /// Title by id, of the steps that run.
    titles: HashMap<String, String>,
    /// Steps and seconds of the phases that ended.
    phases: Vec<(PhaseId, usize, f64)>,
    phase_steps: HashMap<PhaseId, usize>,
    host_width: usize,
}

#[derive(Debug, Default)]
struct Counts {
    changed: usize,
    unchanged: usize,
    failed: usize,
    skipped: usize,
}

impl Lines {
    /// `verbose`: also steps that change nothing, skipped ones, and notes.
    #[must_use]
    pub fn new(verbose: bool) -> Self {
        Self { verbose, ..Self::default() }
    }

    /// The same for who sees nothing else: what a lab makes on this machine takes minutes, and is shown from its begin on.
    #[must_use]
    pub fn alone(verbose: bool) -> Self {
        Self { announces: true, ..Self::new(verbose) }
    }

    fn announces(&self, step: &str) -> bool {
        self.announces && phase(step) == "lab"
    }

    /// The lines for the next event; often none.
    pub fn take(&mut self, event: &Event) -> Vec<String> {
        match event {
            Event::Started { command, steps, operation } => {
                self.steps = *steps;
                if self.verbose { vec![format!("{command} {operation}: {steps} steps")] } else { Vec::new() }
            }
            Event::PhaseStarted { phase, steps } => {
                self.phase_steps.insert(*phase, *steps);
                if self.verbose { vec![format!("{}: {steps} steps", spec(*phase).title)] } else { Vec::new() }
            }
            Event::PhaseEnded { phase, seconds } => {
                let steps = self.phase_steps.remove(phase).unwrap_or(0);
                self.phases.push((*phase, steps, *seconds));
                Vec::new()
            }
            Event::StepStarted { step, host, title } => {
                self.host_width = self.host_width.max(host.len());
                self.titles.insert(step.clone(), title.clone());
                if self.announces(step) { vec![self.aside(step, "started")] } else { Vec::new() }
            }
            Event::Note { step, text } if self.verbose || self.announces(step) => vec![self.aside(step, text)],
            Event::Retry { step, attempt, error } => {
                vec![self.aside(step, &format!("attempt {attempt} after: {error}"))]
            }
            Event::StepEnded { step, host, outcome, seconds } => self.step_ended(step, host, outcome, *seconds),
            Event::Stopping { running } => vec![format!(
                "stopping: what runs goes on to its end ({running}), nothing else begins; a second Ctrl-C ends at once"
            )],
            Event::Ended { ok, seconds, .. } => self.table(*ok, *seconds),
            // The plan that was shown tells it.
            Event::Drift(_) | Event::Note { .. } | Event::Progress { .. } | Event::Command { .. } | Event::Unknown => {
                Vec::new()
            }
        }
    }

    fn step_ended(&mut self, step: &str, host: &str, outcome: &Outcome, seconds: f64) -> Vec<String> {
        self.ended += 1;
        self.host_width = self.host_width.max(host.len());
        let (notable, how) = match outcome {
            Outcome::Unchanged => {
                self.counts.unchanged += 1;
                (false, format!("unchanged {seconds:.1}s"))
            }
            Outcome::Changed => {
                self.counts.changed += 1;
                (true, format!("changed {seconds:.1}s"))
            }
            Outcome::Skipped { why } => {
                self.counts.skipped += 1;
                (false, format!("skipped: {why}"))
            }
            Outcome::Failed { error } => {
                self.counts.failed += 1;
                (true, format!("FAILED {seconds:.1}s: {}", one_line(error)))
            }
        };
        let title = self.titles.remove(step).unwrap_or_else(|| what(step).to_owned());
        if !notable && !self.verbose {
            return Vec::new();
        }
        let width = self.steps.to_string().len();
        // A lock and a build find out on the way how much there is.
        let number = match self.steps {
            0 => format!("[{}]", self.ended),
            all => format!("[{:>width$}/{all}]", self.ended),
        };
        vec![format!("{number} {}  {host:<hosts$}  {title}  {how}", phase(step), hosts = self.host_width)]
    }

    /// A line about a step that goes on, under the columns of those that ended.
    fn aside(&self, step: &str, text: &str) -> String {
        let indent = 2 * self.steps.to_string().len() + "[/]".len();
        let title = self.titles.get(step).map_or_else(|| what(step), String::as_str);
        format!("{:indent$} {}  {title}: {}", "", phase_and_host(step), one_line(text))
    }

    fn table(&self, ok: bool, seconds: f64) -> Vec<String> {
        let mut phases = self.phases.clone();
        phases.sort_unstable_by_key(|p| p.0);
        let width = phases.iter().map(|p| p.0.as_str().len()).chain(["phase".len()]).max().unwrap_or(0);
        let mut lines = Vec::new();
        if !phases.is_empty() {
            lines.push(format!("{:<width$}  {:>5}  {:>8}", "phase", "steps", "seconds"));
            for (phase, steps, seconds) in &phases {
                lines.push(format!("{:<width$}  {steps:>5}  {seconds:>8.1}", phase.as_str()));
            }
        }
        let Counts { changed, unchanged, failed, skipped } = self.counts;
        let mut counts = vec![format!("{changed} changed"), format!("{unchanged} unchanged")];
        counts.extend((failed > 0).then(|| format!("{failed} failed")));
        counts.extend((skipped > 0).then(|| format!("{skipped} not run")));
        let word = if ok { "done" } else { "not done" };
        lines.push(format!("{word} in {seconds:.1}s: {}", counts.join(", ")));
        lines
    }
}

/// The phase in a step's id, `<phase>/<host>/<what>`.
fn phase(step: &str) -> &str {
    step.split('/').next().unwrap_or(step)
}

fn phase_and_host(step: &str) -> String {
    step.splitn(3, '/').take(2).collect::<Vec<_>>().join("  ")
}

/// What is left of a step's id after its phase and host.
fn what(step: &str) -> &str {
    step.splitn(3, '/').last().unwrap_or(step)
}

/// `text` without line breaks or other control characters, which could forge lines or steer a terminal.
pub(super) fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split(|c: char| c.is_control()).filter(|part| !part.is_empty()).collect();
    words.join(" ")
}
