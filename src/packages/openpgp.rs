//! OpenPGP signatures over a repository's metadata, checked against the keys of a keyring. No clock: the time is given.
//!
//! On rPGP (crate `pgp`): pure Rust, under a permissive licence. It checks signatures; which of them count (bindings of
//! subkeys, expiry, revocation, weak hashes) is decided here.

use std::io::Read;

use pgp::composed::{CleartextSignedMessage, Deserializable as _, DetachedSignature, SignedPublicKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Signature, SignatureType};
use pgp::types::{KeyDetails, Tag, VerifyingKey};

use crate::error::{Error, Result};

/// The keys whose signatures count.
pub struct Keyring {
    keys: Vec<SignedPublicKey>,
    /// Where it was read from, for messages.
    name: String,
}

/// Opens what is signed, from its beginning.
pub type Open<'a> = dyn Fn() -> std::io::Result<Box<dyn Read + 'a>> + 'a;

/// Why one key does not vouch for one signature.
enum No {
    /// It is not its signature.
    Other,
    /// It is its signature, and it does not count: why.
    Void(String),
    /// It is its signature, and its time is over: why.
    Expired(String),
}

impl Keyring {
    /// Reads public keys: binary, or armored, also several blocks one after the other. `name` is for messages.
    pub fn parse(name: &str, bytes: &[u8]) -> Result<Self> {
        const BEGIN: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
        let bad = |e: pgp::errors::Error| {
            Error::invalid(format!("the keyring {name} is no list of OpenPGP public keys")).source(e.to_string())
        };
        let mut keys = Vec::new();
        match std::str::from_utf8(bytes) {
            Ok(text) if text.contains(BEGIN) => {
                for block in text.split(BEGIN).skip(1) {
                    let armored = format!("{BEGIN}{block}");
                    let (found, _) = SignedPublicKey::from_string_many(&armored).map_err(bad)?;
                    keys.extend(found.collect::<std::result::Result<Vec<_>, _>>().map_err(bad)?);
                }
            }
            _ => {
                let found = SignedPublicKey::from_bytes_many(bytes).map_err(bad)?;
                keys.extend(found.collect::<std::result::Result<Vec<_>, _>>().map_err(bad)?);
            }
        }
        if keys.is_empty() {
            return Err(Error::invalid(format!("the keyring {name} holds no public key"))
                .hint("export them with `gpg --export`, or take the file the repository publishes"));
        }
        Ok(Self { keys, name: name.to_owned() })
    }

    /// The text inside a cleartext-signed message (`InRelease`), and the fingerprint of the key that signed it. Only
    /// what was signed is returned. `now` in seconds since 1970; `None` lets expired keys and signatures count.
    pub fn verify_cleartext(&self, what: &str, message: &str, now: Option<i64>) -> Result<(String, String)> {
        let (message, _) = CleartextSignedMessage::from_string(message)
            .map_err(|e| Error::invalid(format!("{what} is not a cleartext-signed message")).source(e.to_string()))?;
        let text = message.signed_text();
        let signer = self.verify(what, &|| Ok(Box::new(text.as_bytes())), message.signatures().iter(), now)?;
        Ok((text.replace("\r\n", "\n"), signer))
    }

    /// The fingerprint of the key that made one of the detached signatures (armored or binary) over `data`.
    pub fn verify_detached(&self, what: &str, data: &[u8], signature: &[u8], now: Option<i64>) -> Result<String> {
        self.verify_stream(what, &|| Ok(Box::new(data)), signature, now)
    }

    /// The same over what `open` gives, from its beginning each time it is called.
    pub fn verify_stream(&self, what: &str, open: &Open<'_>, signature: &[u8], now: Option<i64>) -> Result<String> {
        let bad = |e: pgp::errors::Error| {
            Error::invalid(format!("the signature of {what} is no OpenPGP signature")).source(e.to_string())
        };
        let (found, _) = DetachedSignature::from_reader_many(signature).map_err(bad)?;
        let all = found.collect::<std::result::Result<Vec<_>, _>>().map_err(bad)?;
        self.verify(what, open, all.iter().map(|s| &s.signature), now)
    }

    fn verify<'s>(
        &self,
        what: &str,
        open: &Open<'_>,
        signatures: impl Iterator<Item = &'s Signature>,
        now: Option<i64>,
    ) -> Result<String> {
        let (mut issuers, mut void, mut expired) = (Vec::new(), None, None);
        for signature in signatures {
            issuers.extend(signature.issuer_fingerprint().iter().map(|f| format!("{f:X}")));
            if signature.issuer_fingerprint().is_empty() {
                issuers.extend(signature.issuer_key_id().iter().map(|id| id.to_string().to_uppercase()));
            }
            for key in &self.keys {
                match vouches(key, signature, open, now) {
                    Ok(fingerprint) => return Ok(fingerprint),
                    Err(No::Other) => {}
                    Err(No::Void(why)) => void = Some(why),
                    Err(No::Expired(why)) => expired = Some(why),
                }
            }
        }
        if let Some(why) = expired {
            return Err(Error::invalid(format!("the signature of {what} is expired: {why}")).hint(
                "get the repository's new keys or metadata; with --allow-expired it counts all the same, and may be an old state played back",
            ));
        }
        if let Some(why) = void {
            return Err(Error::invalid(format!("the signature of {what} does not count: {why}"))
                .hint("the file was changed on its way, or the repository is not what it was"));
        }
        issuers.dedup();
        let by = if issuers.is_empty() { "nobody".to_owned() } else { issuers.join(", ") };
        Err(Error::invalid(format!("{what} is signed by {by}, which is not in the keyring {}", self.name))
            .hint("compare fingerprints with what the repository's owner publishes, then add that key to the keyring"))
    }
}

/// Whether `key`, or one of its signing subkeys, made `signature` over `data`, and that counts; its fingerprint.
fn vouches(key: &SignedPublicKey, signature: &Signature, open: &Open<'_>, now: Option<i64>) -> Result<String, No> {
    let primary = &key.primary_key;
    let subkey = key.public_subkeys.iter().find(|s| issued(signature, &s.key));
    let own = issued(signature, primary);
    if !own && subkey.is_none() {
        return Err(No::Other);
    }
    let id = primary.fingerprint().to_string().to_uppercase();
    if !matches!(signature.typ(), Some(SignatureType::Binary | SignatureType::Text)) {
        return Err(No::Void("it is not a signature over a document".into()));
    }
    if !strong(signature) {
        return Err(No::Void(format!("key {id} made it with the weak hash {:?}", signature.hash_alg())));
    }
    let bad = |_| No::Void(format!("it is not what key {id} signed"));
    let data = open().map_err(|e| No::Void(format!("what key {id} signed cannot be read: {e}")))?;
    match subkey {
        Some(subkey) if !own => signature.verify(&subkey.key, data).map_err(bad)?,
        _ => signature.verify(primary, data).map_err(bad)?,
    }
    if key.details.revocation_signatures.iter().any(|r| r.verify_key(primary).is_ok()) {
        return Err(No::Void(format!("key {id} is revoked")));
    }
    let users = key.details.users.iter().flat_map(|u| {
        u.signatures.iter().filter(|s| {
            s.typ() != Some(SignatureType::CertRevocation)
                && s.verify_certification(primary, Tag::UserId, &u.id).is_ok()
        })
    });
    let direct = key.details.direct_signatures.iter().filter(|s| s.verify_key(primary).is_ok());
    let Some(latest) = users.chain(direct).max_by_key(|s| s.created().map(|t| t.as_secs())) else {
        return Err(No::Void(format!("key {id} has no signature of its own")));
    };
    in_time(primary, latest, now).map_err(|why| No::Expired(format!("key {id} {why}")))?;
    match subkey {
        Some(subkey) if !own => {
            let revoked = |s: &&Signature| s.typ() == Some(SignatureType::SubkeyRevocation);
            let valid = |s: &&Signature| s.verify_subkey_binding(primary, &subkey.key).is_ok();
            if subkey.signatures.iter().filter(revoked).any(|s| valid(&s)) {
                return Err(No::Void(format!("the subkey of {id} that made it is revoked")));
            }
            let bound = subkey.signatures.iter().filter(|s| !revoked(s)).filter(valid);
            let bound = bound.max_by_key(|s| s.created().map(|t| t.as_secs()));
            let back = bound.filter(|s| s.key_flags().sign()).and_then(|s| Some((s, s.embedded_signature()?)));
            let Some((binding, back)) = back else {
                return Err(No::Void(format!("the subkey of {id} that made it is not one to sign with")));
            };
            if back.verify_primary_key_binding(&subkey.key, primary).is_err() {
                return Err(No::Void(format!("the subkey that made it is not one of {id}")));
            }
            in_time(&subkey.key, binding, now).map_err(|why| No::Expired(format!("the subkey of {id} {why}")))?;
        }
        _ => {
            let flags = latest.key_flags();
            if flags.certify() && !flags.sign() {
                return Err(No::Void(format!("key {id} is not one to sign with")));
            }
        }
    }
    let ends = signature.signature_expiration_time().map_or(0, |d| i64::from(d.as_secs()));
    let made = signature.created().map_or(0, |t| i64::from(t.as_secs()));
    if ends != 0 && now.is_some_and(|now| made + ends < now) {
        return Err(No::Expired("its own time is over".into()));
    }
    Ok(id)
}

fn issued(signature: &Signature, key: &impl KeyDetails) -> bool {
    let (ids, prints) = (signature.issuer_key_id(), signature.issuer_fingerprint());
    prints.iter().any(|f| **f == key.fingerprint()) || ids.iter().any(|id| **id == key.legacy_key_id())
}

fn strong(signature: &Signature) -> bool {
    use HashAlgorithm::{Sha3_256, Sha3_512, Sha256, Sha384, Sha512};
    matches!(signature.hash_alg(), Some(Sha256 | Sha384 | Sha512 | Sha3_256 | Sha3_512))
}

/// Whether the key's time, as `binding` sets it, is not over.
fn in_time(key: &impl VerifyingKey, binding: &Signature, now: Option<i64>) -> std::result::Result<(), String> {
    let (Some(now), Some(lives)) = (now, binding.key_expiration_time()) else { return Ok(()) };
    let ends = i64::from(key.created_at().as_secs()) + i64::from(lives.as_secs());
    if lives.as_secs() == 0 || ends >= now {
        return Ok(());
    }
    let day = chrono::DateTime::from_timestamp(ends, 0).map(|t| t.format("%Y-%m-%d").to_string());
    Err(format!("expired on {}", day.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One packet's worth of any bytes, in the armor of `kind`.
    fn armored(kind: &str, bytes: &[u8]) -> String {
        use base64::Engine as _;
        let body = base64::engine::general_purpose::STANDARD.encode(bytes);
        format!("-----BEGIN PGP {kind}-----\n\n{body}\n-----END PGP {kind}-----\n")
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "(\\PC|\n){0,80}") {
            // A packet with the tag of a key or signature is read further than one without.
            for tag in [0x99_u8, 0x89, 0xc6, 0xc2] {
                let length = u16::try_from(bytes.len()).unwrap_or(0).to_be_bytes();
                let packet = [&[tag][..], &length, &bytes].concat();
                let _ = Keyring::parse("the test", &packet);
                let _ = Keyring::parse("the test", armored("PUBLIC KEY BLOCK", &packet).as_bytes());
                let none = Keyring { keys: Vec::new(), name: String::new() };
                let _ = none.verify_detached("the test", &bytes, armored("SIGNATURE", &packet).as_bytes(), Some(0));
                let message = format!("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n{text}\n{}", armored("SIGNATURE", &packet));
                prop_assert!(none.verify_cleartext("the test", &message, Some(0)).is_err());
                prop_assert!(none.verify_cleartext("the test", &text, None).is_err());
            }
        }
    }
}
