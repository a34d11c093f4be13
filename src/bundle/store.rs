//! A bundle, opened where it lies.

use std::path::{Path, PathBuf};

use super::blob::Blob;
use super::delta::{DELTA, Delta};
use super::form::{Contents, MANIFEST};
use super::manifest::{BundleManifest, Digest};
use crate::error::{Error, Result};

/// A bundle on disk: a directory, a tar, or a split tar. Nothing is unpacked.
#[derive(Debug, Clone)]
pub struct Bundle {
    pub(super) contents: Contents,
    pub(super) manifest: BundleManifest,
    pub(super) delta: Option<Delta>,
}

impl Bundle {
    /// Opens a whole bundle. Cheap: no blob is looked at.
    ///
    /// Errors (`Invalid`): not there, damaged, a volume missing, or a delta: it names what it lacks.
    pub fn open(place: &Path) -> Result<Self> {
        let bundle = Self::open_any(place)?;
        match &bundle.delta {
            Some(delta) => Err(delta.partial(place)),
            None => Ok(bundle),
        }
    }

    /// Opens a bundle that may be a delta.
    pub fn open_any(place: &Path) -> Result<Self> {
        let contents = Contents::open(place)?;
        let shown = place.join(MANIFEST);
        let bytes = contents.small(MANIFEST)?.ok_or_else(|| {
            Error::invalid(format!("{} is no bundle: it has no {MANIFEST}", place.display()))
                .hint("`provision bundle build` makes one")
        })?;
        let delta = contents.small(DELTA)?.map(|bytes| Delta::parse(&bytes, place)).transpose()?;
        Ok(Self { manifest: parse_manifest(&bytes, &shown)?, contents, delta })
    }

    /// What is inside.
    #[must_use]
    pub fn manifest(&self) -> &BundleManifest {
        &self.manifest
    }

    /// The files in `signatures/` by name, with their bytes; none when nobody has signed. Blocking.
    pub fn signatures(&self) -> Result<Vec<(String, Vec<u8>)>> {
        super::sign::stored(&self.contents)
    }

    /// What was left out of it; none when it is whole.
    #[must_use]
    pub fn delta(&self) -> Option<&Delta> {
        self.delta.as_ref()
    }

    /// The digest of `bundle.json`.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.manifest.digest()
    }

    /// What was opened, as the user named it.
    #[must_use]
    pub fn place(&self) -> &PathBuf {
        &self.contents.place
    }

    /// The bytes of a blob; an error when the bundle has none of this digest, or one of the wrong size.
    pub fn blob(&self, digest: &Digest) -> Result<Blob> {
        let lacks = |what: String| {
            Error::invalid(format!("the bundle {} {what}", self.place().display()))
                .hint("`provision bundle verify` tells what else is wrong; copy it again from its medium")
        };
        let blob = self.contents.blob(digest).ok_or_else(|| lacks(format!("has no blob {digest}")))?;
        let named = self.manifest.artifacts.iter().flat_map(|a| &a.blobs).find(|b| b.digest == *digest);
        match named {
            Some(named) if named.size != blob.size() => {
                Err(lacks(format!("has {} bytes of the blob {digest}, {} expected", blob.size(), named.size)))
            }
            _ => Ok(blob.clone()),
        }
    }

    /// A small file of the bundle as it stands, like `index.json`; none when there is none of this name. Blocking.
    pub fn file(&self, name: &str) -> Result<Option<Vec<u8>>> {
        self.contents.small(name)
    }
}

/// Reads a `bundle.json`; `shown` is where it lies.
///
/// Errors (`Invalid`): no text, broken, of a newer format, or not in its one canonical form.
pub(super) fn parse_manifest(bytes: &[u8], shown: &Path) -> Result<BundleManifest> {
    let shown = shown.display().to_string();
    let text = std::str::from_utf8(bytes).map_err(|e| Error::invalid(format!("{shown} is no text")).source(e))?;
    BundleManifest::from_json(text, &shown)
}
