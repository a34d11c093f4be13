//! Logging in to a registry: basic, and the distribution protocol's bearer tokens.

use std::collections::HashMap;
use std::path::Path;

use base64::Engine as _;
use reqwest::Client;
use reqwest::header::{AUTHORIZATION, HeaderMap, WWW_AUTHENTICATE};
use secrecy::{ExposeSecret as _, SecretString};

use super::http::{bad_status, body, unreachable};
use crate::error::{Error, Result};

/// The largest answer of a token service taken, in bytes.
const MAX_TOKEN: usize = 1 << 20;

/// What answers a registry's 401.
pub(crate) struct Login<'a> {
    /// Asks the token service.
    pub(crate) client: Client,
    /// The registry's name, for people.
    pub(crate) registry: &'a str,
    /// Whether the registry itself is reached over HTTPS: then its token service must be too.
    pub(crate) secure: bool,
    /// The Authorization header of the user's own name and password, if there is one.
    pub(crate) own: Option<SecretString>,
    /// What the token is for: `repository:NAME:pull,push`.
    pub(crate) scopes: &'a [String],
    /// Whether the scope that the registry names goes before `scopes`: it knows what it calls the repository. One who
    /// pushes asks for more than the challenged request needs.
    pub(crate) scope_of_challenge: bool,
    /// What to do when a login is wanted and there is none.
    pub(crate) hint: &'a str,
}

impl Login<'_> {
    /// The Authorization header that the challenge in `headers` asks for.
    pub(crate) async fn answer(&self, headers: &HeaderMap) -> Result<SecretString> {
        let challenge = headers.get(WWW_AUTHENTICATE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let (scheme, rest) = challenge.split_once(' ').unwrap_or((challenge, ""));
        if scheme.eq_ignore_ascii_case("bearer") {
            return self.token(&parameters(rest)).await;
        }
        self.own.clone().ok_or_else(|| {
            Error::failed(format!("registry {} wants a login", self.registry)).hint(self.hint.to_owned())
        })
    }

    async fn token(&self, challenge: &HashMap<String, String>) -> Result<SecretString> {
        let realm = challenge
            .get("realm")
            .ok_or_else(|| Error::failed(format!("registry {} names no realm to log in at", self.registry)))?;
        let mut url = reqwest::Url::parse(realm)
            .map_err(|e| Error::failed(format!("registry {} names a broken realm", self.registry)).source(e))?;
        if self.secure && url.scheme() != "https" {
            return Err(Error::failed(format!(
                "registry {} wants the password sent without encryption, to {realm}",
                self.registry
            )));
        }
        {
            let mut query = url.query_pairs_mut();
            match challenge.get("scope").filter(|_| self.scope_of_challenge) {
                Some(scope) => {
                    query.append_pair("scope", scope);
                }
                None => {
                    query.extend_pairs(self.scopes.iter().map(|s| ("scope", s)));
                }
            }
            if let Some(service) = challenge.get("service") {
                query.append_pair("service", service);
            }
        }
        let mut request = self.client.get(url);
        if let Some(basic) = &self.own {
            request = request.header(AUTHORIZATION, basic.expose_secret());
        }
        let answer = request.send().await.map_err(|e| unreachable(realm, e))?;
        if !answer.status().is_success() {
            return Err(bad_status(realm, answer.status()));
        }
        let bytes = body(answer, MAX_TOKEN, realm).await?;
        let body: serde_json::Value =
            serde_json::from_slice(&bytes).map_err(|e| Error::failed(format!("{realm} gave no token")).source(e))?;
        let token = body.get("token").or_else(|| body.get("access_token")).and_then(|t| t.as_str());
        token
            .map(|t| SecretString::from(format!("Bearer {t}")))
            .ok_or_else(|| Error::failed(format!("{realm} gave no token")))
    }
}

/// The header of a basic login.
pub(crate) fn base64_basic(user: &str, password: &SecretString) -> SecretString {
    let pair = format!("{user}:{}", password.expose_secret());
    SecretString::from(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair)))
}

/// The password for a registry: from an environment variable, or from a file.
pub(crate) fn read_password(registry: &str, env: Option<&str>, file: Option<&Path>) -> Result<SecretString> {
    let missing = |what: String| Error::failed(format!("failed to find the password for registry {registry}: {what}"));
    let password = match (env, file) {
        (Some(name), _) => {
            std::env::var(name).map_err(|_| missing(format!("the environment variable {name} is not set")))?
        }
        (None, Some(path)) => std::fs::read_to_string(path)
            .map_err(|e| missing(path.display().to_string()).source(e))?
            .trim_end_matches(['\r', '\n'])
            .to_owned(),
        (None, None) => return Err(missing("neither a variable nor a file is named that holds it".into())),
    };
    Ok(password.into())
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
}
