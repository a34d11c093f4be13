//! A package in the lock, and how it is named in a bundle.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::bundle::Digest;
use crate::inventory::{Arch, PackageKind};

/// The media type of a deb package's blob.
pub(super) const DEB_PACKAGE_TYPE: &str = "application/vnd.debian.binary-package";
/// The media type of an rpm package's blob.
pub(super) const RPM_PACKAGE_TYPE: &str = "application/x-rpm";
/// The media type of the list of a bundle's packages that apt or dnf reads. It must not look like an OCI index.
pub(super) const INDEX_TYPE: &str = "application/vnd.provision.packages.v1";

/// A pinned package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedPackage {
    /// deb or rpm.
    #[serde(rename = "type")]
    pub kind: PackageKind,
    /// Its name.
    pub name: String,
    /// Its version, with epoch where it has one.
    pub version: String,
    /// The architecture of the hosts it is for, also when the package itself fits all.
    pub arch: Arch,
    /// Its digest.
    pub sha256: Digest,
    /// Bytes.
    pub size: u64,
    /// Where it is fetched from.
    pub url: String,
    /// The repository's name in the inventory.
    pub repository: String,
    /// The signed file that its digest was followed from.
    pub release: String,
    /// The fingerprint of the key that signed that.
    pub key: String,
    /// The fields that apt or dnf reads. Last, because it is a table of its own in TOML.
    pub control: BTreeMap<String, String>,
}

/// The artifact name of a package.
#[must_use]
pub fn package_name(kind: PackageKind, name: &str) -> String {
    format!("{}/{name}", kind.as_str())
}

/// The artifact name of the index of all packages of a type.
#[must_use]
pub fn index_name(kind: PackageKind) -> &'static str {
    match kind {
        PackageKind::Deb => "deb-index",
        PackageKind::Rpm => "rpm-index",
    }
}
