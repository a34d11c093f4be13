//! The seam between the engine and what acts on hosts.

use async_trait::async_trait;

use crate::error::Result;
use crate::plan::Step;

/// What a running step tells about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepNote {
    /// Bytes moved.
    Bytes {
        /// So far.
        done: u64,
        /// In all.
        total: u64,
    },
    /// Words for people.
    Text(String),
}

/// Looks at and changes hosts, one step at a time.
#[async_trait]
pub trait Runner: Send + Sync {
    /// Read-only: is the step's host as the step wants it? (Probe and pure diff, in one round trip.)
    async fn satisfied(&self, step: &Step) -> Result<bool>;

    /// The one mutation. For an action that is no change (a wait, a test) it returns once the condition holds.
    ///
    /// An error of kind `Unreachable` leaves open whether the mutation took effect.
    async fn apply(&self, step: &Step, notes: &(dyn Fn(StepNote) + Send + Sync)) -> Result<()>;
}
