//! A repository's metadata: small files with a limit, and indices unpacked with one.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use futures::StreamExt as _;
use reqwest::StatusCode;

use crate::bundle::http::{ATTEMPTS, back_off, bad_status, client, is_passing, unreachable};
use crate::error::{Context as _, Error, Kind, Result};

/// More than any Release file or repomd.xml with its signature has, in bytes.
const MAX_SMALL: usize = 32 << 20;
/// More than any index has unpacked, in bytes; beyond it is a decompression bomb.
const MAX_INDEX: u64 = 1 << 30;
/// What an xz or zstd stream may ask for as its window, in bytes.
const MAX_WINDOW: u64 = 128 << 20;

/// A small file, with retries; none when it is not there.
pub(super) async fn get_small(url: &str) -> Result<Option<Vec<u8>>> {
    let client = client()?;
    let mut last = None;
    for attempt in 1..=ATTEMPTS {
        if attempt > 1 {
            back_off(attempt).await;
        }
        let answer = match client.get(url).send().await {
            Ok(answer) => answer,
            Err(e) => {
                last = Some(unreachable(url, e));
                continue;
            }
        };
        match answer.status() {
            StatusCode::NOT_FOUND => return Ok(None),
            status if status.is_success() => {}
            status if is_passing(status) => {
                last = Some(bad_status(url, status));
                continue;
            }
            status => return Err(bad_status(url, status)),
        }
        let (mut bytes, mut body, mut whole) = (Vec::new(), answer.bytes_stream(), true);
        while let Some(piece) = body.next().await {
            match piece {
                Ok(piece) => bytes.extend_from_slice(&piece),
                Err(e) => {
                    last = Some(Error::failed(format!("{url} broke off")).source(e.without_url()));
                    whole = false;
                    break;
                }
            }
            if bytes.len() > MAX_SMALL {
                return Err(Error::invalid(format!("{url} is larger than {} MiB", MAX_SMALL >> 20)));
            }
        }
        if whole {
            return Ok(Some(bytes));
        }
    }
    Err(last.unwrap_or_else(|| Error::failed(format!("{url} did not answer"))))
}

/// Calls `read` with the unpacked content of `path`, whose form is told by `name` (gz, xz, zst, or none). Blocking.
///
/// Errors (`Invalid`): more than `unpacked` bytes (or 1 GiB) come out; broken data.
pub(super) fn unpack<T>(
    path: &Path,
    name: &str,
    unpacked: Option<u64>,
    read: impl FnOnce(&mut dyn BufRead) -> Result<T>,
) -> Result<T> {
    let reading = || format!("failed to unpack {name}");
    let file = BufReader::new(std::fs::File::open(path).context(reading)?);
    let plain: Box<dyn Read> = match name.rsplit('.').next() {
        Some("gz") => Box::new(MultiGzDecoder::new(file)),
        Some("xz") => Box::new(lzma_rust2::XzReader::new_mem_limit(file, true, (MAX_WINDOW >> 10) as u32)),
        Some("zst") => Box::new(
            ruzstd::decoding::StreamingDecoder::new_with_max_window_size(file, MAX_WINDOW)
                .map_err(|e| Error::invalid(reading()).source(e.to_string()))?,
        ),
        _ => Box::new(file),
    };
    let limit = unpacked.unwrap_or(MAX_INDEX).min(MAX_INDEX);
    let mut bounded = BufReader::new(Bounded { inner: plain, left: limit });
    read(&mut bounded).map_err(|e| e.with_kind(Kind::Invalid))
}

/// Fails, rather than ends, when more comes than is allowed.
struct Bounded<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.left = self
            .left
            .checked_sub(count as u64)
            .ok_or_else(|| std::io::Error::other("more comes out of it than the repository says"))?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_decompression_bomb_is_refused() -> std::io::Result<()> {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        packed.write_all(&vec![0; 4 << 20])?;
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), packed.finish()?)?;
        let count = |unpacked| {
            unpack(file.path(), "Packages.gz", unpacked, |reader| {
                let mut all = Vec::new();
                reader.read_to_end(&mut all).context(|| "failed to read it".into())
            })
        };
        assert_eq!(count(Some(4 << 20)).ok(), Some(4 << 20));
        assert_eq!(count(None).ok(), Some(4 << 20));
        assert_eq!(count(Some(1 << 20)).map_err(|e| e.kind()), Err(Kind::Invalid));
        for name in ["Packages.xz", "Packages.zst"] {
            let broken = unpack(file.path(), name, None, |reader| {
                std::io::copy(reader, &mut std::io::sink()).context(|| "failed to read it".into())
            });
            assert_eq!(broken.map_err(|e| e.kind()), Err(Kind::Invalid), "{name}");
        }
        Ok(())
    }
}
