//! The rotation of a CA of a cluster that runs.

mod cluster;
mod node;
mod run;
mod stage;

pub use run::{Done, Wish, Workloads, look, rotate};
