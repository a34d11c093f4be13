//! Execution of plans.

mod cancel;
mod engine;
mod event;
mod retry;
mod runner;
mod schedule;
mod tally;
mod title;

pub use cancel::Cancel;
pub use engine::{Options, Summary, run};
pub use event::{Event, NullSink, Outcome, Sink};
pub use retry::{RetryPolicy, is_repeatable, with_retries};
pub use runner::{Runner, StepNote};
pub use schedule::{End, Schedule, Skip};
