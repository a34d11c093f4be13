//! The OCI distribution protocol, pulling side: anonymous, basic and bearer-token logins.
//!
//! On reqwest rather than a registry crate, because blobs go through the same resuming, hashing download as files.

use std::collections::HashMap;

use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap};
use reqwest::{RequestBuilder, Response, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Mutex;

use super::http::{ATTEMPTS, back_off, bad_status, body, client, is_passing, unreachable};
use super::login::{Login, base64_basic, read_password};
use super::manifest::Digest;
use crate::error::{Error, Result};
use crate::inventory::Sources;

/// Media types of image indexes.
pub(crate) const INDEX_TYPES: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];
/// Media types of image manifests.
pub(crate) const MANIFEST_TYPES: [&str; 2] =
    ["application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"];
/// The largest manifest taken, in bytes (the protocol asks registries for at least 4 MiB).
const MAX_MANIFEST: usize = 4 << 20;
/// How many manifests that refer to one image are looked at.
const MAX_REFERRERS: usize = 20;

/// An image's name, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImageName {
    pub(crate) registry: String,
    pub(crate) repository: String,
    /// Or a digest, `sha256:...`.
    pub(crate) tag: String,
}

impl ImageName {
    /// Reads `registry/repository:tag` or `registry/repository@sha256:...`. A name without a registry is an error: what it
    /// means differs between tools.
    pub(crate) fn parse(name: &str) -> Result<Self> {
        let bad = || {
            Error::invalid(format!("`{name}` is not a full image name"))
                .hint("write registry, repository and tag, like docker.io/library/busybox:1.36")
        };
        let (registry, rest) = name.split_once('/').ok_or_else(bad)?;
        let (repository, tag) = match rest.split_once('@') {
            Some((repository, digest)) if digest.parse::<Digest>().is_ok() => (repository, digest),
            _ => rest.rsplit_once(':').ok_or_else(bad)?,
        };
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

/// Makes a request anew for every attempt.
pub(super) type MakeRequest = Box<dyn Fn() -> Result<RequestBuilder> + Send + Sync>;

/// Requests for a URL, with this Authorization header.
pub(super) fn get_with_login(url: &str, login: Option<SecretString>) -> MakeRequest {
    let url = url.to_owned();
    Box::new(move || {
        let request = client()?.get(&url);
        Ok(match &login {
            Some(login) => request.header(AUTHORIZATION, login.expose_secret()),
            None => request,
        })
    })
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
        let found = self.manifest_if_any(image, reference).await?;
        found.ok_or_else(|| bad_status(&url, StatusCode::NOT_FOUND))
    }

    /// Gets a manifest or index by tag or digest; none when the registry has none.
    pub(super) async fn manifest_if_any(&self, image: &ImageName, reference: &str) -> Result<Option<Pulled>> {
        let url = self.url(image, &format!("manifests/{reference}"));
        let accept = INDEX_TYPES.iter().chain(&MANIFEST_TYPES).copied().collect::<Vec<_>>().join(", ");
        let answer = self.send(image, &url, &|| Ok(client()?.get(&url).header(ACCEPT, &accept))).await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
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
        Ok(Some(Pulled { digest, media_type, bytes }))
    }

    /// The digests of the manifests of these types that refer to `digest`: by the registry's own list, or, where it keeps
    /// none, by the list under the tag that the distribution specification has for that.
    pub(super) async fn referrers(&self, image: &ImageName, digest: &Digest, types: &[&str]) -> Result<Vec<Digest>> {
        let url = self.url(image, &format!("referrers/{digest}"));
        let answer = self.send(image, &url, &|| Ok(client()?.get(&url).header(ACCEPT, INDEX_TYPES[0]))).await?;
        let list = if answer.status() == StatusCode::NOT_FOUND {
            match self.manifest_if_any(image, &format!("sha256-{}", digest.hex())).await? {
                Some(pulled) => pulled.bytes,
                None => return Ok(Vec::new()),
            }
        } else {
            body(answer, MAX_MANIFEST, &url).await?
        };
        let index: serde_json::Value = serde_json::from_slice(&list)
            .map_err(|e| Error::invalid(format!("{url} is no list of what refers to an image")).source(e))?;
        let entries = index.get("manifests").and_then(|m| m.as_array()).into_iter().flatten();
        let text = |entry: &serde_json::Value, key: &str| entry.get(key).and_then(|v| v.as_str()).map(str::to_owned);
        let ours = entries.filter(|e| text(e, "artifactType").is_some_and(|t| types.contains(&t.as_str())));
        ours.map(|e| text(e, "digest").unwrap_or_default().parse()).take(MAX_REFERRERS).collect()
    }

    /// Logs in if the registry wants that, and returns a request for the URL.
    pub(super) async fn blob_request(&self, image: &ImageName, url: &str) -> Result<MakeRequest> {
        // Registries give tokens by repository: the manifest of this image was pulled before, so the login is known.
        let login = self.logins.lock().await.get(&login_key(image)).cloned();
        Ok(get_with_login(url, login))
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
                // That there is none is an answer too.
                Ok(answer) if answer.status().is_success() || answer.status() == StatusCode::NOT_FOUND => {
                    return Ok(answer);
                }
                Ok(answer) if is_passing(answer.status()) => last = Some(bad_status(url, answer.status())),
                Ok(answer) => return Err(bad_status(url, answer.status())),
                Err(e) => last = Some(unreachable(url, e)),
            }
        }
        Err(last.unwrap_or_else(|| Error::failed(format!("{url} did not answer"))))
    }

    async fn log_in(&self, image: &ImageName, headers: &HeaderMap) -> Result<()> {
        let own = self.password(&image.registry)?;
        let login = Login {
            client: client()?,
            registry: &image.registry,
            secure: self.base(image).starts_with("https://"),
            own: own.as_ref().map(|(user, password)| base64_basic(user, password)),
            scopes: &[format!("repository:{}:pull", image.repository)],
            scope_of_challenge: true,
            hint: &format!("set [sources.auth.\"{}\"] with user and password_env or password_file", image.registry),
        };
        let header = login.answer(headers).await?;
        self.logins.lock().await.insert(login_key(image), header);
        Ok(())
    }

    /// The Authorization header of the login that the inventory has for this host.
    pub(super) fn basic(&self, host: &str) -> Result<Option<SecretString>> {
        Ok(self.password(host)?.map(|(user, password)| base64_basic(&user, &password)))
    }

    fn password(&self, registry: &str) -> Result<Option<(String, SecretString)>> {
        let Some(auth) = self.sources.auth.get(registry) else {
            return Ok(None);
        };
        let password = read_password(registry, auth.password_env.as_deref(), auth.password_file.as_deref())?;
        Ok(Some((auth.user.clone(), password)))
    }
}

fn login_key(image: &ImageName) -> String {
    format!("{}/{}", image.registry, image.repository)
}

#[cfg(test)]
mod tests {
    use super::*;

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
