//! The body of an answer: a blob, hashed on its way out and cut off when it is not what its digest says; counted for the
//! access log.

use std::io::{self, Write as _};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use futures::{Stream, TryStreamExt as _};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Body, Frame, SizeHint};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncRead;
use tokio_util::io::ReaderStream;

use crate::bundle::Digest;

/// How much of a blob is read at once, in bytes.
const PIECE: usize = 256 << 10;

/// A line of the log. A log that is gone stops nobody from pulling.
pub(super) fn say(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Whether a blob was ever proven to be what its digest says.
#[derive(Debug, Default)]
pub(super) struct Proof(AtomicU8);

/// What is known of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    Nothing,
    Sound,
    Damaged,
}

impl Proof {
    pub(super) fn get(&self) -> Known {
        match self.0.load(Ordering::Acquire) {
            0 => Known::Nothing,
            1 => Known::Sound,
            _ => Known::Damaged,
        }
    }

    /// Writes down what a whole reading found, and says it when that is bad.
    pub(super) fn set(&self, digest: &Digest, found: &Digest) -> Known {
        let known = if digest == found { Known::Sound } else { Known::Damaged };
        if known == Known::Damaged {
            say(&format!(
                "the blob {digest} of the bundle is damaged: it hashes to {found}; it is not served any more"
            ));
        }
        self.0.store(if known == Known::Sound { 1 } else { 2 }, Ordering::Release);
        known
    }
}

pub(super) type Bytestream = UnsyncBoxBody<Bytes, io::Error>;

/// A body of bytes that are at hand.
pub(super) fn full(bytes: impl Into<Bytes>) -> Bytestream {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A part of a blob that was proven before, or a blob that need not be.
pub(super) fn plain(reader: impl AsyncRead + Send + 'static) -> Bytestream {
    StreamBody::new(ReaderStream::with_capacity(reader, PIECE).map_ok(Frame::data)).boxed_unsync()
}

/// A whole blob of `size` bytes. Its last piece is held back until the hash is known: a client never gets all of a blob
/// that is not what was asked for.
pub(super) fn proven(
    reader: impl AsyncRead + Send + Unpin + 'static,
    digest: Digest,
    size: u64,
    proof: Arc<Proof>,
) -> Bytestream {
    let pieces = ReaderStream::with_capacity(reader, PIECE);
    let checked = futures::stream::try_unfold((pieces, Sha256::new(), 0), move |(mut pieces, mut hasher, sent)| {
        let (digest, proof) = (digest.clone(), Arc::clone(&proof));
        async move {
            let Some(piece) = pieces.try_next().await? else { return Ok(None) };
            hasher.update(&piece);
            let sent = sent + piece.len() as u64;
            if sent >= size {
                let found = Digest::from_hash(hasher.clone().finalize().as_ref());
                if proof.set(&digest, &found) == Known::Damaged {
                    return Err(io::Error::other("the blob is damaged"));
                }
            }
            Ok(Some((Frame::data(piece), (pieces, hasher, sent))))
        }
    });
    StreamBody::new(Box::pin(checked) as Pin<Box<dyn Stream<Item = io::Result<Frame<Bytes>>> + Send>>).boxed_unsync()
}

/// Writes a line of the access log when the answer is gone, or is given up.
pub(super) struct Logged {
    body: Bytestream,
    line: Option<String>,
    begun: Instant,
    sent: u64,
}

impl Logged {
    /// `line` is what goes before the bytes and the seconds; `None` logs nothing.
    pub(super) fn new(body: Bytestream, line: Option<String>, begun: Instant) -> Self {
        Self { body, line, begun, sent: 0 }
    }
}

impl Body for Logged {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.sent += frame.data_ref().map_or(0, |d| d.len() as u64);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Logged {
    fn drop(&mut self) {
        if let Some(line) = &self.line {
            say(&format!("{line} {} bytes {:.3} s", self.sent, self.begun.elapsed().as_secs_f64()));
        }
    }
}
