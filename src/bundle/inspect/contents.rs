//! The answers as data. Its JSON is a promise to programs: fields are added, never changed, within one format.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::bundle::licences::{Labels, LicenceBasis, licence};
use crate::bundle::manifest::{Artifact, ArtifactKind, BundleManifest, Digest, Verified};
use crate::inventory::Arch;

/// The version of the JSON that `bundle inspect --format json` writes.
pub const INSPECT_FORMAT: u32 = 1;

/// What is inside a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Contents {
    /// [`INSPECT_FORMAT`]
    pub format_version: u32,
    /// The Kubernetes version the bundle is for.
    pub kubernetes: String,
    /// The digest of `bundle.json`.
    pub bundle: Digest,
    /// The digest of the lock it was built from.
    pub lock: Digest,
    /// All together.
    pub totals: Totals,
    /// By kind, in the order of the manifest.
    pub by_kind: Vec<Group>,
    /// By architecture.
    pub by_arch: Vec<Group>,
    /// Every artifact, in the order of the manifest.
    pub artifacts: Vec<Entry>,
}

/// Sums. Sizes are in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// How many artifacts.
    pub artifacts: usize,
    /// How many different blobs they are made of.
    pub blobs: usize,
    /// The sizes of the artifacts, added.
    pub size: u64,
    /// The sizes of the different blobs, added: what they take on disk, as a blob that several need is stored once.
    pub stored: u64,
}

/// The sums of some of the artifacts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Group {
    /// The kind or architecture.
    pub name: String,
    /// Their sums; `stored` counts a blob once within the group.
    #[serde(flatten)]
    pub totals: Totals,
}

/// One artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Its kind.
    pub kind: ArtifactKind,
    /// Its name; for an image the full name with tag.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its architecture; none when it is for every one.
    pub arch: Option<Arch>,
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Where it was fetched from.
    pub source: String,
    /// An SPDX licence expression, or `NOASSERTION`.
    pub licence: String,
    /// Where the licence is known from.
    pub licence_basis: LicenceBasis,
    /// What an image says of its licence when that is no SPDX expression.
    pub licence_said: Option<String>,
    /// How it was verified upstream, as in `bundle.json`.
    pub verified: Verified,
    /// The same in words.
    pub verified_how: String,
    /// How many files an archive holds.
    pub members: usize,
}

/// What is inside.
#[must_use]
pub fn contents(manifest: &BundleManifest, labels: &Labels) -> Contents {
    let entry = |a: &Artifact| {
        let licence = licence(a, labels);
        Entry {
            kind: a.kind,
            name: a.name.clone(),
            version: a.version.clone(),
            arch: a.arch,
            digest: a.digest.clone(),
            size: a.size,
            source: a.source.clone(),
            licence: licence.or_no_assertion().to_owned(),
            licence_basis: licence.basis,
            licence_said: licence.said,
            verified_how: how(&a.verified),
            verified: a.verified.clone(),
            members: a.members.len(),
        }
    };
    Contents {
        format_version: INSPECT_FORMAT,
        kubernetes: manifest.kubernetes.clone(),
        bundle: Digest::of(manifest.to_canonical_json().as_bytes()),
        lock: manifest.lock.clone(),
        totals: totals(&manifest.artifacts.iter().collect::<Vec<_>>()),
        by_kind: groups(manifest, |a| (a.kind as usize, kind_name(a.kind))),
        by_arch: groups(manifest, |a| (a.arch.map_or(usize::MAX, |arch| arch as usize), a.arch_name().to_owned())),
        artifacts: manifest.artifacts.iter().map(entry).collect(),
    }
}

/// How an artifact was verified, in words.
fn how(verified: &Verified) -> String {
    match verified {
        Verified::ChecksumFile { .. } => "upstream checksum".into(),
        Verified::RegistryDigest => "registry digest".into(),
        Verified::SignedRepository { .. } => "signed repository".into(),
        Verified::UpstreamSignature { scheme, .. } => format!("upstream signature ({})", scheme.as_str()),
        Verified::LockOnly => "lock alone".into(),
    }
}

/// `binary`, `archive`, `image` ...
pub(super) fn kind_name(kind: ArtifactKind) -> String {
    format!("{kind:?}").to_lowercase()
}

fn groups(manifest: &BundleManifest, of: impl Fn(&Artifact) -> (usize, String)) -> Vec<Group> {
    let mut groups: BTreeMap<(usize, String), Vec<&Artifact>> = BTreeMap::new();
    for artifact in &manifest.artifacts {
        groups.entry(of(artifact)).or_default().push(artifact);
    }
    groups.into_iter().map(|((_, name), members)| Group { name, totals: totals(&members) }).collect()
}

fn totals(artifacts: &[&Artifact]) -> Totals {
    let mut seen = BTreeSet::new();
    let mut totals = Totals { artifacts: artifacts.len(), ..Totals::default() };
    for artifact in artifacts {
        totals.size = totals.size.saturating_add(artifact.size);
        for blob in &artifact.blobs {
            if seen.insert(&blob.digest) {
                totals.stored = totals.stored.saturating_add(blob.size);
            }
        }
    }
    totals.blobs = seen.len();
    totals
}

/// A size for people: `512 B`, `1.5 MB`.
pub(crate) fn human(bytes: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let mut unit = 0;
    let mut scale = 1_u64;
    while unit + 1 < units.len() && bytes / scale >= 1000 {
        scale *= 1000;
        unit += 1;
    }
    if unit == 0 {
        return format!("{bytes} B");
    }
    // One digit behind the point, cut off: a size is never shown larger than it is.
    format!("{}.{} {}", bytes / scale, bytes % scale / (scale / 10), units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::sample::manifest;

    #[test]
    fn a_blob_that_two_need_is_stored_once() {
        let mut manifest = manifest();
        let shared = manifest.artifacts[2].blobs[0].clone();
        manifest.artifacts[0].blobs.push(shared);
        manifest.artifacts[1].arch = Some(Arch::Arm64);
        let c = contents(&manifest, &Labels::new());
        assert_eq!(c.totals, Totals { artifacts: 7, blobs: 7, size: 7000, stored: 7000 });
        let kinds: Vec<(&str, u64)> = c.by_kind.iter().map(|g| (g.name.as_str(), g.totals.stored)).collect();
        assert_eq!(kinds[..3], [("binary", 2000), ("archive", 1000), ("image", 1000)]);
        let arches: Vec<(&str, usize)> = c.by_arch.iter().map(|g| (g.name.as_str(), g.totals.artifacts)).collect();
        assert_eq!(arches, [("amd64", 4), ("arm64", 1), ("any", 2)]);
    }

    #[test]
    fn sizes_read_well() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (1_999_999, "1.9 MB"),
            (999_999_999, "999.9 MB"),
            (1 << 60, "1.1 EB"),
            (u64::MAX, "18.4 EB"),
        ] {
            assert_eq!(human(bytes), text);
        }
    }
}
