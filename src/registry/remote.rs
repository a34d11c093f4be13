//! A registry that is pushed to: requests with logins, retries and redirects.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use reqwest::{Body, Client, Method, Response, StatusCode, Url};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Mutex;
use tokio_util::io::ReaderStream;

use crate::bundle::{ATTEMPTS, Blob, INDEX_TYPES, Login, MANIFEST_TYPES, back_off, is_passing, tls_init, unreachable};
use crate::error::{Context as _, Error, Result};

/// A registry may need this long to hash and move a large blob before it answers.
const READ_TIMEOUT: Duration = Duration::from_secs(600);
/// The longest pause a registry may ask for with `Retry-After`.
const MAX_PAUSE: u64 = 60;
/// Redirects followed for one request.
const REDIRECTS: usize = 5;
/// How much of an error's body is read, in bytes.
const MAX_ERROR: usize = 8 << 10;

/// What a request carries.
#[derive(Clone, Copy)]
pub(super) enum Carried<'a> {
    Nothing,
    /// Nothing, and manifests of every kind are taken for an answer. Registries deny what is not asked for by its type.
    AcceptManifests,
    /// A manifest of this media type.
    Manifest(&'a [u8], &'a str),
    /// A stretch of a blob: from, length, and whether it is one of several.
    Stretch(&'a Blob, u64, u64, bool),
}

/// A registry.
pub(super) struct Remote {
    client: Client,
    base: Url,
    own: Option<SecretString>,
    /// Authorization headers by what they are for.
    logins: Mutex<HashMap<String, SecretString>>,
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remote").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}

/// Why a request failed, and whether trying again may help.
pub(super) struct Failure {
    pub(super) error: Error,
    pub(super) passing: bool,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, passing: false }
    }
}

impl Remote {
    /// `host` may have a port; `ca` is a PEM file of certificates to trust beside the system's.
    pub(super) fn new(host: &str, plain_http: bool, ca: Option<&Path>, own: Option<SecretString>) -> Result<Self> {
        tls_init();
        let scheme = if plain_http { "http" } else { "https" };
        let base = Url::parse(&format!("{scheme}://{host}/"))
            .map_err(|e| Error::invalid(format!("`{host}` is not the address of a registry")).source(e))?;
        let mut builder = Client::builder()
            .user_agent(concat!("provision/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(15))
            .tcp_keepalive(Duration::from_secs(15))
            .read_timeout(READ_TIMEOUT)
            // Followed here, because what is uploaded must be read again and credentials stay with the registry.
            .redirect(reqwest::redirect::Policy::none());
        if let Some(path) = ca {
            let reading = || format!("failed to read the CA {}", path.display());
            let pem = std::fs::read(path).map_err(|e| Error::invalid(reading()).source(e))?;
            let certificates =
                reqwest::Certificate::from_pem_bundle(&pem).map_err(|e| Error::invalid(reading()).source(e))?;
            builder = builder.tls_certs_merge(certificates);
        }
        let client = builder.build().context(|| "failed to set up HTTPS".into())?;
        Ok(Self { client, base, own, logins: Mutex::new(HashMap::new()) })
    }

    /// A URL below `/v2/`.
    pub(super) fn url(&self, rest: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("/v2/{rest}"));
        url
    }

    /// The URL that a `Location` header names.
    pub(super) fn location(&self, answer: &Response) -> Result<Url> {
        let host = self.base.host_str().unwrap_or_default();
        let text = answer.headers().get(LOCATION).and_then(|l| l.to_str().ok()).unwrap_or_default();
        if text.is_empty() {
            return Err(Error::failed(format!("registry {host} began an upload and did not say where")));
        }
        let url = answer.url().join(text).context(|| format!("registry {host} named a broken place for an upload"))?;
        if self.base.scheme() == "https" && url.scheme() != "https" {
            return Err(Error::failed(format!("registry {host} wants an upload sent without encryption"))
                .hint("behind a proxy the registry must know its own https:// address (X-Forwarded-Proto)"));
        }
        Ok(url)
    }

    /// Sends a request until it is answered: passing errors are tried again with growing pauses. `fine` are the
    /// statuses that the caller can go on with.
    pub(super) async fn send(
        &self,
        method: &Method,
        url: &Url,
        scopes: &[String],
        carried: Carried<'_>,
        fine: &[StatusCode],
    ) -> Result<Response> {
        let mut last = None;
        for attempt in 1..=ATTEMPTS {
            if attempt > 1 {
                back_off(attempt).await;
            }
            match self.once(method, url, scopes, carried, fine).await {
                Ok(answer) => return Ok(answer),
                Err(Failure { error, passing: true }) => last = Some(error),
                Err(Failure { error, passing: false }) => return Err(error),
            }
        }
        Err(last.unwrap_or_else(|| Error::failed(format!("{url} did not answer"))))
    }

    /// Sends a request, logs in when that is wanted, and follows redirects.
    pub(super) async fn once(
        &self,
        method: &Method,
        url: &Url,
        scopes: &[String],
        carried: Carried<'_>,
        fine: &[StatusCode],
    ) -> Result<Response, Failure> {
        let (mut url, mut logged_in, mut hops) = (url.clone(), false, 0);
        let key = scopes.join(" ");
        loop {
            let mut request = self.client.request(method.clone(), url.clone());
            // Credentials are for the registry alone: not for storage elsewhere, and not for whom a redirect names.
            let ours = url.origin() == self.base.origin();
            if let Some(login) = self.logins.lock().await.get(&key).filter(|_| ours) {
                request = request.header(AUTHORIZATION, login.expose_secret());
            }
            request = match carried {
                Carried::Nothing if *method == Method::GET || *method == Method::HEAD => request,
                Carried::Nothing => request.header(CONTENT_LENGTH, 0),
                Carried::AcceptManifests => {
                    let types: Vec<&str> = INDEX_TYPES.iter().chain(&MANIFEST_TYPES).copied().collect();
                    request.header(ACCEPT, types.join(", "))
                }
                Carried::Manifest(bytes, media_type) => request.header(CONTENT_TYPE, media_type).body(bytes.to_vec()),
                Carried::Stretch(blob, from, len, one_of_several) => {
                    let body = Body::wrap_stream(ReaderStream::with_capacity(blob.read(from, len).await?, 256 << 10));
                    let request =
                        request.header(CONTENT_TYPE, "application/octet-stream").header(CONTENT_LENGTH, len).body(body);
                    if one_of_several {
                        request.header(CONTENT_RANGE, format!("{from}-{}", from + len.saturating_sub(1)))
                    } else {
                        request
                    }
                }
            };
            let shown = without_query(&url);
            let answer = request.send().await.map_err(|e| Failure { error: unreachable(&shown, e), passing: true })?;
            let status = answer.status();
            if fine.contains(&status) {
                return Ok(answer);
            }
            if status == StatusCode::UNAUTHORIZED && ours && !logged_in {
                logged_in = true;
                self.log_in(&answer, scopes, key.clone()).await?;
                continue;
            }
            let read = *method == Method::GET || *method == Method::HEAD;
            let moved = match status.as_u16() {
                307 | 308 => true,
                301..=303 => read,
                _ => false,
            };
            if moved && hops < REDIRECTS {
                hops += 1;
                url = self.location(&answer)?;
                continue;
            }
            if is_passing(status) {
                let asked = answer.headers().get(RETRY_AFTER).and_then(|r| r.to_str().ok()?.parse::<u64>().ok());
                tokio::time::sleep(Duration::from_secs(asked.unwrap_or(0).min(MAX_PAUSE))).await;
            }
            return Err(Failure { passing: is_passing(status), error: refusal(&shown, answer).await });
        }
    }

    async fn log_in(&self, answer: &Response, scopes: &[String], key: String) -> Result<()> {
        let login = Login {
            client: self.client.clone(),
            registry: self.base.host_str().unwrap_or_default(),
            secure: self.base.scheme() == "https",
            own: self.own.clone(),
            scopes,
            scope_of_challenge: false,
            hint: "name the user with --user, and where the password is with --password-env or --password-file",
        };
        let header = login.answer(answer.headers()).await?;
        self.logins.lock().await.insert(key, header);
        Ok(())
    }
}

// An upload's URL carries the registry's own state, which is long and says nothing.
fn without_query(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.to_string()
}

/// What a registry said when it refused, by the specification's form of errors.
async fn refusal(url: &str, mut answer: Response) -> Error {
    let status = answer.status();
    let mut body = Vec::new();
    while body.len() < MAX_ERROR {
        match answer.chunk().await {
            Ok(Some(piece)) => body.extend_from_slice(&piece),
            _ => break,
        }
    }
    let json: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let text = |key: &str| {
        let text = json.pointer(&format!("/errors/0/{key}")).and_then(|v| v.as_str()).unwrap_or_default();
        text.chars().filter(|c| !c.is_control()).take(200).collect::<String>()
    };
    let (code, message) = (text("code"), text("message"));
    let said = if code.is_empty() { String::new() } else { format!(": {code} {message}") };
    let attempted = format!("{url} answered {status}{said}");
    match (status.as_u16(), code.as_str()) {
        (_, "DIGEST_INVALID" | "SIZE_INVALID") => Error::invalid(attempted)
            .hint("the bundle's blob is not what its digest says: `provision bundle verify` names what is damaged"),
        (401 | 403, _) => Error::failed(attempted)
            .hint("may this user (--user, with --password-env or --password-file) push to these repositories?"),
        (404, _) => Error::failed(attempted).hint("does the project at the head of the prefix exist in the registry?"),
        (413, _) => Error::failed(attempted).hint("a proxy before the registry limits the size of a request"),
        _ => Error::failed(attempted),
    }
}
