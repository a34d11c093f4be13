//! Packages of the operating system: repositories' signed metadata, the closed set that names need, and a local
//! repository of it for the nodes. Pure: what is fetched and written is done in `bundle`.

mod catalog;
mod deb_index;
mod deb_version;
mod local;
mod openpgp;
mod relation;
mod release;
mod resolve;
mod rpm_index;
mod rpm_local;
mod rpm_version;
mod stanza;

pub use catalog::{Candidate, Catalog};
pub use deb_index::read_index;
pub use local::{LocalPackage, index_path, local_index, local_release, local_source, pool_path, repository_dir};
pub use openpgp::{Keyring, Open};
pub use relation::{Op, Relation, Requirement, compare, parse_deb, parse_rpm};
pub use release::{Release, parse_release};
pub use resolve::resolve;
pub use rpm_index::{Primary, parse_repomd, read_primary};
pub use stanza::{Stanza, each_stanza, render};
