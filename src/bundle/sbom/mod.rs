//! Bills of materials: CycloneDX and SPDX documents made of a bundle's manifest alone. Pure.

mod cyclonedx;
mod facts;
mod part;
mod spdx;

pub use cyclonedx::cyclonedx;
pub(super) use facts::same_facts;
pub use spdx::spdx;
