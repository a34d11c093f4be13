//! The files of a bundle by name, wherever they lie: a directory, one tar, or the volumes of a split tar.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::tar_index;
use super::volumes::VolumeSet;
use crate::bundle::blob::Blob;
use crate::bundle::manifest::Digest;
use crate::error::{Context as _, Error, Result};

/// The file that names all others; first in a tar.
pub(in crate::bundle) const MANIFEST: &str = "bundle.json";
/// Where blobs are.
pub(in crate::bundle) const BLOBS: &str = "blobs/sha256/";
/// The largest file of a bundle that is ever read into memory, in bytes: bundle.json, index.json and their like.
const MAX_SMALL: u64 = 256 << 20;

/// A file of a bundle.
#[derive(Debug, Clone)]
pub(in crate::bundle) enum Item {
    /// On disk.
    Stored(Blob),
    /// Made here; small.
    Made(Vec<u8>),
}

impl Item {
    /// Its size in bytes.
    pub(in crate::bundle) fn size(&self) -> u64 {
        match self {
            Self::Stored(blob) => blob.size(),
            Self::Made(bytes) => bytes.len() as u64,
        }
    }

    /// Its bytes, blocking.
    pub(in crate::bundle) fn reader(&self) -> Box<dyn Read + '_> {
        match self {
            Self::Stored(blob) => Box::new(blob.reader()),
            Self::Made(bytes) => Box::new(bytes.as_slice()),
        }
    }
}

/// A bundle's files.
#[derive(Debug, Clone)]
pub(in crate::bundle) struct Contents {
    /// What the user named.
    pub(in crate::bundle) place: PathBuf,
    /// The volumes, when it is a split set.
    pub(in crate::bundle) volumes: Option<VolumeSet>,
    /// By name, without a leading `./`.
    pub(in crate::bundle) files: BTreeMap<String, Item>,
}

impl Contents {
    /// Looks what is at `place`: a directory, a tar, or any file of a split set. No blob is read. Blocking.
    pub(in crate::bundle) fn open(place: &Path) -> Result<Self> {
        let opening = || format!("failed to open the bundle {}", place.display());
        let missing = |e: std::io::Error| {
            Error::invalid(opening())
                .source(e)
                .hint("`provision bundle build` makes one; a half-written one stands beside its place as *.partial")
        };
        if let Some(set) = VolumeSet::find(place)? {
            let files = tar_index::index(&set.blob(), place).map_err(|e| set.blame(e))?;
            return Ok(Self { place: place.to_owned(), volumes: Some(set), files: stored(files) });
        }
        let meta = std::fs::metadata(place).map_err(missing)?;
        let files = if meta.is_dir() {
            // Before the walk: whatever directory was named by mistake is not searched.
            std::fs::metadata(place.join(MANIFEST)).map_err(missing)?;
            walk(place).map_err(|e| Error::new(e.kind(), opening()).source(e))?
        } else {
            tar_index::index(&Blob::of_file(place)?, place)?
        };
        Ok(Self { place: place.to_owned(), volumes: None, files: stored(files) })
    }

    /// A blob of the bundle.
    pub(in crate::bundle) fn blob(&self, digest: &Digest) -> Option<&Blob> {
        match self.files.get(&blob_name(digest)) {
            Some(Item::Stored(blob)) => Some(blob),
            _ => None,
        }
    }

    /// A small file as it stands; none when there is none of this name. Blocking.
    pub(in crate::bundle) fn small(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let Some(item) = self.files.get(name) else {
            return Ok(None);
        };
        if item.size() > MAX_SMALL {
            let mib = MAX_SMALL >> 20;
            return Err(Error::invalid(format!("{name} in {} has more than {mib} MiB", self.place.display())));
        }
        let mut bytes = Vec::new();
        item.reader()
            .read_to_end(&mut bytes)
            .context(|| format!("failed to read {name} of the bundle {}", self.place.display()))?;
        Ok(Some(bytes))
    }

    /// The files in the order of a tar: `bundle.json`, the other small ones, the blobs; each by name.
    pub(in crate::bundle) fn in_order(&self) -> impl Iterator<Item = (&String, &Item)> {
        let rank = |name: &str| (name != MANIFEST, name.starts_with(BLOBS));
        let mut all: Vec<_> = self.files.iter().collect();
        all.sort_by_key(|(name, _)| rank(name));
        all.into_iter()
    }

    /// The size of all files, in bytes.
    pub(in crate::bundle) fn size(&self) -> u64 {
        self.files.values().map(Item::size).sum()
    }
}

/// The name of a blob.
pub(in crate::bundle) fn blob_name(digest: &Digest) -> String {
    format!("{BLOBS}{}", digest.hex())
}

/// The digest that a blob's name promises.
pub(in crate::bundle) fn promised(name: &str) -> Option<Digest> {
    let hex = name.strip_prefix(BLOBS)?;
    // Only the form that is written: bare and in lower case.
    hex.parse().ok().filter(|d: &Digest| d.hex() == hex)
}

fn stored(files: BTreeMap<String, Blob>) -> BTreeMap<String, Item> {
    files.into_iter().map(|(name, blob)| (name, Item::Stored(blob))).collect()
}

fn walk(root: &Path) -> Result<BTreeMap<String, Blob>> {
    let (mut files, mut open) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(at) = open.pop() {
        let reading = || format!("failed to read {}", at.display());
        for entry in std::fs::read_dir(&at).context(reading)? {
            let entry = entry.context(reading)?;
            let (path, kind) = (entry.path(), entry.file_type().context(reading)?);
            if kind.is_dir() {
                open.push(path);
                continue;
            }
            if !kind.is_file() {
                return Err(Error::invalid(format!("{} is neither file nor directory", path.display()))
                    .hint("a bundle holds no links; copy it again from its medium"));
            }
            let name = path.strip_prefix(root).ok().and_then(Path::to_str).map(str::to_owned);
            let name = name
                .filter(|n| fits(n))
                .ok_or_else(|| Error::invalid(format!("{} has a name that no file of a bundle has", path.display())))?;
            files.insert(name, Blob::of_file(&path)?);
        }
    }
    Ok(files)
}

/// Whether a name stays inside the bundle and can be shown: relative, plain components, no control characters. Pure.
pub(in crate::bundle) fn fits(name: &str) -> bool {
    name.len() <= 255
        && !name.chars().any(char::is_control)
        && name.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
}
