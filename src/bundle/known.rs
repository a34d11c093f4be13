//! What a path names that tells the contents of a bundle: a lock, a `bundle.json`, or a bundle itself.

use std::io::Read as _;
use std::path::Path;

use super::lockfile::Lock;
use super::manifest::BundleManifest;
use super::store::{Bundle, parse_manifest};
use crate::error::{Context as _, Result};

/// A lock, a manifest or a bundle.
#[derive(Debug, Clone)]
pub enum Known {
    /// `bundle.lock.toml`
    Lock(Lock),
    /// A `bundle.json` by itself.
    Manifest(BundleManifest),
    /// A bundle in any form, or a delta.
    Bundle(Bundle),
}

impl Known {
    /// Reads what is at `path`, whatever its name. Blocking.
    pub fn load(path: &Path) -> Result<Self> {
        let reading = || format!("failed to read {}", path.display());
        if !path.is_file() {
            return Bundle::open_any(path).map(Self::Bundle);
        }
        let mut start = Vec::new();
        std::fs::File::open(path).and_then(|f| f.take(512).read_to_end(&mut start)).context(reading)?;
        if start.first() == Some(&b'{') {
            let bytes = std::fs::read(path).context(reading)?;
            return parse_manifest(&bytes, path).map(Self::Manifest);
        }
        // A lock is text; a tar's header has zeros in it, and so have most stretches of a volume.
        let numbered = path.extension().is_some_and(|e| e == "volumes" || e.to_string_lossy().parse::<u16>().is_ok());
        if numbered || start.contains(&0) {
            return Bundle::open_any(path).map(Self::Bundle);
        }
        Lock::load(path).map(Self::Lock)
    }
}
