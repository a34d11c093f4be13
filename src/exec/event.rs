//! What the engine tells the world. Reports and the journal consume these and nothing else.

use serde::{Deserialize, Serialize};

use crate::plan::{Drift, PhaseId};

/// Something that happened. Serialised with a `event` tag; a reader meets unknown ones as [`Event::Unknown`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// An operation begins.
    Started {
        /// Its id.
        operation: String,
        /// `apply`, `reset`, `bundle-build` ...
        command: String,
        /// The number of steps.
        steps: usize,
    },
    /// Something is not as the inventory says, and is left alone.
    Drift(Drift),
    /// The first step of a phase begins.
    PhaseStarted {
        /// Which.
        phase: PhaseId,
        /// Its number of steps.
        steps: usize,
    },
    /// The last step of a phase ended.
    PhaseEnded {
        /// Which.
        phase: PhaseId,
        /// Seconds.
        seconds: f64,
    },
    /// A step begins.
    StepStarted {
        /// Its id.
        step: String,
        /// Its host.
        host: String,
        /// A line for people.
        title: String,
    },
    /// Bytes moved in a step (or a download).
    Progress {
        /// Its id.
        step: String,
        /// Bytes so far.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// Words for people about a step that goes on.
    Note {
        /// Its id.
        step: String,
        /// What.
        text: String,
    },
    /// A step is tried again.
    Retry {
        /// Its id.
        step: String,
        /// The number of the coming attempt, from 2.
        attempt: u32,
        /// Why.
        error: String,
    },
    /// A step ended.
    StepEnded {
        /// Its id.
        step: String,
        /// Its host.
        host: String,
        /// How.
        outcome: Outcome,
        /// Seconds.
        seconds: f64,
    },
    /// A command ran on a host (journal only; never shown with its input).
    Command {
        /// The host.
        host: String,
        /// The command line (no secrets by construction).
        line: String,
        /// How it ended.
        ended: String,
    },
    /// Someone asked for a stop: the running steps end, and no other begins.
    Stopping {
        /// How many steps still run.
        running: usize,
    },
    /// The operation ended.
    Ended {
        /// Whether all is done.
        ok: bool,
        /// The error's line.
        error: Option<String>,
        /// Seconds.
        seconds: f64,
    },
    /// An event of a newer version.
    #[serde(other)]
    Unknown,
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Outcome {
    /// The host was already as wanted when looked at again.
    Unchanged,
    /// It was changed and looked at again.
    Changed,
    /// Not run, and why.
    Skipped {
        /// Why.
        why: String,
    },
    /// It failed.
    Failed {
        /// The error's line.
        error: String,
    },
}

/// Takes events. Called from any task; must not block for long.
pub trait Sink: Send + Sync {
    /// Takes one.
    fn event(&self, event: &Event);
}

/// Forgets everything.
pub struct NullSink;
impl Sink for NullSink {
    fn event(&self, _: &Event) {}
}
