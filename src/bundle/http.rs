//! HTTP: one client, retries with backoff.

use std::sync::{Once, OnceLock};
use std::time::Duration;

use reqwest::{Client, RequestBuilder, Response, StatusCode};

use crate::error::{Context as _, Error, Kind, Result};

/// Attempts at one request or transfer.
pub(crate) const ATTEMPTS: u32 = 5;

/// Makes rustls' provider known to the process; harmless when called again.
pub fn tls_init() {
    static ONCE: Once = Once::new();
    // An Err means that somebody installed one before: that is as good.
    ONCE.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
}

/// The client. Redirects are followed; reqwest drops credentials when one leads to another host.
pub(super) fn client() -> Result<Client> {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    if let Some(client) = CLIENT.get() {
        return Ok(client.clone());
    }
    tls_init();
    let made = Client::builder()
        .user_agent(concat!("provision/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(15))
        // Between two pieces of a body; a whole download may take as long as it needs.
        .read_timeout(Duration::from_secs(60))
        .build()
        .context(|| "failed to set up HTTPS".into())
        .map_err(|e| {
            e.hint("the CAs come from the system: install ca-certificates, or name a file in SSL_CERT_FILE")
        })?;
    Ok(CLIENT.get_or_init(|| made).clone())
}

/// Whether trying again may help with this status.
pub(crate) fn is_passing(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
}

/// The pause before attempt `next` (from 2): 0.5 s doubled each time, and up to half of it more, by the clock.
pub(crate) async fn back_off(next: u32) {
    let base = 500 * (1 << next.saturating_sub(2).min(5));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let jitter = now.map_or(0, |d| u64::from(d.subsec_nanos()) % (base / 2));
    tokio::time::sleep(Duration::from_millis(base + jitter)).await;
}

/// An error for an answer that is not what was asked for.
pub(super) fn bad_status(url: &str, status: StatusCode) -> Error {
    let error = Error::failed(format!("{url} answered {status}"));
    match status {
        StatusCode::NOT_FOUND => error.hint("is the version right, and does [sources] point at a mirror that has it?"),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            error.hint("set [sources.auth.\"HOST\"] with user and password_env or password_file")
        }
        _ => error,
    }
}

/// The largest text that is held in memory: checksum files, in bytes.
const MAX_SMALL: usize = 4 << 20;

/// A body of at most `max` bytes, whatever length the server says it has: a longer one is `Invalid`.
pub(super) async fn body(mut answer: Response, max: usize, url: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let broken = |e: reqwest::Error| Error::failed(format!("{url} broke off")).source(e.without_url());
    while let Some(piece) = answer.chunk().await.map_err(broken)? {
        if bytes.len() + piece.len() > max {
            return Err(Error::invalid(format!("{url} is larger than {} MiB", max >> 20)));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

/// A small text, with retries.
pub(super) async fn get_text(url: &str) -> Result<Option<String>> {
    get_text_by(url, MAX_SMALL, &|| Ok(client()?.get(url))).await
}

/// A text of at most `max` bytes that `request` (called once per attempt) asks for, with retries.
pub(super) async fn get_text_by(
    url: &str,
    max: usize,
    request: &(dyn Fn() -> Result<RequestBuilder> + Send + Sync),
) -> Result<Option<String>> {
    let bytes = get_bytes_by(url, max, request).await?;
    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

/// At most `max` bytes that `request` (called once per attempt) asks for, with retries; none when there is no such file.
pub(super) async fn get_bytes_by(
    url: &str,
    max: usize,
    request: &(dyn Fn() -> Result<RequestBuilder> + Send + Sync),
) -> Result<Option<Vec<u8>>> {
    let mut last = None;
    for attempt in 1..=ATTEMPTS {
        if attempt > 1 {
            back_off(attempt).await;
        }
        match request()?.send().await {
            Ok(answer) if answer.status() == StatusCode::NOT_FOUND => return Ok(None),
            Ok(answer) if answer.status().is_success() => match body(answer, max, url).await {
                Ok(bytes) => return Ok(Some(bytes)),
                Err(e) if e.kind() == Kind::Invalid => return Err(e),
                Err(e) => last = Some(e),
            },
            Ok(answer) if is_passing(answer.status()) => last = Some(bad_status(url, answer.status())),
            Ok(answer) => return Err(bad_status(url, answer.status())),
            Err(e) => last = Some(unreachable(url, e)),
        }
    }
    Err(last.unwrap_or_else(|| Error::failed(format!("{url} did not answer"))))
}

/// An error for a server that does not answer.
pub(crate) fn unreachable(url: &str, e: reqwest::Error) -> Error {
    Error::failed(format!("failed to fetch {url}"))
        .source(e.without_url())
        .hint("is there a proxy (HTTPS_PROXY), or a mirror to set in [sources]?")
}
