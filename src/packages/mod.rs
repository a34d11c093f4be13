//! Packages of the operating system: repositories' signed metadata, the closed set that names need, and a local
//! repository of it for the nodes. Pure: what is fetched and written is done in `bundle`.

mod catalog;
mod deb_index;
mod deb_version;
mod openpgp;
mod relation;
mod release;
mod resolve;
mod rpm_version;
mod stanza;

pub use catalog::{Candidate, Catalog};
pub use deb_index::read_index;
pub use openpgp::Keyring;
pub use relation::{Op, Relation, Requirement, compare, parse_deb, parse_rpm};
pub use release::{Release, parse_release};
pub use resolve::resolve;
pub use stanza::{Stanza, each_stanza, render};
