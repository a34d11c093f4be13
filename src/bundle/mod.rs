//! The bundle: lock, fetch, OCI layout, manifest, verification.

mod hash;
mod manifest;

pub use hash::hash_file;
pub use manifest::{Artifact, ArtifactKind, BUNDLE_FORMAT, BlobRef, BundleManifest, Digest, Member, Verified};
