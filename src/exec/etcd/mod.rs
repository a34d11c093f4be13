//! What is done with etcd and the certificates beside plans: a snapshot, a restore, a renewal.

mod snapshot;
mod step;
mod transfer;

pub use snapshot::{healthy_member, take};
use step::step;
