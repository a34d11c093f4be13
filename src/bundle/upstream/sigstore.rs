//! The newer form of cosign's signatures (its default from version 3): a Sigstore bundle with a DSSE envelope round an
//! in-toto statement that names the image. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;

use crate::bundle::manifest::Digest;
use crate::error::{Error, Result};

/// What is in the envelope.
const STATEMENT: &str = "application/vnd.in-toto+json";
/// What the statement says of the image: that it is signed. Others (how it was built, what is inside) are no signature.
const SIGNED: &str = "https://sigstore.dev/cosign/sign/v1";

/// An envelope, open.
pub(super) struct Envelope {
    /// The bytes that are signed.
    pub(super) message: Vec<u8>,
    pub(super) signatures: Vec<Vec<u8>>,
    /// Whether only a certificate says by whom it is signed.
    pub(super) keyless: bool,
    payload: Vec<u8>,
}

/// Reads a Sigstore bundle.
///
/// Errors (`Invalid`): no bundle with an envelope of an in-toto statement.
pub(super) fn envelope(bundle: &[u8]) -> Result<Envelope> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Bundle {
        verification_material: Value,
        dsse_envelope: Dsse,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Dsse {
        payload: String,
        payload_type: String,
        signatures: Vec<Signature>,
    }
    #[derive(Deserialize)]
    struct Signature {
        sig: String,
    }
    let bad = || Error::invalid("what lies beside the image is no Sigstore bundle");
    let read: Bundle = serde_json::from_slice(bundle).map_err(|e| bad().source(e))?;
    let decoded = |text: &str| STANDARD.decode(text).map_err(|e| bad().source(e));
    if read.dsse_envelope.payload_type != STATEMENT {
        return Err(Error::invalid("what is signed is no in-toto statement"));
    }
    let payload = decoded(&read.dsse_envelope.payload)?;
    // DSSE's pre-authentication encoding: the type is signed too.
    let mut message = format!("DSSEv1 {} {STATEMENT} {} ", STATEMENT.len(), payload.len()).into_bytes();
    message.extend_from_slice(&payload);
    let signatures = read.dsse_envelope.signatures.iter().map(|s| decoded(&s.sig)).collect::<Result<_>>()?;
    let keyless = read.verification_material.get("publicKey").is_none();
    Ok(Envelope { message, signatures, keyless, payload })
}

impl Envelope {
    /// The digests that the statement says are signed.
    ///
    /// Errors (`Invalid`): it says something else.
    pub(super) fn subjects(&self) -> Result<Vec<Digest>> {
        #[derive(Deserialize)]
        struct Statement {
            #[serde(rename = "predicateType")]
            predicate_type: String,
            subject: Vec<Subject>,
        }
        #[derive(Deserialize)]
        struct Subject {
            digest: Algorithms,
        }
        #[derive(Deserialize)]
        struct Algorithms {
            sha256: Option<String>,
        }
        let bad = |e| Error::invalid("what is signed is no in-toto statement").source(e);
        let read: Statement = serde_json::from_slice(&self.payload).map_err(bad)?;
        if read.predicate_type != SIGNED {
            return Err(Error::invalid("what is signed says something of the image, but not that it is signed"));
        }
        read.subject.iter().filter_map(|s| Some(s.digest.sha256.as_ref()?.parse())).collect()
    }
}
