//! Where the members of a tar lie, found by its headers alone: nothing is unpacked, nothing but headers is read.
//!
//! The headers are walked here and not by the `tar` crate's entries, because those read names of any length into memory.
//! Only what a bundle's tar can hold is taken: files and directories under short plain names.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use tar::{EntryType, Header, PaxExtensions};

use crate::bundle::blob::Blob;
use crate::error::{Context as _, Error, Result};

use super::contents::fits;

/// The unit of a tar, in bytes.
pub(super) const BLOCK: u64 = 512;
/// What stands at the end of a tar: two blocks of zeros.
pub(super) const END: u64 = 2 * BLOCK;
/// More files than any bundle holds.
const MAX_MEMBERS: usize = 200_000;
/// The largest extended header taken, in bytes; other programs write times into them.
const MAX_EXTENDED: u64 = 64 << 10;

/// The regular files in `tar` by name. `place` is for messages. Blocking.
///
/// Errors (`Invalid`): names that lead out, links, devices, the same name twice, a file where another needs a
/// directory, a header that is garbage, an archive that ends too early.
pub(super) fn index(tar: &Blob, place: &Path) -> Result<BTreeMap<String, Blob>> {
    let bad = |what: String| {
        Error::invalid(format!("the bundle {} {what}", place.display()))
            .hint("copy it again from its medium; `provision bundle pack` makes a tar of a bundle's directory")
    };
    let (total, mut at, mut count) = (tar.size(), 0, 0);
    let mut files = BTreeMap::new();
    loop {
        let early = || bad(format!("ends too early: after {total} bytes, in the middle of its archive"));
        let block = read(tar, at, BLOCK)?.ok_or_else(early)?;
        if block.iter().all(|b| *b == 0) {
            // The second of the two blocks; a file that was cut between members has none of them.
            read(tar, at + BLOCK, BLOCK)?.ok_or_else(early)?;
            break;
        }
        count += 1;
        if count > MAX_MEMBERS {
            return Err(bad(format!("holds more than {MAX_MEMBERS} files")));
        }
        let header = Header::from_byte_slice(&block);
        let garbage = || bad(format!("is no tar, or a damaged one: there is no header at byte {at}"));
        if checksum(&block) != header.cksum().ok() {
            return Err(garbage());
        }
        let size = header.entry_size().map_err(|_| garbage())?;
        let end = size.checked_next_multiple_of(BLOCK).and_then(|n| n.checked_add(at + BLOCK)).ok_or_else(garbage)?;
        if end > total {
            return Err(early());
        }
        let data = tar.slice(at + BLOCK, size);
        at = end;
        let kind = header.entry_type();
        if matches!(kind, EntryType::XHeader | EntryType::XGlobalHeader) {
            if size > MAX_EXTENDED || overrides(&bytes(&data)?) {
                return Err(bad("has an extended header that no bundle has".into()));
            }
            continue;
        }
        if matches!(kind, EntryType::GNULongName | EntryType::GNULongLink) {
            return Err(bad("holds a name longer than any of a bundle".into()));
        }
        let name = String::from_utf8(header.path_bytes().into_owned()).ok();
        let name = name.ok_or_else(|| bad("holds a name that is not UTF-8".into()))?;
        let shown = name.escape_debug().to_string();
        let plain = name.strip_prefix("./").unwrap_or(&name).trim_end_matches('/');
        if kind.is_dir() {
            if !plain.is_empty() && plain != "." && !fits(plain) {
                return Err(bad(format!("holds `{shown}`, which leads out of it")));
            }
            continue;
        }
        if !fits(plain) || name.ends_with('/') {
            return Err(bad(format!("holds `{shown}`, which leads out of it")));
        }
        if !matches!(kind, EntryType::Regular) {
            return Err(bad(format!("holds `{shown}`, which is neither file nor directory")));
        }
        if files.insert(plain.to_owned(), data).is_some() {
            return Err(bad(format!("holds `{shown}` twice")));
        }
    }
    for name in files.keys() {
        let mut ancestors = name.match_indices('/').map(|(i, _)| &name[..i]);
        if let Some(both) = ancestors.find(|a| files.contains_key(*a)) {
            return Err(bad(format!("holds `{both}` as a file and as a directory")));
        }
    }
    Ok(files)
}

/// `len` bytes of the archive; none when it ends before.
fn read(tar: &Blob, at: u64, len: u64) -> Result<Option<Vec<u8>>> {
    let part = tar.slice(at, len);
    if part.size() < len { Ok(None) } else { bytes(&part).map(Some) }
}

fn bytes(part: &Blob) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    part.reader().read_to_end(&mut bytes).context(|| format!("failed to read {part}"))?;
    Ok(bytes)
}

/// The sum of a header's bytes with its own field read as spaces.
fn checksum(block: &[u8]) -> Option<u32> {
    let (before, after) = (block.get(..148)?, block.get(156..)?);
    Some(before.iter().chain(after).map(|b| u32::from(*b)).sum::<u32>() + 8 * u32::from(b' '))
}

/// Whether an extended header gives the next member another name, size or shape: two readers may differ about those.
fn overrides(extended: &[u8]) -> bool {
    PaxExtensions::new(extended).any(|pair| {
        pair.map_or(true, |p| {
            p.key().map_or(true, |k| matches!(k, "path" | "size" | "linkpath") || k.starts_with("GNU."))
        })
    })
}

#[cfg(test)]
#[path = "tar_index_tests.rs"]
mod tests;
