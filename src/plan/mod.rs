//! Plans: pure decisions, no I/O, no clock.

mod model;

pub use model::{Action, Disruption, Fingerprints, PLAN_FORMAT, PhaseId, Plan, Step, StepId, UnpackMember};
