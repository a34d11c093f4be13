//! Blobs into a bundle that is being built: each byte is hashed once, on its way in from upstream or from the cache.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use reqwest::RequestBuilder;
use sha2::{Digest as _, Sha256};

use super::blob::Blob;
use super::fetch::{busy, fetch_held};
use super::full::Writing as _;
use super::hash::hash_file;
use super::manifest::Digest;
use crate::error::{Context as _, Error, Result};

/// How much is copied at once, in bytes.
const STRIDE: usize = 1 << 20;

/// Brings what `request` names into the bundle under construction at `dir`, by way of the cache. Returns its place there
/// and its size. What has just come was hashed as it came; what the cache had is hashed now.
pub(super) async fn bring(
    dir: &Path,
    url: &str,
    digest: &Digest,
    request: &(dyn Fn() -> Result<RequestBuilder> + Send + Sync),
    progress: &(dyn Fn(u64, u64) + Send + Sync),
) -> Result<(PathBuf, u64)> {
    // Held until it is placed: what images share comes once and is hashed once.
    let _busy = busy(digest).await;
    let (path, came) = fetch_held(url, digest, request, progress).await?;
    let size = place(dir, &path, digest, came).await?;
    Ok((path, size))
}

/// Puts a blob that the cache has into the bundle under construction at `dir`, and returns its size.
pub(super) async fn place_cached(dir: &Path, cached: &Path, digest: &Digest) -> Result<u64> {
    let _busy = busy(digest).await;
    place(dir, cached, digest, false).await
}

/// A hard link when the file system allows it: the cache's files are never written to again. Else a copy. `hashed`: that
/// it is what it should be is known already.
async fn place(dir: &Path, cached: &Path, digest: &Digest, hashed: bool) -> Result<u64> {
    let target = dir.join("blobs/sha256").join(digest.hex());
    let placing = || format!("failed to look at {}", target.display());
    // The directory was empty when the build began: another image has the same layer, and placed it.
    if tokio::fs::try_exists(&target).await.context(placing)? {
        return Ok(tokio::fs::metadata(&target).await.context(placing)?.len());
    }
    let found = if tokio::fs::hard_link(cached, &target).await.is_ok() {
        if hashed { None } else { Some(hash_file(cached).await?) }
    } else {
        let (from, dir, to) = (cached.to_owned(), dir.to_owned(), target.clone());
        let copied = tokio::task::spawn_blocking(move || copy(&from, &dir, &to, hashed));
        copied.await.context(|| format!("failed to write {}", target.display()))??
    };
    if let Some(found) = found.filter(|found| found != digest) {
        for path in [&target, cached] {
            let _ = tokio::fs::remove_file(path).await;
        }
        return Err(Error::invalid(format!("the cached blob {digest} hashes to {found}; it was removed"))
            .hint("run the same command again: it is fetched anew"));
    }
    Ok(tokio::fs::metadata(&target).await.context(placing)?.len())
}

/// Copies, and hashes on the way what is not `hashed`. Blocking.
fn copy(from: &Path, dir: &Path, to: &Path, hashed: bool) -> Result<Option<Digest>> {
    let blob = Blob::of_file(from)?;
    let size = Some(blob.size());
    let mut beside = beside(dir).writing(to, size)?;
    let (mut reader, mut hasher, mut buffer) = (blob.reader(), Sha256::new(), vec![0; STRIDE]);
    loop {
        let read = reader.read(&mut buffer).context(|| format!("failed to read {}", from.display()))?;
        if read == 0 {
            break;
        }
        if !hashed {
            hasher.update(&buffer[..read]);
        }
        beside.write_all(&buffer[..read]).writing(to, size)?;
    }
    beside.persist(to).map_err(|e| e.error).writing(to, size)?;
    Ok((!hashed).then(|| Digest::from_hash(hasher.finalize().as_ref())))
}

/// Writes a small blob that was made here. Beside its place first: what stands there may be the cache's own file.
pub(super) async fn write_blob(dir: &Path, bytes: &[u8]) -> Result<Digest> {
    let digest = Digest::of(bytes);
    let (to, dir, bytes) = (dir.join("blobs/sha256").join(digest.hex()), dir.to_owned(), bytes.to_owned());
    let writing = || format!("failed to write the blob {digest}");
    let written = tokio::task::spawn_blocking(move || {
        let size = Some(bytes.len() as u64);
        let mut beside = beside(&dir).writing(&to, size)?;
        beside.write_all(&bytes).writing(&to, size)?;
        beside.persist(&to).map_err(|e| e.error).writing(&to, size)
    });
    written.await.context(writing)??;
    Ok(digest)
}

fn beside(dir: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    // A bundle is carried and read by others.
    tempfile::Builder::new().permissions(std::fs::Permissions::from_mode(0o644)).tempfile_in(dir)
}
