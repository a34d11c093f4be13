//! Which signatures of a bundle hold, and whether they are enough. Pure: the date is given.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::NaiveDate;
use minisign::{PublicKey as Key, SignatureBox};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::inventory::{PublicKey, Trust, key_id};

/// Before the date in a trusted comment: the last day (UTC) on which the signature counts.
const EXPIRES: &str = "expires:";

/// Whose signatures are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    signers: Vec<(String, PublicKey)>,
    threshold: usize,
    accept_unsigned: bool,
}

impl Policy {
    /// `threshold` of these signers, by name and key; a key that is there twice counts once, under its first name.
    /// `accept_unsigned` takes fewer. A threshold of 0 is one of 1: it would ask for nothing.
    #[must_use]
    pub fn new(signers: Vec<(String, PublicKey)>, threshold: usize, accept_unsigned: bool) -> Self {
        let mut distinct: Vec<(String, PublicKey)> = Vec::new();
        for (name, key) in signers {
            if !distinct.iter().any(|(_, k)| *k == key) {
                distinct.push((name, key));
            }
        }
        Self { signers: distinct, threshold: threshold.max(1), accept_unsigned }
    }

    /// As an inventory has it. Without a `[trust]` nobody is trusted and no bundle is good enough.
    ///
    /// # Errors
    /// [`crate::error::Kind::Invalid`] when a key cannot be read.
    pub fn of(trust: &Trust) -> Result<Self> {
        let read = |s: &crate::inventory::Signer| s.key.parse().map(|key| (s.name.clone(), key));
        let signers = trust.signers.iter().map(read).collect::<Result<Vec<_>>>()?;
        let threshold = usize::try_from(trust.threshold).unwrap_or(usize::MAX);
        Ok(Self::new(signers, threshold, trust.allow_unsigned_bundle.is_some()))
    }

    /// Whether anybody's signature could count.
    #[must_use]
    pub fn trusts_nobody(&self) -> bool {
        self.signers.is_empty()
    }

    /// How many signatures are asked for.
    #[must_use]
    pub fn threshold(&self) -> usize {
        self.threshold
    }
}

/// A signature file of a bundle, looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// The name of its file. Anybody may have chosen it.
    pub file: String,
    /// The id of the key it says it is by; none when the file cannot be read.
    pub key_id: Option<String>,
    /// The signer whose key has that id.
    pub signer: Option<String>,
    /// The trusted comment, when the signature holds.
    pub comment: Option<String>,
    /// What it is worth.
    pub standing: Standing,
}

/// What a signature is worth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Standing {
    /// It holds, by a signer.
    Valid {
        /// The last day on which it counts.
        until: Option<NaiveDate>,
    },
    /// By a key that is none of the signers': it cannot be checked.
    UnknownKey,
    /// It holds and its last day is over.
    Expired {
        /// The last day on which it counted.
        until: NaiveDate,
    },
    /// The file is no signature, or not one of these bytes by that key.
    Wrong {
        /// Why.
        reason: String,
    },
}

/// Whether the signatures are enough.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Verdict {
    /// They are.
    Trusted,
    /// They are not, and the inventory takes the bundle even so.
    AcceptedUnsigned,
    /// They are not.
    Refused,
}

/// Looks at each signature file (name and bytes) over `data`.
#[must_use]
pub fn look(data: &[u8], files: &[(String, Vec<u8>)], policy: &Policy, today: NaiveDate) -> Vec<Seen> {
    files.iter().map(|(name, bytes)| look_at(data, name, bytes, policy, today)).collect()
}

/// How many different signers have signed; a second signature of one counts nothing.
#[must_use]
pub fn count(seen: &[Seen]) -> usize {
    let valid = seen.iter().filter(|s| matches!(s.standing, Standing::Valid { .. }));
    valid.filter_map(|s| s.signer.as_deref()).collect::<BTreeSet<_>>().len()
}

/// The signers without a signature that counts.
#[must_use]
pub fn absent<'p>(seen: &[Seen], policy: &'p Policy) -> Vec<&'p str> {
    let signed = |name: &str| {
        seen.iter().any(|s| matches!(s.standing, Standing::Valid { .. }) && s.signer.as_deref() == Some(name))
    };
    policy.signers.iter().map(|(name, _)| name.as_str()).filter(|name| !signed(name)).collect()
}

/// Judges what [`look`] saw. Enough valid signatures are enough, whatever lies beside them. Accepting an unsigned bundle
/// is not accepting a changed one: a signature that is wrong refuses it.
#[must_use]
pub fn judge(seen: &[Seen], policy: &Policy) -> Verdict {
    let wrong = seen.iter().any(|s| matches!(s.standing, Standing::Wrong { .. }));
    if count(seen) >= policy.threshold {
        Verdict::Trusted
    } else if policy.accept_unsigned && !wrong {
        Verdict::AcceptedUnsigned
    } else {
        Verdict::Refused
    }
}

fn look_at(data: &[u8], file: &str, bytes: &[u8], policy: &Policy, today: NaiveDate) -> Seen {
    let mut seen = Seen {
        file: file.to_owned(),
        key_id: None,
        signer: None,
        comment: None,
        standing: Standing::Wrong { reason: "it is no signature in minisign's format".into() },
    };
    let Some((id, signature)) = parse_minisig(bytes) else { return seen };
    seen.key_id = Some(id.clone());
    // An id is 8 bytes that anybody can choose: two signers' may be equal.
    let mut owners = policy.signers.iter().filter(|(_, key)| key.id() == id).peekable();
    let Some((first, _)) = owners.peek() else {
        seen.standing = Standing::UnknownKey;
        return seen;
    };
    seen.signer = Some(first.clone());
    if !signature.is_prehashed() {
        seen.standing = Standing::Wrong { reason: "it has the legacy form without a prehash: sign again".into() };
        return seen;
    }
    let Some((name, _)) = owners.find(|(_, key)| holds(data, &signature, key)) else {
        seen.standing = Standing::Wrong { reason: "bundle.json or the signature was changed after signing".into() };
        return seen;
    };
    seen.signer = Some(name.clone());
    let comment = signature.trusted_comment().unwrap_or_default();
    seen.standing = match expiry(&comment) {
        Err(reason) => Standing::Wrong { reason },
        Ok(Some(until)) if today > until => Standing::Expired { until },
        Ok(until) => Standing::Valid { until },
    };
    seen.comment = Some(comment);
    seen
}

fn holds(data: &[u8], signature: &SignatureBox, key: &PublicKey) -> bool {
    Key::from_bytes(key.as_bytes())
        .and_then(|key| minisign::verify(&key, signature, std::io::Cursor::new(data), true, false, false))
        .is_ok()
}

/// The key's id and the signature. Strict, because the crate takes the lengths of what it decodes for granted.
pub(super) fn parse_minisig(bytes: &[u8]) -> Option<(String, SignatureBox)> {
    let text = std::str::from_utf8(bytes).ok()?;
    let lines: Vec<&str> = text.lines().collect();
    let [untrusted, signature, trusted, global] = lines.as_slice() else { return None };
    let signature = STANDARD.decode(signature).ok().filter(|s| s.len() == 74)?;
    STANDARD.decode(global).ok().filter(|g| g.len() == 64)?;
    if !untrusted.starts_with("untrusted comment: ") || !trusted.starts_with("trusted comment: ") {
        return None;
    }
    Some((key_id(&signature), SignatureBox::from_string(text).ok()?))
}

/// The earliest `expires:YYYY-MM-DD` among the words of a trusted comment.
fn expiry(comment: &str) -> std::result::Result<Option<NaiveDate>, String> {
    let mut earliest: Option<NaiveDate> = None;
    for text in comment.split_whitespace().filter_map(|word| word.strip_prefix(EXPIRES)) {
        let date = date(text).map_err(|_| "the date on which it expires cannot be read".to_owned())?;
        earliest = Some(earliest.map_or(date, |e| e.min(date)));
    }
    Ok(earliest)
}

/// The trusted comment of a signature: what the bundle is, and nothing of the cluster or the clock.
pub(super) fn comment(kubernetes: &str, digest: &super::Digest, expires: Option<NaiveDate>) -> String {
    // It is one word of one line, whatever bundle.json says.
    let kubernetes: String = kubernetes.chars().filter(char::is_ascii_graphic).collect();
    let expires = expires.map_or(String::new(), |date| format!(" {EXPIRES}{date}"));
    format!("provision bundle kubernetes:{kubernetes} {digest}{expires}")
}

/// A date written `YYYY-MM-DD` and in no other way.
///
/// # Errors
/// [`crate::error::Kind::Usage`]
pub fn date(text: &str) -> Result<NaiveDate> {
    let plain = text.len() == 10 && text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().filter(|_| plain);
    date.ok_or_else(|| {
        Error::new(crate::error::Kind::Usage, "this is not a date").hint("write it like 2027-01-31: year, month, day")
    })
}

#[cfg(test)]
#[path = "trust_tests.rs"]
mod tests;
