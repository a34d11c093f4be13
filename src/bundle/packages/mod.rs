//! Packages of the operating system in a bundle: locked against their repositories' signed metadata, fetched, and
//! indexed for the nodes.

mod build;
mod deb;
mod fetch;
mod lock;
mod model;
mod rpm;

pub(super) use build::{add_packages, missing_packages};
pub use lock::lock_packages;
pub use model::{LockedPackage, index_name, package_name};
