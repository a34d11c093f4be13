//! Removing the blobs of a bundle's directory that nothing in it leads to.

use std::path::Path;

use super::form::{BLOBS, promised};
use super::reach::reached;
use super::store::Bundle;
use crate::error::{Context as _, Error, Result};

/// Removes the files among the blobs of the directory `dir` that neither `bundle.json` nor `index.json` leads to.
/// Returns their number and bytes. Blocking.
///
/// Errors: a tar, a delta, or a bundle with gaps is left alone (`Invalid`).
pub fn prune(dir: &Path) -> Result<(u64, u64)> {
    let bundle = Bundle::open(dir)?;
    if !dir.is_dir() {
        return Err(Error::invalid(format!("{} is no directory: only that form is pruned", dir.display()))
            .hint("`provision bundle unpack`, prune, `provision bundle pack`"));
    }
    let kept = reached(&bundle.contents, &bundle.manifest);
    if !kept.problems.is_empty() {
        return Err(Error::invalid(format!(
            "{} has gaps; nothing was removed:\n  {}",
            dir.display(),
            kept.problems.join("\n  ")
        ))
        .hint("`provision bundle verify` tells all"));
    }
    let stray = |name: &str| name.starts_with(BLOBS) && promised(name).is_none_or(|d| !kept.blobs.contains_key(&d));
    let (mut count, mut bytes) = (0, 0);
    for (name, item) in bundle.contents.files.iter().filter(|(name, _)| stray(name)) {
        let path = dir.join(name);
        std::fs::remove_file(&path).context(|| format!("failed to remove {}", path.display()))?;
        (count, bytes) = (count + 1, bytes + item.size());
    }
    Ok((count, bytes))
}
