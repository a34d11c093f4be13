//! Charts and manifests that lie beside the inventory: kept in the cache like what is fetched.

use std::path::{Path, PathBuf};

use super::pack::{MAX_CHART, pack};
use crate::bundle::fetch::{cached, into_cache};
use crate::bundle::lockfile::Lock;
use crate::bundle::manifest::Digest;
use crate::error::{Context as _, Error, Result};
use crate::inventory::{ChartFrom, Inventory};

/// How a source in the lock says that it is a path.
pub(super) const PATH: &str = "path:";

/// Takes the charts and manifests that lie beside the inventory into the cache, where [`crate::bundle::build`] finds
/// them. What is there already is not read again: its digest is its name.
///
/// Errors (`Invalid`): one of them is not what was locked.
pub async fn keep_local(inv: &Inventory, lock: &Lock) -> Result<()> {
    let charts = lock.charts.iter().map(|c| (&c.source, &c.sha256, true));
    let manifests = lock.manifests.iter().map(|m| (&m.source, &m.sha256, false));
    for (source, digest, chart) in charts.chain(manifests) {
        let Some(path) = source.strip_prefix(PATH) else { continue };
        if cached(digest).exists() {
            continue;
        }
        let bytes =
            if chart { read_chart(inv, Path::new(path)).await? } else { read_file(inv, Path::new(path)).await? };
        let found = Digest::of(&bytes);
        if found != *digest {
            return Err(Error::invalid(format!("{path} is {found}, the lock pins {digest}"))
                .hint("`provision bundle lock` pins what is there now"));
        }
        keep(&bytes).await?;
    }
    Ok(())
}

/// A chart beside the inventory, packed.
pub(super) async fn read_chart(inv: &Inventory, path: &Path) -> Result<Vec<u8>> {
    let at = inv.dir.join(path);
    if !at.is_dir() {
        return read_file(inv, path).await;
    }
    tokio::task::spawn_blocking(move || pack(&at)).await.context(|| format!("failed to pack {}", path.display()))?
}

/// A file beside the inventory.
pub(super) async fn read_file(inv: &Inventory, path: &Path) -> Result<Vec<u8>> {
    let at = inv.dir.join(path);
    let reading = || format!("failed to read {}", at.display());
    let size = tokio::fs::metadata(&at).await.context(reading)?.len();
    if size > MAX_CHART {
        return Err(Error::invalid(format!("{} is larger than {} MiB", at.display(), MAX_CHART >> 20)));
    }
    tokio::fs::read(&at).await.context(reading)
}

/// Puts bytes into the cache and returns their digest.
pub(super) async fn keep(bytes: &[u8]) -> Result<Digest> {
    let digest = Digest::of(bytes);
    let write = async |partial: PathBuf| tokio::fs::write(partial, bytes).await;
    into_cache(&digest, Some(bytes.len() as u64), write).await?;
    Ok(digest)
}

/// The source of a chart or manifest as the lock has it, when it is a path.
pub(super) fn path_source(path: &Path) -> String {
    format!("{PATH}{}", path.display())
}

/// The form of a chart's source; an inventory that was read has one.
pub(super) fn form(chart: &crate::inventory::Chart) -> Result<ChartFrom<'_>> {
    chart.source.form().ok_or_else(|| Error::invalid(format!("release {} names no one chart", chart.name)))
}
