//! Charts and raw manifests: found, pinned with the images they need, and put into the bundle.

mod build;
mod gaps;
mod helm;
mod images;
mod local;
mod lock;
mod pack;
mod repo;

pub(super) use build::{add_addons, addons};
pub use gaps::{addon_gaps, addon_inputs, known_addons};
pub use local::keep_local;
pub(super) use lock::lock_addons;
