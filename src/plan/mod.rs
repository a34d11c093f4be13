//! Plans: pure decisions, no I/O, no clock.

mod action;
mod addon_steps;
mod assemble;
mod backup_steps;
mod certificates;
mod cluster_steps;
mod desired;
mod drains;
mod drift;
#[cfg(test)]
mod drift_tests;
mod etcd_steps;
mod foundation_refusals;
mod host_steps;
mod leave;
mod leave_refusals;
#[cfg(test)]
mod leave_tests;
mod mirrors;
mod model;
mod package_steps;
mod parts;
mod planner;
#[cfg(test)]
mod planner_tests;
mod pod_cidr;
mod registry_steps;
mod render;
mod reset;
mod restore;
#[cfg(test)]
mod restore_tests;
mod settings_steps;
mod textdiff;
mod upgrade_refusals;
mod upgrade_steps;

pub use action::{Action, LocalFile, UnpackMember};
pub use assemble::{Observations, assemble, questions};
pub use certificates::{HOW_TO_SIGN, with_how_to_sign};
pub use desired::{Desired, When};
pub use drains::{check_drains, drain_questions};
pub use drift::{Drift, DriftKind, drift};
pub use host_steps::ROUTES_UNIT;
pub use leave::{Order, Stage, has_joined, order, removal};
pub use leave_refusals::{beyond, may_replace, nobody_answers, without};
pub use model::{Disruption, Fingerprints, PLAN_FORMAT, PhaseId, Plan, Step, StepId};
pub use planner::{CLAIM_FILE, HOSTS_MARKER, JOINED_FILE, desired};
pub use pod_cidr::allot;
pub use render::{render, render_drift};
pub use reset::reset_plan;
pub use restore::{led_by, of_host, without_control_planes};
pub use textdiff::file_diff;
