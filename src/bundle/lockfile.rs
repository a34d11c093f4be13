//! The lock: every byte a bundle will hold, pinned by digest. TOML, kept in git, sorted, deterministic.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::limit::read_text;
use super::manifest::{ArtifactKind, Digest};
use super::packages::LockedPackage;
use crate::error::{Context as _, Error, Result};
use crate::inventory::{Arch, SignatureScheme};

/// The version of the lock format.
pub const LOCK_FORMAT: u32 = 1;

/// A lock file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// [`LOCK_FORMAT`]
    pub format_version: u32,
    /// The Kubernetes version.
    pub kubernetes: String,
    /// Files.
    #[serde(rename = "file", default)]
    pub files: Vec<LockedFile>,
    /// Images.
    #[serde(rename = "image", default)]
    pub images: Vec<LockedImage>,
    /// Releases of charts.
    #[serde(rename = "chart", default, skip_serializing_if = "Vec::is_empty")]
    pub charts: Vec<LockedChart>,
    /// Raw manifests.
    #[serde(rename = "manifest", default, skip_serializing_if = "Vec::is_empty")]
    pub manifests: Vec<LockedManifest>,
    /// Packages of the operating system.
    #[serde(rename = "package", default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<LockedPackage>,
    /// Upstream's own signatures of files and images, checked when they were locked.
    #[serde(rename = "signature", default, skip_serializing_if = "Vec::is_empty")]
    pub signatures: Vec<LockedSignature>,
}

/// A pinned signature of upstream's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedSignature {
    /// The name of the file, or the full name of the image.
    pub name: String,
    /// The architecture of the file; none for an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch: Option<Arch>,
    /// Its form.
    pub scheme: SignatureScheme,
    /// The key that made it: the digest of cosign's, the id of minisign's, the fingerprint of OpenPGP's.
    pub key: String,
    /// What it is for: the digest of the file, or of the image's index or manifest.
    pub signed: Digest,
    /// The digest of the signature's file, or of the manifest that carries cosign's.
    pub sha256: Digest,
    /// Where it is fetched from.
    pub url: String,
}

/// A pinned chart, as one release uses it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedChart {
    /// The name of the release.
    pub name: String,
    /// The namespace of the release.
    pub namespace: String,
    /// The name of the chart.
    pub chart: String,
    /// The version of the chart.
    pub version: String,
    /// The digest of the packed chart.
    pub sha256: Digest,
    /// The URL of the packed chart, `oci://REGISTRY/PATH/NAME`, or `path:` and a path relative to the inventory.
    pub source: String,
    /// The digest of the OCI manifest that carries it, when it comes from a registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Digest>,
    /// The repository's index, when that names the chart's digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index_url: Option<String>,
    /// The digest of all that the images were found with.
    pub inputs: Digest,
    /// The images it names when rendered.
    pub images: Vec<String>,
}

/// A pinned file of Kubernetes objects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedManifest {
    /// Its name in the inventory.
    pub name: String,
    /// Its digest.
    pub sha256: Digest,
    /// Its URL, or `path:` and a path relative to the inventory.
    pub source: String,
    /// The digest of all that the images were found with.
    pub inputs: Digest,
    /// The images it names.
    pub images: Vec<String>,
}

/// A pinned file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedFile {
    /// Binary or archive.
    pub kind: ArtifactKind,
    /// `kubeadm`, `containerd` ...
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its architecture.
    pub arch: Arch,
    /// Its digest.
    pub sha256: Digest,
    /// Where it is fetched from.
    pub url: String,
    /// Where its checksum was published; none when upstream publishes none and only this lock pins it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum_url: Option<String>,
}

/// A pinned image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedImage {
    /// Its full name with tag.
    pub name: String,
    /// What the tag named when it was locked (an index or a manifest).
    pub digest: Digest,
    /// The manifest of each architecture.
    pub manifests: BTreeMap<String, Digest>,
}

impl Lock {
    /// As written to disk.
    pub fn to_toml(&self) -> Result<String> {
        let mut sorted = self.clone();
        sorted.sort();
        let body = toml::to_string(&sorted).context(|| "failed to write the lock".into())?;
        Ok(format!(
            "# Made by `provision bundle lock`. Keep it in git; `provision bundle build` makes the bundle from it.\n{body}"
        ))
    }

    /// Puts everything in the order in which it is written.
    pub(super) fn sort(&mut self) {
        self.files.sort_by(|a, b| (a.kind, &a.name, a.arch).cmp(&(b.kind, &b.name, b.arch)));
        self.images.sort_by(|a, b| a.name.cmp(&b.name));
        self.charts.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        self.manifests.sort_by(|a, b| a.name.cmp(&b.name));
        self.packages.sort_by(|a, b| (a.kind, &a.name, a.arch).cmp(&(b.kind, &b.name, b.arch)));
        self.signatures.sort();
    }

    /// The digest that the `bundle.json` of a bundle made from it carries.
    pub fn digest(&self) -> Result<Digest> {
        Ok(Digest::of(self.to_toml()?.as_bytes()))
    }

    /// Reads a lock.
    pub fn load(path: &Path) -> Result<Self> {
        let text = read_text(path).map_err(|e| {
            Error::invalid(format!("failed to read the lock {}", path.display()))
                .source(e)
                .hint("`provision bundle lock` makes one")
        })?;
        Self::from_toml(&text, &path.display().to_string())
    }

    /// Reads the text of a lock; `shown` names it in errors.
    pub fn from_toml(text: &str, shown: &str) -> Result<Self> {
        let lock: Self =
            toml::from_str(text).map_err(|e| Error::invalid(format!("the lock {shown} is broken")).source(e))?;
        if lock.format_version > LOCK_FORMAT {
            return Err(Error::invalid(format!("the lock {shown} has format {}", lock.format_version))
                .hint("it was made by a newer provision: use that one"));
        }
        Ok(lock)
    }
}
