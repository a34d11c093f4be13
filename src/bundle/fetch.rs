//! Downloads into a content-addressed cache: streamed, hashed on the way, resumed, tried again.

use std::path::{Path, PathBuf};

use futures::StreamExt as _;
use reqwest::{RequestBuilder, StatusCode, header};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{Mutex, MutexGuard};

use super::full::Writing as _;
use super::http::{ATTEMPTS, back_off, bad_status, is_passing, unreachable};
use super::manifest::Digest;
use crate::error::{Context as _, Error, Result};

/// Where downloads are kept: `$PROVISION_CACHE`, else `~/.cache/provision`.
#[must_use]
pub fn cache_dir() -> PathBuf {
    std::env::var_os("PROVISION_CACHE")
        .map_or_else(|| std::env::home_dir().unwrap_or_default().join(".cache/provision"), PathBuf::from)
}

/// The cache's place for a blob.
pub(super) fn cached(digest: &Digest) -> PathBuf {
    cache_dir().join("blobs/sha256").join(digest.hex())
}

/// Puts what is not fetched into the cache: `write` makes it at a place of its own, which is renamed when it is whole.
/// `size` is in bytes, when it is known before.
pub(super) async fn into_cache(
    digest: &Digest,
    size: Option<u64>,
    write: impl AsyncFnOnce(PathBuf) -> std::io::Result<()>,
) -> Result<()> {
    let target = cached(digest);
    let dir = target.parent().unwrap_or(Path::new("."));
    tokio::fs::create_dir_all(dir).await.writing(dir, None)?;
    // A name of its own: two programs may keep the same bytes at once.
    let partial = dir.join(format!("{}.{}.partial", digest.hex(), std::process::id()));
    let written = async {
        write(partial.clone()).await?;
        tokio::fs::File::open(&partial).await?.sync_all().await?;
        tokio::fs::rename(&partial, &target).await
    };
    let written = written.await;
    if written.is_err() {
        let _ = tokio::fs::remove_file(&partial).await;
    }
    written.writing(&target, size)
}

/// Fetches what `request` (called once per attempt) names into the cache and returns its path. A blob that is in the
/// cache is taken from there: it was hashed when it came, and a build hashes it again.
pub(super) async fn fetch(
    url: &str,
    digest: &Digest,
    request: &(dyn Fn() -> Result<RequestBuilder> + Send + Sync),
    progress: &(dyn Fn(u64, u64) + Send + Sync),
) -> Result<PathBuf> {
    let _busy = busy(digest).await;
    Ok(fetch_held(url, digest, request, progress).await?.0)
}

/// As [`fetch`], for who holds [`busy`]. Tells too whether it came just now, and was hashed on its way.
pub(super) async fn fetch_held(
    url: &str,
    digest: &Digest,
    request: &(dyn Fn() -> Result<RequestBuilder> + Send + Sync),
    progress: &(dyn Fn(u64, u64) + Send + Sync),
) -> Result<(PathBuf, bool)> {
    let target = cached(digest);
    if tokio::fs::try_exists(&target).await.unwrap_or(false) {
        return Ok((target, false));
    }
    let partial = cache_dir().join("partial").join(digest.hex());
    for dir in [&partial, &target].into_iter().filter_map(|p| p.parent()) {
        tokio::fs::create_dir_all(dir).await.writing(dir, None)?;
    }
    let mut last = None;
    for attempt in 1..=ATTEMPTS {
        if attempt > 1 {
            back_off(attempt).await;
        }
        match once(url, &partial, request, progress).await {
            Ok(found) if found == *digest => {
                tokio::fs::rename(&partial, &target).await.writing(&target, None)?;
                return Ok((target, true));
            }
            Ok(found) => {
                // A resumed half may be of another file; only a download in one piece proves the server wrong.
                let _ = tokio::fs::remove_file(&partial).await;
                last = Some(Error::invalid(format!("{url} hashes to {found}, expected {digest}")).hint(
                    "nothing of it was kept; upstream changed the file after it was locked, or the way to it changes bytes",
                ));
                if attempt >= 2 {
                    break;
                }
            }
            Err(Failure { error, passing: true }) => last = Some(error),
            Err(Failure { error, passing: false }) => return Err(error),
        }
    }
    Err(last.unwrap_or_else(|| Error::failed(format!("{url} did not answer"))))
}

/// Held while a blob with this first byte is fetched: one at a time writes a partial file.
static BUSY: [Mutex<()>; 256] = [const { Mutex::const_new(()) }; 256];

/// Images share layers and are fetched side by side: the second waits, and finds it in the cache.
pub(super) async fn busy(digest: &Digest) -> MutexGuard<'static, ()> {
    BUSY[first_byte(digest)].lock().await
}

fn first_byte(digest: &Digest) -> usize {
    // A digest is 64 hexadecimal digits.
    usize::from_str_radix(&digest.hex()[..2], 16).unwrap_or(0)
}

struct Failure {
    error: Error,
    /// Trying again may help.
    passing: bool,
}

fn passing(error: Error) -> Failure {
    Failure { error, passing: true }
}

fn lasting(error: Error) -> Failure {
    Failure { error, passing: false }
}

async fn once(
    url: &str,
    partial: &Path,
    request: &(dyn Fn() -> Result<RequestBuilder> + Send + Sync),
    progress: &(dyn Fn(u64, u64) + Send + Sync),
) -> std::result::Result<Digest, Failure> {
    let (mut hasher, mut have) = hash_start(partial).await.map_err(lasting)?;
    let mut builder = request().map_err(lasting)?;
    if have > 0 {
        builder = builder.header(header::RANGE, format!("bytes={have}-"));
    }
    let answer = builder.send().await.map_err(|e| passing(unreachable(url, e)))?;
    let status = answer.status();
    if status == StatusCode::RANGE_NOT_SATISFIABLE {
        // All of it is here already; the hash tells.
        return Ok(Digest::from_hash(hasher.finalize().as_ref()));
    }
    if !status.is_success() {
        let error = bad_status(url, status);
        return Err(if is_passing(status) { passing(error) } else { lasting(error) });
    }
    if status != StatusCode::PARTIAL_CONTENT && have > 0 {
        (hasher, have) = (Sha256::new(), 0);
    }
    let total = have + answer.content_length().unwrap_or(0);
    let mut file = tokio::fs::OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(have == 0)
        .append(have > 0)
        .open(partial)
        .await
        .writing(partial, Some(total))
        .map_err(lasting)?;
    let mut body = answer.bytes_stream();
    while let Some(piece) = body.next().await {
        let piece = match piece {
            Ok(piece) => piece,
            Err(e) => {
                // What came is kept for the next attempt.
                let _ = file.flush().await;
                return Err(passing(
                    Error::failed(format!("{url} broke off after {have} bytes")).source(e.without_url()),
                ));
            }
        };
        file.write_all(&piece).await.writing(partial, Some(total)).map_err(lasting)?;
        hasher.update(&piece);
        have += piece.len() as u64;
        progress(have, total.max(have));
    }
    file.flush().await.writing(partial, Some(total)).map_err(lasting)?;
    file.sync_all().await.writing(partial, Some(total)).map_err(lasting)?;
    if have < total {
        return Err(passing(Error::failed(format!("{url} ended after {have} of {total} bytes"))));
    }
    Ok(Digest::from_hash(hasher.finalize().as_ref()))
}

async fn hash_start(partial: &Path) -> Result<(Sha256, u64)> {
    let reading = || format!("failed to read {}", partial.display());
    let mut hasher = Sha256::new();
    let Ok(mut file) = tokio::fs::File::open(partial).await else {
        return Ok((hasher, 0));
    };
    let (mut buffer, mut have) = (vec![0; 1 << 20], 0);
    loop {
        match file.read(&mut buffer).await.context(reading)? {
            0 => return Ok((hasher, have)),
            n => {
                hasher.update(&buffer[..n]);
                have += n as u64;
            }
        }
    }
}
