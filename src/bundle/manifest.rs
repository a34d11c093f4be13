//! `bundle.json`: what is in a bundle. Pure data; canonical when serialised by [`BundleManifest::to_canonical_json`].

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::error::Error;
use crate::inventory::{Arch, SignatureScheme};

/// The version of `bundle.json` this program writes and the newest it reads.
pub const BUNDLE_FORMAT: u32 = 1;

/// A sha256 digest, written `sha256:<64 hex>`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(String);

impl Digest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self::from_hash(Sha256::digest(bytes).as_ref())
    }

    /// From the 32 raw bytes of a finished hash.
    #[must_use]
    pub fn from_hash(hash: &[u8]) -> Self {
        use fmt::Write as _;
        let mut hex = String::with_capacity(64);
        for byte in hash {
            let _ = write!(hex, "{byte:02x}");
        }
        Self(hex)
    }

    /// The 64 hexadecimal digits.
    #[must_use]
    pub fn hex(&self) -> &str {
        &self.0
    }

    /// The first 12 digits, for people.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

impl FromStr for Digest {
    type Err = Error;
    /// Accepts `sha256:<hex>` and bare `<hex>`, in lower or upper case.
    fn from_str(text: &str) -> Result<Self, Error> {
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        if hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()) {
            Ok(Self(hex.to_ascii_lowercase()))
        } else {
            Err(Error::invalid(format!("`{text}` is not a sha256 digest")))
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.0)
    }
}
impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}
impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The whole of `bundle.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleManifest {
    /// [`BUNDLE_FORMAT`] when written.
    pub format_version: u32,
    /// The Kubernetes version the bundle is for, like "1.36.2".
    pub kubernetes: String,
    /// The digest of the lock file the bundle was built from.
    pub lock: Digest,
    /// Everything inside, sorted by kind, name, version and arch.
    pub artifacts: Vec<Artifact>,
    /// What is put onto the cluster: releases of charts and raw manifests, with the images they need.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addons: Vec<Addon>,
}

/// Something of the inventory that is put onto the cluster from this bundle.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Addon {
    /// [`ArtifactKind::Chart`] or [`ArtifactKind::Manifest`].
    pub kind: ArtifactKind,
    /// The namespace of a release; empty for a manifest.
    pub namespace: String,
    /// The name of the release or manifest.
    pub name: String,
    /// The version of the chart; empty for a manifest.
    pub version: String,
    /// The digest of the chart or file.
    pub digest: Digest,
    /// The digest of all that the images below were found with: source, version, values, Kubernetes version.
    pub inputs: Digest,
    /// The full names of the images it showed when it was locked, sorted.
    pub images: Vec<String>,
}

/// The kind of an artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ArtifactKind {
    /// A single executable, like kubeadm.
    Binary,
    /// A tar archive (gzip) of executables, like containerd's release.
    Archive,
    /// A container image.
    Image,
    /// A Helm chart.
    Chart,
    /// A file of Kubernetes objects.
    Manifest,
    /// An operating system's package (deb, rpm) or its repository's metadata.
    Package,
    /// Any other file.
    File,
    /// A signature of upstream's over a file (with the file's name), or over an image (with cosign's name for it).
    Signature,
}

/// One artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    /// Its kind.
    pub kind: ArtifactKind,
    /// `kubeadm`, `containerd`, `cni-plugins` ...; for an image the full name with tag
    /// (`registry.k8s.io/pause:3.10`).
    pub name: String,
    /// Its version without a leading `v`; for an image its tag.
    pub version: String,
    /// The architecture it is for; none when it is for every one, like charts and manifests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch: Option<Arch>,
    /// The digest of the file; for an image of its (single-architecture) manifest.
    pub digest: Digest,
    /// The size in bytes of the file; for an image of all its blobs together.
    pub size: u64,
    /// Where it was fetched from.
    pub source: String,
    /// How it was verified upstream.
    pub verified: Verified,
    /// The digest of the OCI manifest in `index.json` that carries it (equal to `digest` for an image).
    pub manifest: Digest,
    /// Every blob a node needs for it: the file itself, or an image's manifest, config and layers.
    pub blobs: Vec<BlobRef>,
    /// The regular files inside an archive.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<Member>,
}

impl Artifact {
    /// Its architecture in words.
    #[must_use]
    pub fn arch_name(&self) -> &'static str {
        arch_name(self.arch)
    }
}

/// An architecture in words: `any` when there is none.
pub(super) fn arch_name(arch: Option<Arch>) -> &'static str {
    arch.map_or("any", Arch::as_str)
}

/// A blob in `blobs/sha256/`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlobRef {
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Its OCI media type.
    pub media_type: String,
}

/// A regular file inside an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Its path inside the archive, without a leading `./`.
    pub path: String,
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Its mode, like 0o755.
    pub mode: u32,
}

/// How an artifact was verified against its upstream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Verified {
    /// By a checksum file published beside it.
    ChecksumFile {
        /// Its URL.
        url: String,
    },
    /// By the digest in the registry's manifest chain.
    RegistryDigest,
    /// By the metadata of a package repository, whose signature was checked when it was locked.
    SignedRepository {
        /// The fingerprint of the key that signed.
        key: String,
        /// The URL of what was signed.
        release: String,
    },
    /// By upstream's own signature, checked when it was locked; the bundle holds it.
    UpstreamSignature {
        /// Its form.
        scheme: SignatureScheme,
        /// The key that made it, as the lock writes it.
        key: String,
        /// What it is for: the artifact's digest, or that of the index that an image is of.
        signed: Digest,
        /// The digest of the artifact that holds it.
        signature: Digest,
    },
    /// Upstream publishes nothing to check against: only the lock pins it.
    LockOnly,
}

impl BundleManifest {
    /// Reads the text of a `bundle.json`; `shown` names it in errors.
    ///
    /// Errors (`Invalid`): no such JSON, a newer format, a form that is not the canonical one, sizes that add up to more
    /// than 2^60 bytes.
    pub fn from_json(text: &str, shown: &str) -> Result<Self, Error> {
        let manifest: Self =
            serde_json::from_str(text).map_err(|e| Error::invalid(format!("{shown} is broken")).source(e))?;
        if manifest.format_version > BUNDLE_FORMAT {
            return Err(Error::invalid(format!("{shown} has format {}", manifest.format_version))
                .hint("it was made by a newer provision: use that one"));
        }
        if manifest.to_canonical_json() != text {
            return Err(Error::invalid(format!("{shown} is not in its canonical form: it was edited"))
                .hint("copy the bundle again from its medium"));
        }
        let sizes = manifest.artifacts.iter().flat_map(|a| {
            let (blobs, members) = (a.blobs.iter().map(|b| b.size), a.members.iter().map(|m| m.size));
            blobs.chain(members).chain([a.size])
        });
        // Whoever adds sizes up later need not look out for an overflow.
        let total = sizes.fold(0_u64, u64::saturating_add);
        if total > 1 << 60 {
            return Err(Error::invalid(format!("{shown} names sizes that no disk holds")));
        }
        Ok(manifest)
    }

    /// The one byte form: keys in the order of the types, two-space indent, a final newline, artifacts sorted.
    #[must_use]
    pub fn to_canonical_json(&self) -> String {
        let mut sorted = self.clone();
        sorted
            .artifacts
            .sort_by(|a, b| (a.kind, &a.name, &a.version, a.arch).cmp(&(b.kind, &b.name, &b.version, b.arch)));
        sorted.addons.sort();
        // Serialising plain structs to a String has no failing path.
        let mut text = serde_json::to_string_pretty(&sorted).unwrap_or_default();
        text.push('\n');
        text
    }

    /// The digest of `bundle.json`.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(self.to_canonical_json().as_bytes())
    }

    /// The artifact of this kind and name for this architecture.
    #[must_use]
    pub fn find(&self, kind: ArtifactKind, name: &str, arch: Arch) -> Option<&Artifact> {
        self.artifacts.iter().find(|a| a.kind == kind && a.name == name && a.arch.is_none_or(|a| a == arch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::sample::manifest;

    /// A chart that an earlier provision wrote down as amd64 is read as it stands, and so is its bundle's signature.
    #[test]
    fn charts_of_earlier_bundles_are_read_as_they_stand() -> Result<(), Error> {
        let mut old = manifest();
        assert!(!old.to_canonical_json().contains("\"arch\": null"));
        assert_eq!(BundleManifest::from_json(&old.to_canonical_json(), "new")?.digest(), old.digest());
        old.artifacts.iter_mut().for_each(|a| a.arch = Some(Arch::Amd64));
        let read = BundleManifest::from_json(&old.to_canonical_json(), "old")?;
        assert_eq!(read.digest(), old.digest());
        assert!(read.find(ArtifactKind::Chart, "ingress", Arch::Arm64).is_none());
        assert!(manifest().find(ArtifactKind::Chart, "ingress", Arch::Arm64).is_some());
        assert!(manifest().find(ArtifactKind::Binary, "kubeadm", Arch::Arm64).is_none());
        Ok(())
    }
}
