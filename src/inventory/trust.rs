//! `[trust]`: whose signatures a bundle needs before it is used.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::upstream::UpstreamSigner;
use crate::error::Error;

/// `[trust]`. Without it no bundle is used at all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Trust {
    /// Who may sign.
    pub signers: Vec<Signer>,
    /// How many of them must have signed: 1 when left out, at most as many as there are signers.
    pub threshold: u32,
    /// Uses a bundle that too few have signed, with a warning each time. A signature that does not hold is refused
    /// even so.
    pub allow_unsigned_bundle: Option<UnsignedBundle>,
    /// Whose signatures upstream's own images and files must have.
    pub upstream: Vec<UpstreamSigner>,
}

impl Default for Trust {
    fn default() -> Self {
        Self { signers: Vec::new(), threshold: 1, allow_unsigned_bundle: None, upstream: Vec::new() }
    }
}

/// `[[trust.signers]]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Signer {
    /// What this signer is called in messages.
    pub name: String,
    /// The public key as minisign writes it, like "RWQ...": the second line of the `.pub` file.
    pub key: String,
}

/// The words that switch the signatures off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum UnsignedBundle {
    /// Nothing else will do.
    #[serde(rename = "I accept unsigned bundles")]
    Accepted,
}

/// A public key of minisign. Two are equal when they check the same signatures: the id beside the key is no part of
/// that.
#[derive(Clone, Copy)]
pub struct PublicKey([u8; 42]);

impl PublicKey {
    /// The id as minisign prints it: 16 upper-case hexadecimal digits. Anybody can make a key with a given id.
    #[must_use]
    pub fn id(&self) -> String {
        key_id(&self.0)
    }

    /// The 42 bytes of minisign's form: the algorithm, the id, the key of Ed25519.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 42] {
        &self.0
    }

    fn key(&self) -> &[u8] {
        &self.0[10..]
    }
}

/// The id in the bytes 2 to 9 of a key or signature, as minisign prints it.
pub(crate) fn key_id(bytes: &[u8]) -> String {
    bytes.iter().skip(2).take(8).rev().map(|b| format!("{b:02X}")).collect()
}

impl FromStr for PublicKey {
    type Err = Error;
    /// Accepts the base64 text of a public key, 56 characters, with nothing round it.
    fn from_str(text: &str) -> Result<Self, Error> {
        let bytes = STANDARD.decode(text).ok().and_then(|b| <[u8; 42]>::try_from(b).ok());
        bytes.filter(|b| b.starts_with(b"Ed")).map(Self).ok_or_else(|| {
            // The text is not repeated: it may be a secret key.
            Error::invalid("this is not a public key of minisign")
                .hint("it is the second line of the .pub file: 56 characters that begin with RW")
        })
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}
impl Eq for PublicKey {}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}
impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_key_is_read_as_minisign_writes_it() {
        let text = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
        let key: PublicKey = text.parse().unwrap_or_else(|e| panic!("{e}"));
        assert_eq!((key.id().as_str(), key.to_string().as_str()), ("E7620F1842B4E81F", text));
        let secret = STANDARD.encode([b"EdScB2".as_slice(), &[7; 152]].concat());
        for bad in ["", "RWQ", &text[1..], &format!("{text}\n"), &text.replacen("RW", "RX", 1), &secret] {
            let error = bad.parse::<PublicKey>().expect_err(bad);
            assert!(bad.is_empty() || !error.report().contains(bad), "{error}");
        }
    }

    /// The id is a label: a key under another id is the same key, and counts once.
    #[test]
    fn keys_are_told_apart_by_their_bytes() {
        let mut bytes = [7; 42];
        bytes[..2].copy_from_slice(b"Ed");
        let other_id = {
            let mut b = bytes;
            b[3] = 1;
            b
        };
        let other_key = {
            let mut b = bytes;
            b[41] = 1;
            b
        };
        assert_eq!(PublicKey(bytes), PublicKey(other_id));
        assert_ne!(PublicKey(bytes), PublicKey(other_key));
    }
}
