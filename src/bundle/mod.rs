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
mod login;
mod manifest;
mod registry;
mod sign;
mod trust;
mod verify;
mod wanted;

pub use blob::{Blob, Piece};
pub use build::build;
pub use checksum::find_checksum;
pub use fetch::cache_dir;
pub use hash::{hash_blob, hash_file};
pub use http::tls_init;
pub(crate) use http::{ATTEMPTS, back_off, is_passing, unreachable};
pub(crate) use layout::OCI_MANIFEST;
pub use lock::lock;
pub(crate) use lock::told;
pub use lockfile::{LOCK_FORMAT, Lock, LockedFile, LockedImage};
pub(crate) use login::{Login, base64_basic, read_password};
pub use manifest::{Artifact, ArtifactKind, BUNDLE_FORMAT, BlobRef, BundleManifest, Digest, Member, Verified};
pub(crate) use registry::{INDEX_TYPES, ImageName, MANIFEST_TYPES};
pub use sign::{SIGNATURES, SigningKey, keygen};
pub use trust::{Policy, Seen, Standing, Verdict, absent, count, date, judge, look};
pub use verify::{Bundle, closure};
pub use wanted::{FileWant, Wanted, wanted};
