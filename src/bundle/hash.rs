//! Streaming digests of files and blobs.

use std::path::Path;

use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::blob::Blob;
use super::manifest::Digest;
use crate::error::{Context as _, Result};

/// The digest of a file, read in pieces of 1 MiB.
pub async fn hash_file(path: &Path) -> Result<Digest> {
    let reading = || format!("failed to read {}", path.display());
    hash(tokio::fs::File::open(path).await.context(reading)?).await.context(reading)
}

/// The digest of a blob as it lies there, read in pieces of 1 MiB.
pub async fn hash_blob(blob: &Blob) -> Result<Digest> {
    hash(blob.read(0, blob.size()).await?).await.context(|| "failed to read a blob".into())
}

async fn hash(mut reader: impl AsyncRead + Unpin) -> std::io::Result<Digest> {
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        match reader.read(&mut buffer).await? {
            0 => return Ok(Digest::from_hash(hasher.finalize().as_ref())),
            n => hasher.update(&buffer[..n]),
        }
    }
}
