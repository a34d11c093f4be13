//! Detached signatures beside files. The file is streamed: it may be larger than memory.

use std::io::{self, Read, Seek, SeekFrom};

use minisign::PublicKey as MinisignKey;

use crate::bundle::trust::parse_minisig;
use crate::error::{Error, Result};
use crate::inventory::PublicKey;
use crate::packages::{Keyring, Open};

/// minisign's crate asks for more than it uses.
struct NeverSought<R>(R);

impl<R: Read> Read for NeverSought<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<R> Seek for NeverSought<R> {
    fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Checks a signature of minisign; the id of the key.
///
/// Errors (`Invalid`): it is no signature, of the legacy form, or not by this key over these bytes.
pub(super) fn minisign_holds(key: &PublicKey, what: &str, open: &Open<'_>, signature: &[u8]) -> Result<String> {
    let bad = |why: String| Error::invalid(format!("the signature of {what} {why}"));
    let (id, parsed) = parse_minisig(signature).ok_or_else(|| bad("is no signature in minisign's format".into()))?;
    if id != key.id() {
        return Err(bad(format!("is by the key {id}, the inventory names {}", key.id())));
    }
    if !parsed.is_prehashed() {
        return Err(bad("has the legacy form without a prehash, which is not taken".into()));
    }
    let reader = open().map_err(|e| Error::failed(format!("failed to read {what}")).source(e))?;
    MinisignKey::from_bytes(key.as_bytes())
        .and_then(|key| minisign::verify(&key, &parsed, NeverSought(reader), true, false, false))
        .map_err(|e| {
            bad(format!("does not hold: the file or the signature is not what the key {id} signed")).source(e)
        })?;
    Ok(id)
}

/// Checks a signature of OpenPGP; the fingerprint of the key. A key whose time is over counts: releases outlive the keys
/// that signed them, and the lock pins which release it is.
pub(super) fn openpgp_holds(keys: &Keyring, what: &str, open: &Open<'_>, signature: &[u8]) -> Result<String> {
    keys.verify_stream(what, open, signature, None)
}
