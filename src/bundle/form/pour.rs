//! The bytes of one file of a bundle, handed on in pieces and hashed on the way where that was not done already.

use std::io::Read as _;

use sha2::{Digest as _, Sha256};

use super::contents::{Item, promised};
use super::output::Hashing;
use crate::bundle::manifest::Digest;
use crate::error::{Context as _, Error, Result};

/// How much is handed on at once, in bytes.
const STRIDE: usize = 512 << 10;

/// Hands the bytes of `item` to `put`. An error when a blob is hashed and is not what its name says, or has become shorter.
pub(super) fn pour(name: &str, item: &Item, hashing: Hashing, put: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let reading = || format!("failed to read {name} of the bundle");
    let promised = promised(name).filter(|_| hashing != Hashing::None);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_hashed_already_is_not_hashed_again() {
        let name = format!("blobs/sha256/{}", Digest::of(b"right").hex());
        let poured = |hashing, body: &[u8]| {
            let mut all = Vec::new();
            let put = &mut |bytes: &[u8]| {
                all.extend_from_slice(bytes);
                Ok(())
            };
            pour(&name, &Item::Made(body.to_vec()), hashing, put).map(|()| all).map_err(|e| e.to_string())
        };
        for hashing in [Hashing::All, Hashing::Copies] {
            assert_eq!(poured(hashing, b"right"), Ok(b"right".to_vec()));
            assert!(poured(hashing, b"wrong").is_err_and(|e| e.ends_with("it is damaged")));
        }
        assert_eq!(poured(Hashing::None, b"wrong"), Ok(b"wrong".to_vec()));
    }
}
