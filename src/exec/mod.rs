//! Execution of plans.

mod apply;
mod cancel;
mod engine;
pub mod etcd;
mod event;
mod journal;
mod lease;
mod older_pods;
pub mod pki;
mod private;
mod retry;
pub mod rotation;
mod runner;
mod schedule;
mod state;
mod tally;
mod title;
mod told;

pub use apply::{Context, HostRunner};
pub use cancel::Cancel;
pub use engine::{Options, Summary, run};
pub use event::{Event, NullSink, Outcome, Sink};
pub use journal::{
    Entry, Header, JOURNAL_FORMAT, Journal, Verified, list as list_journals, list_in as list_journals_in,
    verify as verify_journal,
};
pub use lease::Lease;
pub(crate) use private::write_private;
pub use retry::{RetryPolicy, is_repeatable, with_retries};
pub use runner::{Runner, StepNote};
pub use schedule::{End, Schedule, Skip};
pub use state::{STATE_VARIABLE, new_operation_id, state_dir};
pub(crate) use told::told;
