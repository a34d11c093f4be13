//! The bundle: lock, fetch, OCI layout, manifest, verification.

mod archive;
mod blob;
mod build;
mod charts;
mod checksum;
mod fetch;
mod hash;
mod http;
mod layout;
mod lock;
mod lockfile;
mod manifest;
mod registry;
mod sign;
mod trust;
mod verify;
mod wanted;

pub use blob::{Blob, Piece};
pub use build::build;
pub use charts::{addon_gaps, addon_inputs, keep_local, known_addons};
pub use checksum::find_checksum;
pub use fetch::cache_dir;
pub use hash::hash_file;
pub use http::tls_init;
pub use lock::lock;
pub use lockfile::{LOCK_FORMAT, Lock, LockedChart, LockedFile, LockedImage, LockedManifest};
pub use manifest::{Addon, Artifact, ArtifactKind, BUNDLE_FORMAT, BlobRef, BundleManifest, Digest, Member, Verified};
pub use sign::{SIGNATURES, SigningKey, keygen};
pub use trust::{Policy, Seen, Standing, Verdict, absent, count, date, judge, look};
pub use verify::{Bundle, closure};
pub use wanted::{FileWant, Wanted, wanted};
