//! Streaming digests of files and blobs.

use std::io::Read as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::blob::Blob;
use super::manifest::Digest;
use crate::error::{Context as _, Result};

/// How much one read takes, in bytes: large enough that the calls cost nothing beside the hashing.
const STRIDE: usize = 1 << 20;

/// The digest of a file.
pub async fn hash_file(path: &Path) -> Result<Digest> {
    hash_blob(&Blob::of_file(path)?).await
}

/// The digest of a blob, off the async threads and in one stretch: as fast as the processor hashes.
pub async fn hash_blob(blob: &Blob) -> Result<Digest> {
    let of = blob.clone();
    tokio::task::spawn_blocking(move || hash_now(&of)).await.context(|| format!("failed to read {blob}"))?
}

/// The digest of a blob; blocking.
pub(super) fn hash_now(blob: &Blob) -> Result<Digest> {
    let (mut reader, mut hasher, mut buffer) = (blob.reader(), Sha256::new(), vec![0; STRIDE]);
    loop {
        match reader.read(&mut buffer).context(|| format!("failed to read {blob}"))? {
            0 => return Ok(Digest::from_hash(hasher.finalize().as_ref())),
            n => hasher.update(&buffer[..n]),
        }
    }
}
