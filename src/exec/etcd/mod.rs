//! What is done with etcd and the certificates beside plans: a snapshot, a restore, a renewal.

mod refresh;
mod renew;
mod restore;
mod snapshot;
mod step;
mod transfer;
mod util;

pub use refresh::{kubelets_anew, pods_anew};
pub use renew::renew;
pub(super) use renew::{each_in_turn, holds, made_anew_with, may_begin, well};
pub use restore::{forget_others, stage, start_over};
pub use snapshot::{healthy_member, take};
pub(super) use step::step;
