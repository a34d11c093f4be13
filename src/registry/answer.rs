//! From a request to its answer.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::{ACCEPT_RANGES, ALLOW, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderValue, LINK, RANGE};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::json;
use tokio::sync::Semaphore;

use super::body::{Bytestream, Known, Proof, full, plain, proven, say};
use super::catalog::{Catalog, Repository, read_manifest};
use super::routes::{Asked, Page, Part, Refusal, Route, part, route};
use crate::bundle::{Digest, INDEX_TYPES, hash_blob};
use crate::error::Result;

/// Reading a stretch of a disk that hangs must not hold a request for ever.
const PROVE_TIMEOUT: Duration = Duration::from_secs(600);

/// Answers requests out of a catalog.
pub(super) struct Answerer {
    catalog: Catalog,
    proofs: HashMap<Digest, Arc<Proof>>,
    /// Blobs are proven one after the other when a part of one is asked for first.
    proving: Semaphore,
}

type Answer = Response<Bytestream>;

impl Answerer {
    pub(super) fn new(catalog: Catalog) -> Self {
        let proofs = catalog.blobs.keys().map(|d| (d.clone(), Arc::default())).collect();
        Self { catalog, proofs, proving: Semaphore::new(1) }
    }

    /// A request's body is never read: with one, the connection ends behind the answer.
    pub(super) async fn answer<B>(&self, request: &Request<B>) -> Answer {
        let head = request.method() == Method::HEAD;
        let range = request.headers().get(RANGE).and_then(|r| r.to_str().ok()).filter(|_| !head);
        let uri = request.uri();
        let asked = route(request.method(), uri.path(), uri.query().unwrap_or_default());
        let mut answer = match asked {
            Ok(asked) => self.found(&asked, range, head).await.unwrap_or_else(|refusal| refused(&refusal)),
            Err(refusal) => refused(&refusal),
        };
        answer.headers_mut().insert("docker-distribution-api-version", HeaderValue::from_static("registry/2.0"));
        if head {
            *answer.body_mut() = full("");
        }
        answer
    }

    fn repository(&self, name: &str, ns: Option<&str>) -> Result<&Repository, Refusal> {
        self.catalog.find(name, ns).ok_or_else(|| {
            let what = format!("the bundle has no repository {name}, or several registries have one");
            Refusal::new(StatusCode::NOT_FOUND, "NAME_UNKNOWN", what)
        })
    }

    async fn found(&self, asked: &Asked, range: Option<&str>, head: bool) -> Result<Answer, Refusal> {
        let ns = asked.ns.as_deref();
        match &asked.route {
            Route::Base => Ok(json_answer(&json!({}))),
            Route::Tag { name, tag } => {
                let repository = self.repository(name, ns)?;
                let unknown = || Refusal::new(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", "the bundle has no such tag");
                self.manifest(repository, repository.tags.get(tag).ok_or_else(unknown)?).await
            }
            Route::Manifest { name, digest } => {
                let repository = self.repository(name, ns)?;
                self.manifest(repository, digest.as_ref().ok_or_else(no_manifest)?).await
            }
            Route::Blob { name, digest } => {
                let repository = self.repository(name, ns)?;
                let digest = digest.as_ref().ok_or_else(no_blob)?;
                // Manifests are blobs as well: a client may ask for one either way.
                if !repository.blobs.contains_key(digest) && !repository.manifests.contains_key(digest) {
                    return Err(no_blob());
                }
                self.blob(digest, range, head).await
            }
            Route::Tags { name, page } => {
                let repository = self.repository(name, ns)?;
                let (tags, next) = page.of(&repository.sorted_tags());
                Ok(linked(
                    json_answer(&json!({ "name": name, "tags": tags })),
                    &format!("/v2/{name}/tags/list"),
                    page,
                    next,
                ))
            }
            Route::Repositories(page) => {
                let all: Vec<&str> = self.catalog.repositories.keys().map(String::as_str).collect();
                let (names, next) = page.of(&all);
                Ok(linked(json_answer(&json!({ "repositories": names })), "/v2/_catalog", page, next))
            }
            Route::Referrers { name, digest, artifact_type } => {
                // To what is not there nothing refers: the specification has no refusal here.
                let repository = self.catalog.find(name, ns);
                let found = repository.zip(digest.as_ref()).map(|(r, d)| r.referrers(d, artifact_type.as_deref()));
                let mut answer = json_answer(&json!({
                    "schemaVersion": 2, "mediaType": INDEX_TYPES[0], "manifests": found.unwrap_or_default(),
                }));
                if artifact_type.is_some() {
                    answer.headers_mut().insert("oci-filters-applied", HeaderValue::from_static("artifactType"));
                }
                answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(INDEX_TYPES[0]));
                Ok(answer)
            }
        }
    }

    /// A manifest, whatever the request accepts: "a GET request to an existing manifest URL MUST provide the expected
    /// manifest", and its type is in the answer.
    async fn manifest(&self, repository: &Repository, digest: &Digest) -> Result<Answer, Refusal> {
        let manifest = repository.manifests.get(digest).ok_or_else(no_manifest)?;
        let bytes = match &manifest.made {
            Some(made) => made.clone(),
            None => {
                let blob = self.catalog.blobs.get(digest).ok_or_else(no_manifest)?;
                read_manifest(blob, digest).await.map_err(|e| {
                    say(&e.to_string());
                    no_manifest()
                })?
            }
        };
        let mut answer = sized(full(bytes), manifest.size, digest);
        set(&mut answer, CONTENT_TYPE, &manifest.media_type);
        Ok(answer)
    }

    async fn blob(&self, digest: &Digest, range: Option<&str>, head: bool) -> Result<Answer, Refusal> {
        let (Some(blob), Some(proof)) = (self.catalog.blobs.get(digest), self.proofs.get(digest)) else {
            return Err(no_blob());
        };
        let size = blob.size();
        let wanted = part(range, size);
        if wanted == Part::Outside {
            let mut answer = refused(&Refusal::new(
                StatusCode::RANGE_NOT_SATISFIABLE,
                "SIZE_INVALID",
                format!("the blob has {size} bytes"),
            ));
            set(&mut answer, CONTENT_RANGE, &format!("bytes */{size}"));
            return Ok(answer);
        }
        // A part alone cannot be proven, so the whole is first.
        if proof.get() == Known::Nothing && matches!(wanted, Part::Bytes(..)) {
            let _turn = self.proving.acquire().await;
            if proof.get() == Known::Nothing {
                let hashed = tokio::time::timeout(PROVE_TIMEOUT, hash_blob(blob)).await;
                match hashed {
                    Ok(Ok(found)) => {
                        proof.set(digest, &found);
                    }
                    Ok(Err(e)) => say(&format!("failed to read the blob {digest}: {e}")),
                    Err(_) => say(&format!("failed to read the blob {digest} in time")),
                }
            }
            if proof.get() != Known::Sound {
                return Err(no_blob());
            }
        }
        let known = proof.get();
        if known == Known::Damaged {
            return Err(no_blob());
        }
        let (first, length) = match wanted {
            Part::Bytes(first, last) => (first, last - first + 1),
            _ => (0, size),
        };
        let body = if head {
            full("")
        } else {
            let reader = blob.read(first, length).await.map_err(|e| {
                say(&format!("failed to read the blob {digest}: {e}"));
                no_blob()
            })?;
            if known == Known::Sound { plain(reader) } else { proven(reader, digest.clone(), size, Arc::clone(proof)) }
        };
        let mut answer = sized(body, length, digest);
        set(&mut answer, CONTENT_TYPE, "application/octet-stream");
        set(&mut answer, ACCEPT_RANGES, "bytes");
        if let Part::Bytes(first, last) = wanted {
            *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
            set(&mut answer, CONTENT_RANGE, &format!("bytes {first}-{last}/{size}"));
        }
        Ok(answer)
    }
}

fn no_manifest() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", "the bundle has no such manifest here")
}

// A damaged blob is refused like one that is not there: a node then goes on to the next mirror.
fn no_blob() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", "the bundle has no such blob here, or not a sound one")
}

fn set(answer: &mut Answer, name: hyper::header::HeaderName, value: &str) {
    // Digests, numbers and names that went through the grammar: all are fit for a header.
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
}

fn sized(body: Bytestream, size: u64, digest: &Digest) -> Answer {
    let mut answer = Response::new(body);
    answer.headers_mut().insert(CONTENT_LENGTH, size.into());
    set(&mut answer, hyper::header::HeaderName::from_static("docker-content-digest"), &digest.to_string());
    answer
}

fn json_answer(value: &serde_json::Value) -> Answer {
    let text = value.to_string();
    let size = text.len();
    let mut answer = Response::new(full(text));
    answer.headers_mut().insert(CONTENT_LENGTH, size.into());
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

fn refused(refusal: &Refusal) -> Answer {
    let text = refusal.json();
    let size = text.len();
    let mut answer = Response::new(full(text));
    *answer.status_mut() = refusal.status;
    answer.headers_mut().insert(CONTENT_LENGTH, size.into());
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if refusal.status == StatusCode::METHOD_NOT_ALLOWED {
        answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    answer
}

fn linked(mut answer: Answer, path: &str, page: &Page, next: Option<&str>) -> Answer {
    if let (Some(next), Some(n)) = (next, page.n) {
        let last: String = form_urlencoded::byte_serialize(next.as_bytes()).collect();
        set(&mut answer, LINK, &format!("<{path}?n={n}&last={last}>; rel=\"next\""));
    }
    answer
}
