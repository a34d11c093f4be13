//! Streaming digests of files.

use std::path::Path;

use sha2::{Digest as _, Sha256};
use tokio::io::AsyncReadExt as _;

use super::manifest::Digest;
use crate::error::{Context as _, Result};

/// The digest of a file, read in pieces of 1 MiB.
pub async fn hash_file(path: &Path) -> Result<Digest> {
    let reading = || format!("failed to read {}", path.display());
    let mut file = tokio::fs::File::open(path).await.context(reading)?;
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer).await.context(reading)? {
            0 => return Ok(Digest::from_hash(hasher.finalize().as_ref())),
            n => hasher.update(&buffer[..n]),
        }
    }
}
