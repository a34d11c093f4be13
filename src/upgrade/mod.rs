//! Rolling upgrades: what is refused, and in which order the workers go. Pure decisions, no I/O, no clock.

mod pdb;
mod refusal;
mod removals;
mod skew;
mod waves;

pub use pdb::{Amount, Budget, budgets, never};
pub use refusal::Refusal;
pub use removals::{ApiInUse, FlagInUse, GateInUse, InUse, dropped};
pub use skew::{Running, etcd_refusals, refusals};
pub use waves::{Presence, Wave, Worker, waves, without_room};
