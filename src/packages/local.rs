//! The local repository that a node installs from: its index, its Release file or repomd.xml, and what tells apt or dnf
//! of it. Pure, and byte for byte the same for the same packages.
//!
//! It is not signed. Its bytes come out of a verified bundle, each package's digest is in the index and the index's
//! digest in the Release file, which apt and dnf check; and who can write below /var/lib/provision is root already. A
//! signature by a key that we would have to carry along would prove nothing more. So apt is told to trust this one
//! path (`Trusted: yes` in a source of its own), and nothing else.

use std::collections::BTreeMap;

use super::stanza::render;
use crate::bundle::Digest;
use crate::inventory::{Arch, PackageKind};

/// The directory on a node with the repository of packages of one type.
#[must_use]
pub fn repository_dir(kind: PackageKind) -> String {
    format!("/var/lib/provision/repo/{}", kind.as_str())
}

/// A package in the local repository.
#[derive(Debug, Clone)]
pub struct LocalPackage<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its version, with epoch where it has one.
    pub version: &'a str,
    /// Its digest.
    pub sha256: &'a Digest,
    /// Bytes.
    pub size: u64,
    /// The fields that apt or dnf reads.
    pub control: &'a BTreeMap<String, String>,
}

/// Where a package lies below [`repository_dir`].
#[must_use]
pub fn pool_path(kind: PackageKind, name: &str, version: &str, arch: Arch) -> String {
    // A colon is legal in a file name and a trouble in too many tools.
    let plain = |text: &str| -> String {
        text.chars().map(|c| if c.is_ascii_alphanumeric() || "+-.~_".contains(c) { c } else { '_' }).collect()
    };
    format!("pool/{}_{}_{}.{}", plain(name), plain(version), arch.as_str(), kind.as_str())
}

/// Where the index lies below [`repository_dir`].
#[must_use]
pub fn index_path(kind: PackageKind) -> &'static str {
    match kind {
        PackageKind::Deb => "Packages",
        PackageKind::Rpm => "repodata/primary.xml",
    }
}

/// The index of these packages.
#[must_use]
pub fn local_index(kind: PackageKind, arch: Arch, packages: &[LocalPackage<'_>]) -> String {
    let mut sorted: Vec<&LocalPackage<'_>> = packages.iter().collect();
    sorted.sort_by_key(|p| (p.name, p.version));
    match kind {
        PackageKind::Deb => sorted.iter().map(|p| deb_stanza(p, arch)).collect::<Vec<_>>().join("\n"),
        PackageKind::Rpm => super::rpm_local::primary(arch, &sorted),
    }
}

fn deb_stanza(package: &LocalPackage<'_>, arch: Arch) -> String {
    let mut fields = package.control.clone();
    fields.insert("Filename".into(), pool_path(PackageKind::Deb, package.name, package.version, arch));
    fields.insert("Size".into(), package.size.to_string());
    fields.insert("SHA256".into(), package.sha256.hex().to_owned());
    render(&fields, &["Package", "Version", "Architecture"])
}

/// The file that names the index by digest, and its path below [`repository_dir`].
#[must_use]
pub fn local_release(kind: PackageKind, arch: Arch, index: &Digest, size: u64) -> (&'static str, String) {
    match kind {
        // apt wants a date; a constant keeps the bytes the same, and nothing about this file can go stale.
        PackageKind::Deb => (
            "Release",
            format!(
                "Origin: provision\nLabel: provision\nSuite: local\nArchitectures: {}\nDate: Thu, 01 Jan 1970 00:00:00 UTC\nSHA256:\n {} {size} Packages\n",
                arch.as_str(),
                index.hex()
            ),
        ),
        PackageKind::Rpm => ("repodata/repomd.xml", super::rpm_local::repomd(index, size)),
    }
}

/// The file that tells apt or dnf of the repository, and its path.
#[must_use]
pub fn local_source(kind: PackageKind) -> (&'static str, String) {
    let dir = repository_dir(kind);
    match kind {
        PackageKind::Deb => (
            "/etc/apt/sources.list.d/provision.sources",
            format!(
                "# Packages that came with the bundle. Trusted, because root alone writes there, and every digest was checked.\n\
                 Types: deb\nURIs: file:{dir}\nSuites: ./\nTrusted: yes\n"
            ),
        ),
        PackageKind::Rpm => (
            "/etc/yum.repos.d/provision.repo",
            format!(
                "# Packages that came with the bundle. Not signed: root alone writes there, and every digest was checked.\n\
                 [provision]\nname=provision\nbaseurl=file://{dir}\nenabled=0\ngpgcheck=0\nrepo_gpgcheck=0\nmetadata_expire=1\n"
            ),
        ),
    }
}
