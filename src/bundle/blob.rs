//! Where the bytes of a blob lie: in a file of their own, or in a stretch of one or more larger ones.

use std::io::SeekFrom;
use std::path::PathBuf;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncSeekExt as _};

use crate::error::{Context as _, Result};

/// A stretch of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The file.
    pub path: PathBuf,
    /// Where the stretch begins, in bytes.
    pub offset: u64,
    /// How long it is, in bytes.
    pub len: u64,
}

/// The bytes of a blob, in order. Nothing is opened before it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// The stretches that make it.
    pub pieces: Vec<Piece>,
}

impl Blob {
    /// Its size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.pieces.iter().map(|p| p.len).sum()
    }

    /// Reads `len` bytes from `from` on; what lies past the end is left out. Streamed: memory does not grow with it.
    pub async fn read(&self, from: u64, len: u64) -> Result<Box<dyn AsyncRead + Send + Unpin>> {
        let mut reader: Box<dyn AsyncRead + Send + Unpin> = Box::new(tokio::io::empty());
        let (mut skip, mut left) = (from, len);
        for piece in &self.pieces {
            if skip >= piece.len {
                skip -= piece.len;
                continue;
            }
            let take = left.min(piece.len - skip);
            if take == 0 {
                break;
            }
            let reading = || format!("failed to read {}", piece.path.display());
            let mut file = tokio::fs::File::open(&piece.path).await.context(reading)?;
            file.seek(SeekFrom::Start(piece.offset + skip)).await.context(reading)?;
            reader = Box::new(reader.chain(file.take(take)));
            (skip, left) = (0, left - take);
        }
        Ok(reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn any_stretch_over_pieces_is_read() {
        let dir = tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"));
        let pieces =
            [("a", "..012", 2, 3), ("b", "3456", 0, 4), ("c", "x789x", 1, 3)].map(|(name, text, offset, len)| {
                let path = dir.path().join(name);
                std::fs::write(&path, text).unwrap_or_else(|e| panic!("{e}"));
                Piece { path, offset, len }
            });
        let blob = Blob { pieces: pieces.into() };
        assert_eq!(blob.size(), 10);
        for from in 0..=10_usize {
            for len in 0..=11_usize {
                let mut text = String::new();
                let mut reader = blob.read(from as u64, len as u64).await.unwrap_or_else(|e| panic!("{e}"));
                reader.read_to_string(&mut text).await.unwrap_or_else(|e| panic!("{e}"));
                assert_eq!(text, "0123456789"[from..(from + len).min(10)], "{from} {len}");
            }
        }
    }
}
