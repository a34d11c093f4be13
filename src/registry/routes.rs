//! What a request asks for, by the OCI distribution specification 1.1. Pure.

use std::collections::HashMap;

use hyper::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::json;

use super::names::{is_repository, is_tag};
use crate::bundle::Digest;

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// At most so many.
    pub n: Option<usize>,
    /// Only what comes after this.
    pub last: Option<String>,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// Whether this is a registry.
    Base,
    /// A manifest by tag.
    Tag {
        /// The repository.
        name: String,
        /// The tag.
        tag: String,
    },
    /// A manifest by digest; `None` when it is of a kind that no bundle has.
    Manifest {
        /// The repository.
        name: String,
        /// The digest.
        digest: Option<Digest>,
    },
    /// A blob; `None` when its digest is of a kind that no bundle has.
    Blob {
        /// The repository.
        name: String,
        /// The digest.
        digest: Option<Digest>,
    },
    /// A repository's tags.
    Tags {
        /// The repository.
        name: String,
        /// Which of them.
        page: Page,
    },
    /// What refers to a manifest.
    Referrers {
        /// The repository.
        name: String,
        /// The digest; `None` when it is of a kind that no bundle has.
        digest: Option<Digest>,
        /// Only what is of this type.
        artifact_type: Option<String>,
    },
    /// The repositories.
    Repositories(Page),
}

/// A request with the upstream registry that containerd means by it (`?ns=`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// What is asked for.
    pub route: Route,
    /// Of which upstream registry.
    pub ns: Option<String>,
}

/// A refusal as the specification words it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The status.
    pub status: StatusCode,
    /// The specification's code.
    pub code: &'static str,
    /// For people.
    pub message: String,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    /// The body, as the specification has it.
    #[must_use]
    pub fn json(&self) -> String {
        json!({ "errors": [{ "code": self.code, "message": self.message }] }).to_string()
    }
}

/// Reads a request's method, path and query.
pub fn route(method: &Method, path: &str, query: &str) -> Result<Asked, Refusal> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        let what = "this registry serves a bundle, which is read-only";
        return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", what));
    }
    let nothing = || Refusal::new(StatusCode::NOT_FOUND, "UNSUPPORTED", "no such place in the distribution API");
    let path = percent_decode_str(path).decode_utf8().map_err(|_| nothing())?;
    let query: HashMap<_, _> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let asked = |route| Asked { route, ns: query.get("ns").filter(|ns| !ns.is_empty()).cloned() };
    let rest = match path.as_ref() {
        "/v2" | "/v2/" => return Ok(asked(Route::Base)),
        "/v2/_catalog" => return Ok(asked(Route::Repositories(page(&query)?))),
        path => path.strip_prefix("/v2/").ok_or_else(nothing)?,
    };
    let (before, last) = rest.rsplit_once('/').ok_or_else(nothing)?;
    let (name, kind) = before.rsplit_once('/').ok_or_else(nothing)?;
    if !matches!((kind, last), ("manifests" | "blobs" | "referrers", _) | ("tags", "list")) {
        return Err(nothing());
    }
    if !is_repository(name) {
        let what = "this is not the name of a repository";
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "NAME_INVALID", what));
    }
    let name = name.to_owned();
    Ok(asked(match kind {
        "tags" => Route::Tags { name, page: page(&query)? },
        "blobs" => Route::Blob { name, digest: digest(last)? },
        "referrers" => {
            Route::Referrers { name, digest: digest(last)?, artifact_type: query.get("artifactType").cloned() }
        }
        _ if last.contains(':') => Route::Manifest { name, digest: digest(last)? },
        _ if is_tag(last) => Route::Tag { name, tag: last.to_owned() },
        _ => return Err(Refusal::new(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", "this is neither a tag nor a digest")),
    }))
}

/// `Ok(None)` for a digest of another algorithm than sha256: well-formed, but nothing here has it.
fn digest(text: &str) -> Result<Option<Digest>, Refusal> {
    let bad = || Refusal::new(StatusCode::BAD_REQUEST, "DIGEST_INVALID", "this is not a digest");
    let (algorithm, encoded) = text.split_once(':').ok_or_else(bad)?;
    let lower_hex = encoded.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    match algorithm {
        "sha256" if lower_hex => encoded.parse().map(Some).map_err(|_| bad()),
        "sha512" if lower_hex && encoded.len() == 128 => Ok(None),
        "sha256" | "sha512" => Err(bad()),
        _ => {
            let known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+._-".contains(&b);
            let value = |b: u8| b.is_ascii_alphanumeric() || b"=_-".contains(&b);
            let fits = !algorithm.is_empty() && !encoded.is_empty();
            if fits && algorithm.bytes().all(known) && encoded.bytes().all(value) { Ok(None) } else { Err(bad()) }
        }
    }
}

fn page(query: &HashMap<String, String>) -> Result<Page, Refusal> {
    let n = query.get("n").map(|n| n.parse::<usize>()).transpose();
    let n = n.map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, "UNSUPPORTED", "n is not a number"))?;
    Ok(Page { n, last: query.get("last").cloned() })
}

impl Page {
    /// This page of `all` (which is in the specification's order), and the `last` of the next page if there is one.
    #[must_use]
    pub fn of<'a>(&self, all: &[&'a str]) -> (Vec<&'a str>, Option<&'a str>) {
        let after = self.last.as_deref().map(order);
        let from = all.iter().position(|t| after.as_ref().is_none_or(|a| order(t) > *a)).unwrap_or(all.len());
        let rest = &all[from..];
        let shown = &rest[..self.n.unwrap_or(rest.len()).min(rest.len())];
        let more = shown.len() < rest.len();
        (shown.to_vec(), shown.last().copied().filter(|_| more))
    }
}

/// "Lexical (i.e. case-insensitive alphanumeric) order".
pub(super) fn order(tag: &str) -> (String, String) {
    (tag.to_ascii_lowercase(), tag.to_owned())
}

/// The part of a blob of `size` bytes that a `Range` header asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All of it: no header, one that is broken, or several ranges (a server may answer those so).
    Whole,
    /// From the first to the last byte.
    Bytes(u64, u64),
    /// Nothing of the blob is in the range.
    Outside,
}

/// Reads a `Range` header.
#[must_use]
pub fn part(header: Option<&str>, size: u64) -> Part {
    let number = |t: &str| if t.bytes().all(|b| b.is_ascii_digit()) { t.parse::<u64>().ok() } else { None };
    let Some((first, last)) = header.and_then(|h| h.trim().strip_prefix("bytes=")).and_then(|r| r.split_once('-'))
    else {
        return Part::Whole;
    };
    match (number(first), number(last)) {
        (Some(_), None) if !last.is_empty() => Part::Whole,
        (Some(first), None) if first < size => Part::Bytes(first, size - 1),
        (Some(first), Some(last)) if first > last => Part::Whole,
        (Some(first), Some(last)) if first < size => Part::Bytes(first, last.min(size - 1)),
        (Some(_), _) => Part::Outside,
        (None, Some(0)) if first.is_empty() => Part::Outside,
        (None, Some(_)) if first.is_empty() && size == 0 => Part::Outside,
        (None, Some(tail)) if first.is_empty() => Part::Bytes(size.saturating_sub(tail), size - 1),
        _ => Part::Whole,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn get(path: &str, query: &str) -> Result<Asked, Refusal> {
        route(&Method::GET, path, query)
    }

    #[test]
    fn every_place_of_the_pull_side_is_read() {
        let hex = "a".repeat(64);
        let digest = hex.parse().ok();
        let name = || "a/blobs/b".to_owned();
        for (path, want) in [
            ("/v2/".to_owned(), Route::Base),
            ("/v2/a/blobs/b/manifests/v1".into(), Route::Tag { name: name(), tag: "v1".into() }),
            (format!("/v2/a/blobs/b/manifests/sha256:{hex}"), Route::Manifest { name: name(), digest: digest.clone() }),
            (
                format!("/v2/a/blobs/b/manifests/sha256%3A{hex}"),
                Route::Manifest { name: name(), digest: digest.clone() },
            ),
            (format!("/v2/a/blobs/b/blobs/sha256:{hex}"), Route::Blob { name: name(), digest }),
            ("/v2/a/tags/list".into(), Route::Tags { name: "a".into(), page: Page::default() }),
            (
                format!("/v2/a/referrers/sha256:{hex}"),
                Route::Referrers { name: "a".into(), digest: hex.parse().ok(), artifact_type: None },
            ),
            ("/v2/_catalog".into(), Route::Repositories(Page::default())),
        ] {
            assert_eq!(get(&path, "").map(|a| a.route), Ok(want), "{path}");
        }
        let asked = get("/v2/pause/manifests/3", "ns=localhost%3A5000").ok().and_then(|a| a.ns);
        assert_eq!(asked.as_deref(), Some("localhost:5000"));
        for (path, code) in [
            ("/v2/A/manifests/1", "NAME_INVALID"),
            ("/v2/../manifests/1", "NAME_INVALID"),
            ("/v2/a/manifests/sha256:xyz", "DIGEST_INVALID"),
            ("/v2/a/blobs/latest", "DIGEST_INVALID"),
            ("/v2/a/manifests/.x", "MANIFEST_UNKNOWN"),
            ("/v1/", "UNSUPPORTED"),
            ("/v2/a/blobs/uploads/x", "UNSUPPORTED"),
        ] {
            assert_eq!(get(path, "").err().map(|r| r.code), Some(code), "{path}");
        }
        let refused = route(&Method::PUT, "/v2/a/manifests/1", "").err();
        assert_eq!(refused.map(|r| r.status), Some(StatusCode::METHOD_NOT_ALLOWED));
    }

    #[test]
    fn ranges_are_read_as_http_has_them() {
        for (header, want) in [
            ("bytes=0-0", Part::Bytes(0, 0)),
            ("bytes=3-", Part::Bytes(3, 9)),
            ("bytes=3-99", Part::Bytes(3, 9)),
            ("bytes=-4", Part::Bytes(6, 9)),
            ("bytes=-40", Part::Bytes(0, 9)),
            ("bytes=10-", Part::Outside),
            ("bytes=-0", Part::Outside),
            ("bytes=5-4", Part::Whole),
            ("bytes=0-1,3-4", Part::Whole),
            ("bytes=-", Part::Whole),
            ("bytes=a-b", Part::Whole),
            ("lines=0-1", Part::Whole),
        ] {
            assert_eq!(part(Some(header), 10), want, "{header}");
        }
        assert_eq!(part(Some("bytes=0-"), 0), Part::Outside);
    }

    proptest! {
        #[test]
        fn any_request_is_read_or_refused(path in "\\PC{0,60}", query in "\\PC{0,30}", range in "\\PC{0,20}", size in 0u64..50) {
            let _ = get(&format!("/v2/{path}"), &query);
            if let Part::Bytes(first, last) = part(Some(&format!("bytes={range}")), size) {
                prop_assert!(first <= last && last < size);
            }
        }

        #[test]
        fn pages_together_are_the_whole(tags in prop::collection::btree_set("[a-zA-Z]{1,3}", 0..20), n in 1usize..6) {
            let mut all: Vec<&str> = tags.iter().map(String::as_str).collect();
            all.sort_by_key(|t| order(t));
            let (mut seen, mut last) = (Vec::new(), None::<String>);
            loop {
                let (shown, next) = Page { n: Some(n), last: last.clone() }.of(&all);
                seen.extend(shown);
                let Some(next) = next else { break };
                last = Some(next.to_owned());
            }
            prop_assert_eq!(seen, all);
        }
    }
}
