//! The bundle: lock, fetch, OCI layout, manifest, verification.

mod archive;
mod blob;
mod build;
mod checksum;
mod fetch;
mod hash;
mod http;
mod layout;
mod lock;
mod lockfile;
mod manifest;
mod packages;
mod registry;
mod verify;
mod wanted;

pub use blob::{Blob, Piece};
pub use build::build;
pub use checksum::find_checksum;
pub use fetch::cache_dir;
pub use hash::hash_file;
pub use http::tls_init;
pub use lock::lock;
pub use lockfile::{LOCK_FORMAT, Lock, LockedFile, LockedImage};
pub use manifest::{Artifact, ArtifactKind, BUNDLE_FORMAT, BlobRef, BundleManifest, Digest, Member, Verified};
pub use packages::{LockedPackage, index_name, lock_packages, package_name};
pub use verify::{Bundle, closure};
pub use wanted::{FileWant, Wanted, wanted};
