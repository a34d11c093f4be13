//! Strict host-key checking: a key is the pinned one of the inventory, or in known_hosts, or it is refused.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use russh::client::Handler;
use russh::keys::ssh_key::{Algorithm, HashAlg, PublicKey};
use russh::keys::{self, PublicKeyOrCertificate};

use crate::error::{Error, Result};

/// The keys a host may show, and where they are written.
#[derive(Debug, Clone)]
pub(super) struct Trust {
    node: String,
    address: String,
    port: u16,
    keys: Vec<PublicKey>,
    origin: Origin,
}

#[derive(Debug, Clone)]
enum Origin {
    Inventory,
    KnownHosts(PathBuf),
}

impl Trust {
    /// The pinned key if there is one, else what known_hosts says of the address.
    pub(super) fn new(node: &str, address: &str, port: u16, pinned: Option<&str>, known_hosts: &Path) -> Result<Self> {
        let (keys, origin) = match pinned {
            Some(text) => {
                let key = PublicKey::from_openssh(text).map_err(|e| {
                    Error::invalid("the pinned host_key is not an OpenSSH public key")
                        .on(node)
                        .source(e)
                        .hint("write it as in a .pub file: `ssh-ed25519 AAAA...`")
                })?;
                (vec![key], Origin::Inventory)
            }
            None => (known_keys(address, port, known_hosts), Origin::KnownHosts(known_hosts.to_owned())),
        };
        Ok(Self { node: node.into(), address: address.into(), port, keys, origin })
    }

    /// The host-key algorithms to ask for: only those that are recorded, so that a host with several keys shows the
    /// one we can compare.
    pub(super) fn algorithms(&self) -> Option<Vec<Algorithm>> {
        let mut all: Vec<Algorithm> = Vec::new();
        for key in &self.keys {
            match key.algorithm() {
                // An RSA key signs under three names; the oldest (SHA-1) is left out.
                Algorithm::Rsa { .. } => {
                    all.push(Algorithm::Rsa { hash: Some(HashAlg::Sha512) });
                    all.push(Algorithm::Rsa { hash: Some(HashAlg::Sha256) });
                }
                other => all.push(other),
            }
        }
        all.dedup();
        (!all.is_empty()).then_some(all)
    }

    fn accepts(&self, key: &PublicKey) -> bool {
        self.keys.iter().any(|k| k.key_data() == key.key_data())
    }

    /// The error for a key that is not accepted.
    fn refusal(&self, key: &PublicKey) -> Error {
        let fingerprint = key.fingerprint(HashAlg::Sha256);
        let plain = PublicKey::from(key.key_data().clone());
        let line = plain.to_openssh().unwrap_or_default();
        let shown = format!("{} {fingerprint}", key.algorithm());
        let error = if self.keys.is_empty() {
            Error::unreachable(format!("the host key of {}:{} is not known: {shown}", self.address, self.port))
        } else {
            Error::unreachable(format!(
                "THE HOST KEY OF {}:{} HAS CHANGED: it shows {shown}, which is not the recorded one",
                self.address, self.port
            ))
            .hint("somebody may be listening in, or the machine was installed anew: find out which before going on")
        };
        let error = error.on(&self.node);
        match &self.origin {
            Origin::Inventory => {
                error.hint(format!("if the key is right, set in the inventory: host_key = \"{line}\""))
            }
            Origin::KnownHosts(path) => {
                let name =
                    if self.port == 22 { self.address.clone() } else { format!("[{}]:{}", self.address, self.port) };
                error.hint(format!(
                    "if the key is right, add to the host in the inventory: host_key = \"{line}\"  (or to {}: {name} {line})",
                    path.display()
                ))
            }
        }
    }
}

fn known_keys(address: &str, port: u16, path: &Path) -> Vec<PublicKey> {
    let known = keys::known_hosts::known_host_keys_path(address, port, path).unwrap_or_default();
    // russh's reader does not know the @revoked marker; a revoked key is never accepted, whatever else lists it.
    let revoked: Vec<PublicKey> = std::fs::read_to_string(path)
        .unwrap_or_default()
        .lines()
        .filter_map(|l| l.strip_prefix("@revoked"))
        .filter_map(|l| {
            let mut words = l.split_whitespace().skip(1);
            PublicKey::from_openssh(&format!("{} {}", words.next()?, words.next()?)).ok()
        })
        .collect();
    known
        .into_iter()
        .map(|(_, key)| key)
        .filter(|key| !revoked.iter().any(|r| r.key_data() == key.key_data()))
        .collect()
}

/// russh's callback; the refusal is kept for the caller, because russh only says that there was one.
pub(super) struct Verifier {
    pub(super) trust: Trust,
    pub(super) refused: Arc<Mutex<Option<Error>>>,
}

impl Handler for Verifier {
    type Error = russh::Error;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        let PublicKeyOrCertificate::PublicKey { key, .. } = shown else {
            // We ask for plain keys only; a certificate is not something we can judge.
            return Ok(false);
        };
        if self.trust.accepts(key) {
            return Ok(true);
        }
        if let Ok(mut slot) = self.refused.lock() {
            *slot = Some(self.trust.refusal(key));
        }
        Ok(false)
    }
}
