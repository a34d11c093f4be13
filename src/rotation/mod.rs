//! The rotation of a CA of a cluster that runs: what is seen of it on the nodes, and what comes next. Pure decisions, no
//! I/O, no clock.
//!
//! The order is that of Kubernetes' "Manual Rotation of CA Certificates": first everybody trusts the new CA beside the old
//! one, then everything is signed by the new one, then nobody trusts the old one any more. What was done is told by the
//! nodes themselves, so whoever is killed goes on from there.

mod family;
mod moves;
#[cfg(test)]
mod moves_tests;
mod seen;
mod workloads;

pub use family::Family;
pub(crate) use family::ROTATIONS;
pub(crate) use moves::signs_with;
pub use moves::{Move, Pair, Phase, lacks, moves, pair};
pub use seen::{Leaf, Seen, resolve, rotation_probes, seen};
pub use workloads::{Behind, behind};
