//! The bundle: lock, fetch, OCI layout, manifest, verification.

mod archive;
mod blob;
mod build;
mod charts;
mod checksum;
mod delta;
mod diff;
mod documents;
mod fetch;
mod form;
mod hash;
mod http;
mod inspect;
mod known;
mod layout;
mod licences;
mod limit;
mod lock;
mod lockfile;
mod login;
mod manifest;
mod pack;
mod packages;
mod provenance;
mod prune;
mod reach;
mod registry;
#[cfg(test)]
mod sample;
mod sbom;
mod sign;
mod store;
mod trust;
mod upstream;
mod verify;
mod versions;
mod wanted;

pub use archive::archive_members;
pub use blob::{Blob, Piece};
pub use build::build;
pub use charts::{addon_gaps, addon_inputs, keep_local, known_addons};
pub use checksum::find_checksum;
pub use delta::{Base, DELTA_FORMAT, Delta, delta, merge};
pub use diff::{Change, Diff, Entry as DiffEntry, diff};
pub use documents::{Maker, image_labels, write_documents};
pub use fetch::cache_dir;
pub use form::{Form, Output, Written, parse_size};
pub use hash::{hash_blob, hash_file};
pub use http::tls_init;
pub(crate) use http::{ATTEMPTS, back_off, is_passing, unreachable};
pub use inspect::{Contents, Entry, Group, INSPECT_FORMAT, Totals, contents, html, text};
pub use known::Known;
pub use layout::index_digests;
pub(crate) use layout::{OCI_MANIFEST, is_of_image};
pub use licences::{Labels, Licence, LicenceBasis, NO_ASSERTION, licence};
pub use lock::lock;
pub(crate) use lock::told;
pub use lockfile::{LOCK_FORMAT, Lock, LockedChart, LockedFile, LockedImage, LockedManifest, LockedSignature};
pub(crate) use login::{Login, base64_basic, read_password};
pub use manifest::{Addon, Artifact, ArtifactKind, BUNDLE_FORMAT, BlobRef, BundleManifest, Digest, Member, Verified};
pub use pack::pack;
pub use packages::{LockedPackage, index_name, lock_packages, package_name};
pub use provenance::{Provenance, provenance, provenance_problems};
pub use prune::prune;
pub(crate) use registry::{INDEX_TYPES, ImageName, MANIFEST_TYPES};
pub use sbom::{cyclonedx, spdx};
pub use sign::{SIGNATURES, SigningKey, keygen};
pub use store::Bundle;
pub use trust::{Policy, Seen, Standing, Verdict, absent, count, date, judge, look};
pub use upstream::{
    CosignForm, CosignKey, CosignSignature, CosignWorth, UpstreamChecks, check_upstream, cosign_keys, cosign_payload,
    cosign_signatures, cosign_worth, lock_signatures,
};
pub use verify::closure;
pub use wanted::{FileWant, Wanted, wanted};
