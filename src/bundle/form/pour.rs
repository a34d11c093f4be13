//! The bytes of one file of a bundle, handed on in pieces and hashed on the way.

use std::io::Read as _;

use sha2::{Digest as _, Sha256};

use super::contents::{Item, promised};
use crate::bundle::manifest::Digest;
use crate::error::{Context as _, Error, Result};

/// How much is handed on at once, in bytes.
const STRIDE: usize = 512 << 10;

/// Hands the bytes of `item` to `put`. An error when a blob is not what its name says, or has become shorter.
pub(super) fn pour(name: &str, item: &Item, put: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let reading = || format!("failed to read {name} of the bundle");
    let promised = promised(name);
    let (mut reader, mut hasher, mut buffer) = (item.reader(), Sha256::new(), vec![0; STRIDE]);
    loop {
        let read = reader.read(&mut buffer).context(reading)?;
        if read == 0 {
            break;
        }
        if promised.is_some() {
            hasher.update(&buffer[..read]);
        }
        put(&buffer[..read])?;
    }
    match promised {
        Some(wanted) => same(&wanted, &Digest::from_hash(hasher.finalize().as_ref()), item),
        None => Ok(()),
    }
}

/// An error when a blob hashes to something else than its name.
pub(super) fn same(wanted: &Digest, found: &Digest, item: &Item) -> Result<()> {
    if wanted == found {
        return Ok(());
    }
    let place = match item {
        Item::Stored(blob) => format!(" ({blob})"),
        Item::Made(_) => String::new(),
    };
    Err(Error::invalid(format!("the blob {wanted}{place} hashes to {found}: it is damaged"))
        .hint("`provision bundle verify` tells what else is; copy the bundle again from its medium, or build it again"))
}
