//! One blob or manifest into a registry, by the pushing half of the distribution protocol.

use reqwest::header::RANGE;
use reqwest::{Method, Response, StatusCode, Url};

use super::remote::{Carried, Failure, Remote};
use crate::bundle::{ATTEMPTS, Blob, Digest, back_off};
use crate::error::{Error, Result};

/// What goes in one request, in bytes: small enough to be sent again, and for the limits of proxies before registries.
const CHUNK: u64 = 16 << 20;

/// How a blob came to be in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Came {
    /// It was there.
    Present,
    /// The registry took it from another repository of its own.
    Mounted,
    /// It was sent.
    Sent,
}

fn push_scope(repository: &str) -> String {
    format!("repository:{repository}:pull,push")
}

impl Remote {
    /// Whether this is a registry, and lets us in.
    pub(super) async fn check(&self) -> Result<()> {
        self.send(&Method::GET, &self.url(""), &[], Carried::Nothing, &[StatusCode::OK]).await.map(drop)
    }

    /// Whether the repository has the blob.
    pub(super) async fn has_blob(&self, repository: &str, digest: &Digest) -> Result<bool> {
        let url = self.url(&format!("{repository}/blobs/{digest}"));
        self.is_there(&url, repository, Carried::Nothing).await.map(|a| a.is_some())
    }

    /// What the repository has by this tag or digest, as the registry says it.
    pub(super) async fn manifest_digest(&self, repository: &str, reference: &str) -> Result<Option<String>> {
        let url = self.url(&format!("{repository}/manifests/{reference}"));
        let answer = self.is_there(&url, repository, Carried::AcceptManifests).await?;
        Ok(answer.map(|a| {
            let digest = a.headers().get("docker-content-digest").and_then(|d| d.to_str().ok());
            digest.unwrap_or_default().to_owned()
        }))
    }

    async fn is_there(&self, url: &Url, repository: &str, carried: Carried<'_>) -> Result<Option<Response>> {
        let fine = [StatusCode::OK, StatusCode::NOT_FOUND];
        let answer = self.send(&Method::HEAD, url, &[push_scope(repository)], carried, &fine).await?;
        Ok((answer.status() == StatusCode::OK).then_some(answer))
    }

    /// Puts a manifest under a digest or a tag.
    pub(super) async fn put_manifest(
        &self,
        repository: &str,
        reference: &str,
        bytes: &[u8],
        media_type: &str,
    ) -> Result<()> {
        let url = self.url(&format!("{repository}/manifests/{reference}"));
        let carried = Carried::Manifest(bytes, media_type);
        let fine = [StatusCode::CREATED, StatusCode::OK, StatusCode::ACCEPTED];
        let answer = self.send(&Method::PUT, &url, &[push_scope(repository)], carried, &fine).await?;
        let digest = Digest::of(bytes).to_string();
        match answer.headers().get("docker-content-digest").and_then(|d| d.to_str().ok()) {
            Some(said) if said != digest => {
                Err(Error::failed(format!("the registry keeps {repository}:{reference} as {said} instead of {digest}")))
            }
            _ => Ok(()),
        }
    }

    /// Puts a blob into repositories that lack it: mounted from one that has it where the registry can, else sent.
    pub(super) async fn put_blob(
        &self,
        repository: &str,
        from: Option<&str>,
        digest: &Digest,
        blob: &Blob,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Came> {
        let mut last = None;
        for attempt in 1..=ATTEMPTS {
            if attempt > 1 {
                back_off(attempt).await;
                // The registry may have it all and only its answer was lost.
                if self.has_blob(repository, digest).await? {
                    return Ok(Came::Sent);
                }
            }
            match self.put_blob_once(repository, from, digest, blob, progress).await {
                Ok(came) => return Ok(came),
                Err(Failure { error, passing: true }) => last = Some(error),
                Err(Failure { error, passing: false }) => return Err(error),
            }
        }
        Err(last.unwrap_or_else(|| Error::failed(format!("the registry did not take {digest}"))))
    }

    async fn put_blob_once(
        &self,
        repository: &str,
        from: Option<&str>,
        digest: &Digest,
        blob: &Blob,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Came, Failure> {
        let size = blob.size();
        let mut scopes = vec![push_scope(repository)];
        let mut start = self.url(&format!("{repository}/blobs/uploads/"));
        if let Some(from) = from {
            start.query_pairs_mut().append_pair("mount", &digest.to_string()).append_pair("from", from);
            scopes.push(format!("repository:{from}:pull"));
        }
        let fine = [StatusCode::ACCEPTED, StatusCode::CREATED];
        let answer = self.send(&Method::POST, &start, &scopes, Carried::Nothing, &fine).await?;
        if answer.status() == StatusCode::CREATED {
            return Ok(Came::Mounted);
        }
        scopes.truncate(1);
        let least = answer.headers().get("oci-chunk-min-length").and_then(|l| l.to_str().ok()?.parse::<u64>().ok());
        let chunk = CHUNK.max(least.unwrap_or(0));
        let place = self.location(&answer)?;
        let (place, last) = if size <= chunk {
            (place, Carried::Stretch(blob, 0, size, false))
        } else {
            (self.put_chunks(place, &scopes, blob, chunk, progress).await?, Carried::Nothing)
        };
        let mut end = place;
        end.query_pairs_mut().append_pair("digest", &digest.to_string());
        let fine = [StatusCode::CREATED, StatusCode::NO_CONTENT];
        self.once(&Method::PUT, &end, &scopes, last, &fine).await?;
        progress(size);
        Ok(Came::Sent)
    }

    /// Sends a blob piece by piece; a piece that broke off goes on where the registry says it did. Where to end.
    async fn put_chunks(
        &self,
        mut place: Url,
        scopes: &[String],
        blob: &Blob,
        chunk: u64,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Url, Failure> {
        let (size, mut offset, mut failures) = (blob.size(), 0, 0);
        while offset < size {
            let len = chunk.min(size - offset);
            let carried = Carried::Stretch(blob, offset, len, true);
            let fine = [StatusCode::ACCEPTED, StatusCode::NO_CONTENT, StatusCode::CREATED];
            match self.once(&Method::PATCH, &place, scopes, carried, &fine).await {
                Ok(answer) => {
                    failures = 0;
                    offset = upload_end(&answer).unwrap_or(offset + len);
                    place = self.location(&answer)?;
                }
                Err(failure) if failure.passing && failures < ATTEMPTS => {
                    failures += 1;
                    back_off(failures + 1).await;
                    let fine = [StatusCode::NO_CONTENT, StatusCode::ACCEPTED, StatusCode::OK];
                    // A registry that has forgotten the upload begins a new one.
                    let answer = self
                        .once(&Method::GET, &place, scopes, Carried::Nothing, &fine)
                        .await
                        .map_err(|_| Failure { error: failure.error, passing: true })?;
                    offset = upload_end(&answer).unwrap_or(0);
                    place = self.location(&answer)?;
                }
                Err(failure) => return Err(failure),
            }
            if offset > size {
                return Err(Error::failed("the registry says that it has more of the blob than there is").into());
            }
            progress(offset);
        }
        Ok(place)
    }
}

/// How many bytes the registry has, by its `Range: 0-N`. `0-0` is how registries say that they have nothing.
fn upload_end(answer: &Response) -> Option<u64> {
    let range = answer.headers().get(RANGE)?.to_str().ok()?;
    let last: u64 = range.trim_start_matches("bytes=").split_once('-')?.1.parse().ok()?;
    Some(if last == 0 { 0 } else { last + 1 })
}
