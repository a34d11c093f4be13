//! cosign's signatures made with a key: reading and checking them. Pure.
//!
//! A signature is a layer of an image manifest beside what it signs: the layer's blob is a JSON ("simple signing") that
//! names the signed manifest's digest, the annotation is the signature over that blob's bytes. In the newer form the blob
//! holds both.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ECDSA_P256_SHA256_ASN1, ED25519, UnparsedPublicKey, VerificationAlgorithm};
use serde::Deserialize;
use serde_json::Value;
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::sigstore::envelope;
use crate::bundle::manifest::Digest;
use crate::error::{Error, Result};

/// The media type of the JSON that is signed.
const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// The media type of a blob that holds what is signed and the signature.
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// The annotation that holds the signature.
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
/// The annotation of a signature whose key only a certificate of the moment names.
const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";
/// What the JSON says that it is.
const TYPE: &str = "cosign container image signature";
/// More signatures than anybody puts beside one image.
const MAX_SIGNATURES: usize = 100;

/// A public key that cosign signs with.
pub struct CosignKey {
    id: Digest,
    algorithm: &'static dyn VerificationAlgorithm,
    key: Vec<u8>,
}

impl std::fmt::Debug for CosignKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CosignKey({})", self.id)
    }
}

/// A signature beside an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CosignSignature {
    /// The blob that is signed, or holds all of it.
    pub payload: Digest,
    /// Its size in bytes, as the manifest says.
    pub size: u64,
    /// Where the signature is.
    pub form: CosignForm,
}

/// Where a signature is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CosignForm {
    /// In an annotation, over the blob.
    Annotation {
        /// The signature.
        signature: Vec<u8>,
        /// Whether it was made without a lasting key: then only a certificate and a log, asked online, say by whom.
        keyless: bool,
    },
    /// In the blob, a Sigstore bundle.
    Bundle,
}

/// Reads the public keys of a PEM file; `shown` names it in errors.
///
/// Errors (`Invalid`): no PEM, no public key in it or something else beside, a kind of key that is not known.
pub fn cosign_keys(pem: &[u8], shown: &str) -> Result<Vec<CosignKey>> {
    // The text is not repeated: it may be a secret key.
    let bad = |what: String| {
        Error::invalid(format!("{shown} {what}")).hint(
            "it is the cosign.pub of `cosign generate-key-pair`: -----BEGIN PUBLIC KEY-----, ECDSA P-256 or Ed25519",
        )
    };
    let mut keys = Vec::new();
    for block in Pem::iter_from_buffer(pem) {
        let block = block.map_err(|e| bad("is broken PEM".into()).source(e))?;
        if block.label != "PUBLIC KEY" {
            return Err(bad("holds something that is no public key".into()));
        }
        keys.push(key(&block.contents).ok_or_else(|| bad("holds a public key of a kind that is not known".into()))?);
    }
    if keys.is_empty() { Err(bad("holds no public key".into())) } else { Ok(keys) }
}

fn key(der: &[u8]) -> Option<CosignKey> {
    let (rest, info) = SubjectPublicKeyInfo::from_der(der).ok()?;
    let curve = info.algorithm.parameters.as_ref().and_then(|p| Some(p.as_oid().ok()?.to_id_string()));
    let algorithm: &'static dyn VerificationAlgorithm =
        match (info.algorithm.algorithm.to_id_string().as_str(), curve.as_deref()) {
            ("1.2.840.10045.2.1", Some("1.2.840.10045.3.1.7")) => &ECDSA_P256_SHA256_ASN1,
            ("1.3.101.112", None) => &ED25519,
            _ => return None,
        };
    let key = info.subject_public_key.data.to_vec();
    rest.is_empty().then(|| CosignKey { id: Digest::of(der), algorithm, key })
}

/// The signatures that the manifest beside an image holds.
///
/// Errors (`Invalid`): no manifest, an unreadable descriptor or annotation, more than 100 signatures.
pub fn cosign_signatures(manifest: &[u8]) -> Result<Vec<CosignSignature>> {
    let broken = |what: &str| Error::invalid(format!("the manifest of the signatures {what}"));
    let json: Value = serde_json::from_slice(manifest).map_err(|e| broken("is broken").source(e))?;
    let layers = json.get("layers").and_then(Value::as_array).ok_or_else(|| broken("has no layers"))?;
    let mut all = Vec::new();
    for layer in layers {
        let annotation = |key: &str| layer.get("annotations").and_then(|a| a.get(key)).and_then(Value::as_str);
        let form = match layer.get("mediaType").and_then(Value::as_str) {
            Some(PAYLOAD) => {
                let signature = annotation(SIGNATURE).and_then(|text| STANDARD.decode(text.trim()).ok());
                CosignForm::Annotation {
                    signature: signature.ok_or_else(|| broken(&format!("lacks the annotation {SIGNATURE}")))?,
                    keyless: annotation(CERTIFICATE).is_some(),
                }
            }
            Some(BUNDLE) => CosignForm::Bundle,
            _ => continue,
        };
        let payload = layer.get("digest").and_then(Value::as_str).unwrap_or_default();
        all.push(CosignSignature {
            payload: payload.parse().map_err(|e: Error| broken("names no digest").source(e))?,
            size: layer.get("size").and_then(Value::as_u64).ok_or_else(|| broken("names no size"))?,
            form,
        });
    }
    if all.len() > MAX_SIGNATURES {
        return Err(broken("holds more than any image has"));
    }
    Ok(all)
}

/// The digest of the manifest or index that a signed JSON vouches for. The reference in it is not compared: images are
/// fetched from mirrors under other names, and it is the digest that says what they are.
///
/// Errors (`Invalid`): not cosign's JSON.
pub fn cosign_payload(payload: &[u8]) -> Result<Digest> {
    #[derive(Deserialize)]
    struct Payload {
        critical: Critical,
    }
    #[derive(Deserialize)]
    struct Critical {
        image: Image,
        #[serde(rename = "type")]
        kind: String,
    }
    #[derive(Deserialize)]
    struct Image {
        #[serde(rename = "docker-manifest-digest")]
        digest: String,
    }
    let bad = |e| Error::invalid("what is signed is not cosign's JSON").source(e);
    let read: Payload = serde_json::from_slice(payload).map_err(bad)?;
    if read.critical.kind != TYPE {
        return Err(Error::invalid("what is signed is not a signature of an image"));
    }
    read.critical.image.digest.parse()
}

/// What the signatures beside an image are worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CosignWorth {
    /// One of them is by the key with this id, over the digest.
    Signed(Digest),
    /// None is: why.
    Not(String),
}

/// Looks for a signature by one of the keys over `signed`, among signatures with the bytes of their payloads.
#[must_use]
pub fn cosign_worth(keys: &[CosignKey], found: &[(CosignSignature, Vec<u8>)], signed: &Digest) -> CosignWorth {
    let (mut other, mut keyless) = (None, 0);
    for (signature, blob) in found {
        match by(keys, signature, blob) {
            Ok(Found::Nobody { keyless: without }) => keyless += usize::from(without),
            Ok(Found::By(key, Ok(digests))) if digests.contains(signed) => return CosignWorth::Signed(key.id.clone()),
            Ok(Found::By(key, Ok(digests))) => {
                let digests: Vec<String> = digests.iter().map(ToString::to_string).collect();
                other = Some(format!("the signature by the key {} is for {}", key.id, digests.join(", ")));
            }
            Ok(Found::By(key, Err(error))) => other = Some(format!("the signature by the key {}: {error}", key.id)),
            Err(error) => other = other.or_else(|| Some(error.to_string())),
        }
    }
    CosignWorth::Not(other.unwrap_or_else(|| match (found.len(), keyless) {
        (0, _) => "there is no signature".to_owned(),
        (all, 0) => format!("none of the {all} signatures there is by the key"),
        (all, some) => {
            format!("none of the {all} signatures there is by the key; {some} are keyless, which only online services can check")
        }
    }))
}

/// By whom a signature is.
enum Found<'k> {
    /// By this key, for these digests.
    By(&'k CosignKey, Result<Vec<Digest>>),
    Nobody {
        keyless: bool,
    },
}

/// The key that made a signature, and what for. Nothing that the blob says counts before that.
fn by<'k>(keys: &'k [CosignKey], signature: &CosignSignature, blob: &[u8]) -> Result<Found<'k>> {
    let of = |message: &[u8], signature: &[u8]| {
        keys.iter().find(|k| UnparsedPublicKey::new(k.algorithm, &k.key).verify(message, signature).is_ok())
    };
    Ok(match &signature.form {
        CosignForm::Annotation { signature, keyless } => match of(blob, signature) {
            Some(key) => Found::By(key, cosign_payload(blob).map(|digest| vec![digest])),
            None => Found::Nobody { keyless: *keyless },
        },
        CosignForm::Bundle => {
            let envelope = envelope(blob)?;
            match envelope.signatures.iter().find_map(|s| of(&envelope.message, s)) {
                Some(key) => Found::By(key, envelope.subjects()),
                None => Found::Nobody { keyless: envelope.keyless },
            }
        }
    })
}

#[cfg(test)]
#[path = "cosign_tests.rs"]
mod tests;
