//! Execution of plans.

mod event;

pub use event::{Event, NullSink, Outcome, Sink};
