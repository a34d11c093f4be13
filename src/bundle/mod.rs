//! The bundle: lock, fetch, OCI layout, manifest, verification.

mod archive;
mod blob;
mod build;
mod checksum;
mod documents;
mod fetch;
mod hash;
mod http;
mod inspect;
mod layout;
mod licences;
mod limit;
mod lock;
mod lockfile;
mod manifest;
mod provenance;
mod registry;
#[cfg(test)]
mod sample;
mod sbom;
mod sign;
mod trust;
mod verify;
mod versions;
mod wanted;

pub use archive::archive_members;
pub use blob::{Blob, Piece};
pub use build::build;
pub use checksum::find_checksum;
pub use documents::{Maker, image_labels, write_documents};
pub use fetch::cache_dir;
pub use hash::hash_file;
pub use http::tls_init;
pub use inspect::{Contents, Entry, Group, INSPECT_FORMAT, Totals, contents, html, text};
pub use layout::index_digests;
pub use licences::{Labels, Licence, LicenceBasis, NO_ASSERTION, licence};
pub use lock::lock;
pub use lockfile::{LOCK_FORMAT, Lock, LockedFile, LockedImage};
pub use manifest::{Artifact, ArtifactKind, BUNDLE_FORMAT, BlobRef, BundleManifest, Digest, Member, Verified};
pub use provenance::{Provenance, provenance, provenance_problems};
pub use sbom::{cyclonedx, spdx};
pub use sign::{SIGNATURES, SigningKey, keygen};
pub use trust::{Policy, Seen, Standing, Verdict, absent, count, date, judge, look};
pub use verify::{Bundle, closure};
pub use wanted::{FileWant, Wanted, wanted};
