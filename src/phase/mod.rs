//! The table of phases.

mod catalog;

pub use catalog::{Limit, PHASES, PhaseSpec, Scope, spec};
