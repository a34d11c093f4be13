//! Logging in: a key file, or the agent.

use std::path::Path;
use std::sync::Arc;

use russh::client::Handle;
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{PrivateKeyWithHashAlg, load_secret_key};
use secrecy::{ExposeSecret, SecretString};

use super::trust::Verifier;
use crate::error::{Error, Result};
use crate::inventory::expand_home;

/// Who logs in, and with what.
pub(super) struct Login<'a> {
    pub(super) node: &'a str,
    pub(super) user: &'a str,
    pub(super) key_file: Option<&'a Path>,
    pub(super) passphrase: Option<SecretString>,
}

/// Logs in with the key file if one is set, else with each identity of the agent in turn. Only the configured key is
/// offered when there is one: sshd counts every offer against MaxAuthTries.
pub(super) async fn login(session: &mut Handle<Verifier>, login: &Login<'_>) -> Result<()> {
    match login.key_file {
        Some(path) => with_file(session, login, path).await,
        None => with_agent(session, login).await,
    }
}

async fn rsa_hash(session: &Handle<Verifier>) -> Option<russh::keys::HashAlg> {
    session.best_supported_rsa_hash().await.ok().flatten().flatten()
}

async fn with_file(session: &mut Handle<Verifier>, login: &Login<'_>, path: &Path) -> Result<()> {
    let path = expand_home(path);
    let key = load_secret_key(&path, login.passphrase.as_ref().map(ExposeSecret::expose_secret)).map_err(|e| {
        let hint = match &e {
            russh::keys::Error::KeyIsEncrypted => {
                "the key has a passphrase: name the environment variable that holds it in key_passphrase_env"
            }
            _ => "check key_file: it must be a private key in OpenSSH or PEM form, readable by you",
        };
        Error::failed(format!("failed to load the SSH key {}", path.display()))
            .with_kind(crate::error::Kind::Unreachable)
            .on(login.node)
            .source(e)
            .hint(hint)
    })?;
    let hash = rsa_hash(session).await;
    let result = session
        .authenticate_publickey(login.user, PrivateKeyWithHashAlg::new(Arc::new(key), hash))
        .await
        .map_err(|e| lost(login, e))?;
    if result.success() { Ok(()) } else { Err(denied(login, &format!("the key {}", path.display()))) }
}

async fn with_agent(session: &mut Handle<Verifier>, login: &Login<'_>) -> Result<()> {
    let no_agent = |e: &dyn std::fmt::Display| {
        Error::unreachable(format!("no key_file is set and the SSH agent does not answer: {e}"))
            .on(login.node)
            .hint("set key_file for the host (or in [defaults]), or start an agent and `ssh-add` the key")
    };
    let mut agent = AgentClient::connect_env().await.map_err(|e| no_agent(&e))?;
    let identities = agent.request_identities().await.map_err(|e| no_agent(&e))?;
    let count = identities.len();
    for identity in identities {
        let AgentIdentity::PublicKey { key, .. } = identity else { continue };
        let hash = rsa_hash(session).await;
        let result = session.authenticate_publickey_with(login.user, key, hash, &mut agent).await;
        match result {
            Ok(result) if result.success() => return Ok(()),
            Ok(_) => {}
            Err(e) => return Err(lost(login, std::io::Error::other(format!("{e:?}")))),
        }
    }
    Err(denied(login, &format!("{count} keys of the SSH agent")))
}

fn lost(login: &Login<'_>, e: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::unreachable(format!("the connection broke while logging in as {}", login.user)).on(login.node).source(e)
}

fn denied(login: &Login<'_>, tried: &str) -> Error {
    Error::unreachable(format!("login as {} was denied; tried {tried}", login.user))
        .on(login.node)
        .hint(format!("put the public key into ~{}/.ssh/authorized_keys on the host", login.user))
}
