//! Moving bars for a terminal: one for the whole, one line for every step that runs.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::exec::{Event, Sink};

use super::lines::{Lines, one_line};

const OVERALL: &str = "[{pos}/{len}] {bar:40} {elapsed} {msg}";
const STEP: &str = "  {spinner} {prefix}  {wide_msg} {elapsed}";
const STEP_WITH_BYTES: &str = "  {spinner} {prefix}  {wide_msg} {bytes}/{total_bytes} {bytes_per_sec}";
/// How often a spinner moves.
const TICK: Duration = Duration::from_millis(200);

/// Draws on stderr. Lines that last are printed above the bars, the same as [`super::Plain`] writes.
pub struct Bars {
    all: MultiProgress,
    state: Mutex<State>,
}

struct State {
    lines: Lines,
    overall: Option<ProgressBar>,
    running: HashMap<String, ProgressBar>,
    /// Title by id, of the steps that run.
    titles: HashMap<String, String>,
}

impl Bars {
    /// `verbose`: a lasting line for every step. `None` when stderr can not show bars, and would show nothing at all.
    #[must_use]
    pub fn new(verbose: bool) -> Option<Self> {
        let bars = Self::on(ProgressDrawTarget::stderr(), verbose);
        (!bars.all.is_hidden()).then_some(bars)
    }

    fn on(target: ProgressDrawTarget, verbose: bool) -> Self {
        let state =
            State { lines: Lines::new(verbose), overall: None, running: HashMap::new(), titles: HashMap::new() };
        Self { all: MultiProgress::with_draw_target(target), state: Mutex::new(state) }
    }
}

/// The style of a template; indicatif's own when the template is wrong, which a test rules out.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl Sink for Bars {
    fn event(&self, event: &Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.show(event, &self.all);
        for line in state.lines.take(event) {
            // A terminal that went away must not stop the operation.
            let _ = self.all.println(line);
        }
    }
}

impl State {
    fn show(&mut self, event: &Event, all: &MultiProgress) {
        match event {
            Event::Started { steps, .. } => {
                let bar = ProgressBar::new(u64::try_from(*steps).unwrap_or(u64::MAX)).with_style(style(OVERALL));
                let bar = all.add(bar);
                bar.enable_steady_tick(TICK);
                self.overall = Some(bar);
            }
            Event::PhaseStarted { phase, .. } => {
                if let Some(overall) = &self.overall {
                    overall.set_message(phase.as_str());
                }
            }
            Event::StepStarted { step, host, title } => {
                let bar = ProgressBar::new_spinner().with_style(style(STEP)).with_prefix(host.clone());
                let bar = all.add(bar.with_message(title.clone()));
                bar.enable_steady_tick(TICK);
                self.running.insert(step.clone(), bar);
                self.titles.insert(step.clone(), title.clone());
            }
            Event::Progress { step, done, total } => {
                if let Some(bar) = self.running.get(step) {
                    if bar.length() != Some(*total) {
                        bar.set_length(*total);
                        bar.set_style(style(STEP_WITH_BYTES));
                    }
                    bar.set_position(*done);
                }
            }
            Event::Note { step, text } => {
                if let Some((bar, title)) = self.running.get(step).zip(self.titles.get(step)) {
                    bar.set_message(format!("{title}: {}", one_line(text)));
                }
            }
            Event::StepEnded { step, .. } => {
                self.titles.remove(step);
                if let Some(bar) = self.running.remove(step) {
                    bar.finish_and_clear();
                    all.remove(&bar);
                }
                if let Some(overall) = &self.overall {
                    overall.inc(1);
                }
            }
            Event::Ended { .. } => {
                for bar in self.running.drain().map(|(_, bar)| bar).chain(self.overall.take()) {
                    bar.finish_and_clear();
                }
            }
            Event::Stopping { .. } => {
                if let Some(overall) = &self.overall {
                    overall.set_message("stopping");
                }
            }
            Event::PhaseEnded { .. }
            | Event::Drift(_)
            | Event::Retry { .. }
            | Event::Command { .. }
            | Event::Unknown => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::Outcome;

    #[test]
    fn the_templates_are_right() {
        for template in [OVERALL, STEP, STEP_WITH_BYTES] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }

    #[test]
    fn every_bar_that_was_opened_is_closed() {
        let bars = Bars::on(ProgressDrawTarget::hidden(), false);
        let step = || "prepare/a/swap".to_owned();
        bars.event(&Event::Started { operation: "op".into(), command: "apply".into(), steps: 1 });
        bars.event(&Event::StepStarted { step: step(), host: "a".into(), title: "turn swap off".into() });
        bars.event(&Event::Note { step: step(), text: "still\non".into() });
        {
            let state = bars.state.lock().unwrap_or_else(PoisonError::into_inner);
            assert_eq!(state.running["prepare/a/swap"].message(), "turn swap off: still on");
        }
        bars.event(&Event::Progress { step: step(), done: 1, total: 2 });
        {
            let state = bars.state.lock().unwrap_or_else(PoisonError::into_inner);
            assert_eq!(state.running["prepare/a/swap"].length(), Some(2));
        }
        bars.event(&Event::StepEnded { step: step(), host: "a".into(), outcome: Outcome::Changed, seconds: 0.1 });
        bars.event(&Event::Ended { ok: true, error: None, seconds: 0.1 });
        let state = bars.state.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(state.running.is_empty() && state.titles.is_empty() && state.overall.is_none());
    }
}
