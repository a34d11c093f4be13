//! The bundle: lock, fetch, OCI layout, manifest, verification.

mod manifest;

pub use manifest::{Artifact, ArtifactKind, BUNDLE_FORMAT, BlobRef, BundleManifest, Digest, Member, Verified};
