//! The OCI distribution protocol, pulling side: anonymous, basic and bearer-token logins.
//!
//! On reqwest rather than a registry crate, because blobs go through the same resuming, hashing download as files.

use std::collections::HashMap;

use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, WWW_AUTHENTICATE};
use reqwest::{RequestBuilder, Response, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Mutex;

use super::http::{ATTEMPTS, back_off, bad_status, body, client, is_passing, unreachable};
use super::manifest::Digest;
use crate::error::{Error, Result};
use crate::inventory::Sources;

/// Media types of image indexes.
pub(super) const INDEX_TYPES: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];
/// Media types of image manifests.
pub(super) const MANIFEST_TYPES: [&str; 2] =
    ["application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"];
/// The largest manifest taken, in bytes (the protocol asks registries for at least 4 MiB).
const MAX_MANIFEST: usize = 4 << 20;

/// An image's name, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ImageName {
    pub(super) registry: String,
    pub(super) repository: String,
    pub(super) tag: String,
}

impl ImageName {
    /// Reads `registry/repository:tag`. A name without a registry is an error: what it means differs between tools.
    pub(super) fn parse(name: &str) -> Result<Self> {
        let bad = || {
            Error::invalid(format!("`{name}` is not a full image name"))
                .hint("write registry, repository and tag, like docker.io/library/busybox:1.36")
        };
        let (registry, rest) = name.split_once('/').ok_or_else(bad)?;
        let (repository, tag) = rest.rsplit_once(':').ok_or_else(bad)?;
        if !(registry.contains('.') || registry.contains(':') || registry == "localhost") || tag.contains('/') {
            return Err(bad());
        }
        Ok(Self { registry: registry.into(), repository: repository.into(), tag: tag.into() })
    }
}

/// Registries as the inventory's `[sources]` maps them.
pub(super) struct Registries<'a> {
    sources: &'a Sources,
    /// The Authorization header by registry and repository.
    logins: Mutex<HashMap<String, SecretString>>,
}

/// A manifest as a registry gave it.
pub(super) struct Pulled {
    pub(super) digest: Digest,
    pub(super) media_type: String,
    pub(super) bytes: Vec<u8>,
}

impl<'a> Registries<'a> {
    pub(super) fn new(sources: &'a Sources) -> Self {
        Self { sources, logins: Mutex::new(HashMap::new()) }
    }

    fn base(&self, image: &ImageName) -> String {
        match self.sources.registries.get(&image.registry) {
            Some(base) => base.trim_end_matches('/').to_owned(),
            // docker.io is a name, not a host.
            None if image.registry == "docker.io" => "https://registry-1.docker.io".into(),
            None => format!("https://{}", image.registry),
        }
    }

    /// The URL of a blob.
    pub(super) fn blob_url(&self, image: &ImageName, digest: &Digest) -> String {
        self.url(image, &format!("blobs/{digest}"))
    }

    /// `base` may carry a path (a proxying registry's project), which goes before the repository.
    fn url(&self, image: &ImageName, rest: &str) -> String {
        let base = self.base(image);
        let (scheme, after) = base.split_once("://").unwrap_or(("https", base.as_str()));
        let (host, prefix) = after.split_once('/').map_or((after, String::new()), |(h, p)| (h, format!("{p}/")));
        format!("{scheme}://{host}/v2/{prefix}{}/{rest}", image.repository)
    }

    /// Gets a manifest or index by tag or digest.
    pub(super) async fn manifest(&self, image: &ImageName, reference: &str) -> Result<Pulled> {
        let url = self.url(image, &format!("manifests/{reference}"));
        let accept = INDEX_TYPES.iter().chain(&MANIFEST_TYPES).copied().collect::<Vec<_>>().join(", ");
        let answer = self.send(image, &url, &|| Ok(client()?.get(&url).header(ACCEPT, &accept))).await?;
        let media_type = answer
            .headers()
            .get(reqwest::header::CONTENT_TYPE)
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default()
            .to_owned();
        let bytes = body(answer, MAX_MANIFEST, &url).await?;
        let digest = Digest::of(&bytes);
        if reference.starts_with("sha256:") && reference != digest.to_string() {
            return Err(Error::invalid(format!("{url} hashes to {digest}")));
        }
        Ok(Pulled { digest, media_type, bytes })
    }

    /// Logs in if the registry wants that, and returns a request for the URL.
    pub(super) async fn blob_request(
        &self,
        image: &ImageName,
        url: &str,
    ) -> Result<Box<dyn Fn() -> Result<RequestBuilder> + Send + Sync>> {
        // Registries give tokens by repository: the manifest of this image was pulled before, so the login is known.
        let login = self.logins.lock().await.get(&login_key(image)).cloned();
        let url = url.to_owned();
        Ok(Box::new(move || {
            let request = client()?.get(&url);
            Ok(match &login {
                Some(login) => request.header(AUTHORIZATION, login.expose_secret()),
                None => request,
            })
        }))
    }

    async fn send(
        &self,
        image: &ImageName,
        url: &str,
        request: &(dyn Fn() -> Result<RequestBuilder> + Send + Sync),
    ) -> Result<Response> {
        let mut last = None;
        let mut logged_in = false;
        for attempt in 1..=ATTEMPTS {
            if attempt > 1 && last.is_some() {
                back_off(attempt).await;
            }
            let mut builder = request()?;
            if let Some(login) = self.logins.lock().await.get(&login_key(image)) {
                builder = builder.header(AUTHORIZATION, login.expose_secret());
            }
            match builder.send().await {
                Ok(answer) if answer.status() == StatusCode::UNAUTHORIZED && !logged_in => {
                    logged_in = true;
                    self.log_in(image, answer.headers()).await?;
                }
                Ok(answer) if answer.status().is_success() => return Ok(answer),
                Ok(answer) if is_passing(answer.status()) => last = Some(bad_status(url, answer.status())),
                Ok(answer) => return Err(bad_status(url, answer.status())),
                Err(e) => last = Some(unreachable(url, e)),
            }
        }
        Err(last.unwrap_or_else(|| Error::failed(format!("{url} did not answer"))))
    }

    async fn log_in(&self, image: &ImageName, headers: &HeaderMap) -> Result<()> {
        let challenge = headers.get(WWW_AUTHENTICATE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let own = self.password(&image.registry)?;
        let basic = own.as_ref().map(|(user, password)| {
            use base64::Engine as _;
            let pair = format!("{user}:{}", password.expose_secret());
            SecretString::from(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair)))
        });
        let (scheme, rest) = challenge.split_once(' ').unwrap_or((challenge, ""));
        let login = if scheme.eq_ignore_ascii_case("bearer") {
            self.token(image, &parameters(rest), basic).await?
        } else {
            basic.ok_or_else(|| {
                Error::failed(format!("registry {} wants a login", image.registry)).hint(format!(
                    "set [sources.auth.\"{}\"] with user and password_env or password_file",
                    image.registry
                ))
            })?
        };
        self.logins.lock().await.insert(login_key(image), login);
        Ok(())
    }

    async fn token(
        &self,
        image: &ImageName,
        challenge: &HashMap<String, String>,
        basic: Option<SecretString>,
    ) -> Result<SecretString> {
        let realm = challenge
            .get("realm")
            .ok_or_else(|| Error::failed(format!("registry {} names no realm to log in at", image.registry)))?;
        let scope = challenge.get("scope").cloned().unwrap_or_else(|| format!("repository:{}:pull", image.repository));
        let mut url = reqwest::Url::parse(realm)
            .map_err(|e| Error::failed(format!("registry {} names a broken realm", image.registry)).source(e))?;
        {
            let mut query = url.query_pairs_mut();
            query.append_pair("scope", &scope);
            if let Some(service) = challenge.get("service") {
                query.append_pair("service", service);
            }
        }
        let mut request = client()?.get(url);
        if let Some(basic) = basic {
            request = request.header(AUTHORIZATION, basic.expose_secret());
        }
        let answer = request.send().await.map_err(|e| unreachable(realm, e))?;
        if !answer.status().is_success() {
            return Err(bad_status(realm, answer.status()));
        }
        let body: serde_json::Value =
            answer.json().await.map_err(|e| Error::failed(format!("{realm} gave no token")).source(e.without_url()))?;
        let token = body.get("token").or_else(|| body.get("access_token")).and_then(|t| t.as_str());
        token
            .map(|t| SecretString::from(format!("Bearer {t}")))
            .ok_or_else(|| Error::failed(format!("{realm} gave no token")))
    }

    fn password(&self, registry: &str) -> Result<Option<(String, SecretString)>> {
        let Some(auth) = self.sources.auth.get(registry) else {
            return Ok(None);
        };
        let missing =
            |what: String| Error::failed(format!("failed to find the password for registry {registry}: {what}"));
        let password = match (&auth.password_env, &auth.password_file) {
            (Some(name), _) => {
                std::env::var(name).map_err(|_| missing(format!("the environment variable {name} is not set")))?
            }
            (None, Some(path)) => std::fs::read_to_string(path)
                .map_err(|e| missing(path.display().to_string()).source(e))?
                .trim_end_matches(['\r', '\n'])
                .to_owned(),
            (None, None) => return Err(missing("neither password_env nor password_file is set".into())),
        };
        Ok(Some((auth.user.clone(), password.into())))
    }
}

fn login_key(image: &ImageName) -> String {
    format!("{}/{}", image.registry, image.repository)
}

/// `realm="...",service="..."`
fn parameters(text: &str) -> HashMap<String, String> {
    let mut all = HashMap::new();
    let mut rest = text;
    while let Some((key, after)) = rest.split_once('=') {
        let key = key.trim_matches([' ', ',']).to_ascii_lowercase();
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_once(',').unwrap_or((after, "")),
        };
        all.insert(key, value.to_owned());
        rest = next;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_read() {
        let p = parameters(r#"realm="https://auth.example/token",service="r",scope="repository:a/b:pull,push""#);
        assert_eq!(p.get("realm").map(String::as_str), Some("https://auth.example/token"));
        assert_eq!(p.get("scope").map(String::as_str), Some("repository:a/b:pull,push"));
    }

    #[test]
    fn only_full_names_are_taken() {
        assert!(ImageName::parse("busybox:1.36").is_err());
        assert!(ImageName::parse("library/busybox:1.36").is_err());
        let name = ImageName::parse("localhost:5000/a/b:v1").ok();
        assert_eq!(
            name.map(|n| (n.registry, n.repository, n.tag)),
            Some(("localhost:5000".into(), "a/b".into(), "v1".into()))
        );
    }
}
