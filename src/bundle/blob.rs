//! Where the bytes of a blob lie: in a file of their own, or in a stretch of one or more larger ones.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use tokio::io::AsyncRead;
use tokio_util::io::StreamReader;

use crate::error::{Context as _, Result};

/// How much one asynchronous read takes, in bytes.
const STRIDE: usize = 256 << 10;

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
    /// The whole of a file.
    pub fn of_file(path: &Path) -> Result<Self> {
        let len = std::fs::metadata(path).context(|| format!("failed to look at {}", path.display()))?.len();
        Ok(Self { pieces: vec![Piece { path: path.to_owned(), offset: 0, len }] })
    }

    /// Its size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.pieces.iter().map(|p| p.len).sum()
    }

    /// The `len` bytes from `from` on; what lies past the end is left out.
    #[must_use]
    pub fn slice(&self, from: u64, len: u64) -> Self {
        let (mut skip, mut left) = (from, len);
        let mut pieces = Vec::new();
        for piece in &self.pieces {
            if left == 0 {
                break;
            }
            if skip >= piece.len {
                skip -= piece.len;
                continue;
            }
            let len = left.min(piece.len - skip);
            pieces.push(Piece { path: piece.path.clone(), offset: piece.offset + skip, len });
            (skip, left) = (0, left - len);
        }
        Self { pieces }
    }

    /// Its bytes, blocking. A file that has become shorter is an error, never a silent end.
    #[must_use]
    pub fn reader(&self) -> BlobReader {
        BlobReader { pieces: self.pieces.clone(), at: 0, done: 0, open: None }
    }

    /// Reads `len` bytes from `from` on; what lies past the end is left out. Streamed: memory does not grow with it.
    pub async fn read(&self, from: u64, len: u64) -> Result<Box<dyn AsyncRead + Send + Unpin>> {
        let mut reader = self.slice(from, len).reader();
        // Here and not at the first byte: a blob that is gone is known before anything is promised.
        let reader =
            blocking(move || reader.ready().map(|()| reader)).await.context(|| format!("failed to read {self}"))?;
        let pieces = futures::stream::try_unfold(reader, |mut reader| {
            blocking(move || {
                let mut bytes = vec![0; STRIDE];
                let read = reader.read(&mut bytes)?;
                bytes.truncate(read);
                Ok((read > 0).then(|| (io::Cursor::new(bytes), reader)))
            })
        });
        Ok(Box::new(StreamReader::new(Box::pin(pieces))))
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

impl fmt::Display for Blob {
    /// Where it lies, for messages.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pieces.as_slice() {
            [] => f.write_str("no bytes"),
            [first, rest @ ..] => {
                write!(f, "{}", first.path.display())?;
                if first.offset > 0 {
                    write!(f, " from byte {} on", first.offset)?;
                }
                if rest.is_empty() { Ok(()) } else { write!(f, " and {} more files", rest.len()) }
            }
        }
    }
}

/// Reads a [`Blob`], blocking, one file open at a time.
#[derive(Debug)]
pub struct BlobReader {
    pieces: Vec<Piece>,
    at: usize,
    /// Bytes of the present piece that are read.
    done: u64,
    open: Option<File>,
}

impl BlobReader {
    /// Opens the file that is next.
    fn ready(&mut self) -> io::Result<()> {
        while self.pieces.get(self.at).is_some_and(|p| self.done == p.len) {
            (self.at, self.done, self.open) = (self.at + 1, 0, None);
        }
        if let (Some(piece), None) = (self.pieces.get(self.at), &self.open) {
            let mut file = File::open(&piece.path).map_err(|e| named(piece, &e))?;
            file.seek(SeekFrom::Start(piece.offset + self.done)).map_err(|e| named(piece, &e))?;
            // As sha256sum does: the kernel reads further ahead. Advice: a file system that takes none is as good.
            let _ = rustix::fs::fadvise(&file, piece.offset, None, rustix::fs::Advice::Sequential);
            self.open = Some(file);
        }
        Ok(())
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.ready()?;
        let (Some(piece), Some(file)) = (self.pieces.get(self.at), &mut self.open) else {
            return Ok(0);
        };
        let most = usize::try_from(piece.len - self.done).unwrap_or(usize::MAX).min(buffer.len());
        let read = file.read(&mut buffer[..most]).map_err(|e| named(piece, &e))?;
        if read == 0 && most > 0 {
            let missing = piece.len - self.done;
            let text = format!("{} ends {missing} bytes too early", piece.path.display());
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
        }
        self.done += read as u64;
        Ok(read)
    }
}

fn named(piece: &Piece, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", piece.path.display()))
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    fn three(dir: &Path) -> Blob {
        let pieces =
            [("a", "..012", 2, 3), ("b", "3456", 0, 4), ("c", "x789x", 1, 3)].map(|(name, text, offset, len)| {
                let path = dir.join(name);
                std::fs::write(&path, text).unwrap_or_else(|e| panic!("{e}"));
                Piece { path, offset, len }
            });
        Blob { pieces: pieces.into() }
    }

    #[tokio::test]
    async fn any_stretch_over_pieces_is_read() {
        let dir = tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"));
        let blob = three(dir.path());
        assert_eq!(blob.size(), 10);
        for from in 0..=10_usize {
            for len in 0..=11_usize {
                let mut text = String::new();
                let mut reader = blob.read(from as u64, len as u64).await.unwrap_or_else(|e| panic!("{e}"));
                reader.read_to_string(&mut text).await.unwrap_or_else(|e| panic!("{e}"));
                assert_eq!(text, "0123456789"[from..(from + len).min(10)], "{from} {len}");
                let slice = blob.slice(from as u64, len as u64);
                assert_eq!(slice.size(), text.len() as u64);
                let again = std::io::read_to_string(slice.reader()).unwrap_or_else(|e| panic!("{e}"));
                assert_eq!(again, text);
            }
        }
    }

    #[tokio::test]
    async fn a_file_that_has_become_shorter_is_an_error() {
        let dir = tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"));
        let blob = three(dir.path());
        std::fs::write(dir.path().join("b"), "34").unwrap_or_else(|e| panic!("{e}"));
        let mut text = String::new();
        let mut reader = blob.read(0, 10).await.unwrap_or_else(|e| panic!("{e}"));
        let error = reader.read_to_string(&mut text).await.map_err(|e| e.to_string());
        assert!(error.is_err_and(|e| e.ends_with("b ends 2 bytes too early")));
        std::fs::remove_file(dir.path().join("c")).unwrap_or_else(|e| panic!("{e}"));
        assert!(blob.read(7, 1).await.is_err());
    }
}
