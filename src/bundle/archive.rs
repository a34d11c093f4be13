//! What is inside a gzipped tar, with every trick refused.

use std::io::Read;
use std::path::{Component, Path};

use flate2::read::MultiGzDecoder;
use sha2::{Digest as _, Sha256};

use super::manifest::{Digest, Member};
use crate::error::{Context as _, Error, Result};

/// More than any release archive of this field unpacks to; beyond it is a decompression bomb.
const MAX_UNPACKED: u64 = 4 << 30;
/// More files than any release archive of this field holds.
const MAX_ENTRIES: usize = 20_000;

/// The regular files of the archive, in its order. Blocking: call it off the async threads.
///
/// Errors (`Invalid`): absolute paths, `..`, links that lead out, device files, more than 4 GiB unpacked.
pub(super) fn members(path: &Path) -> Result<Vec<Member>> {
    let shown = path.display().to_string();
    let file = std::fs::File::open(path).context(|| format!("failed to read {shown}"))?;
    let bounded = MultiGzDecoder::new(std::io::BufReader::new(file)).take(MAX_UNPACKED + 1);
    let mut archive = tar::Archive::new(bounded);
    let broken = || format!("failed to unpack {shown}");
    let refuse = |what: String| Error::invalid(format!("the archive {shown} {what}"));
    let (mut all, mut total, mut count) = (Vec::new(), 0_u64, 0);
    for entry in archive.entries().context(broken).map_err(|e| e.with_kind(crate::error::Kind::Invalid))? {
        let mut entry = entry.context(broken).map_err(|e| e.with_kind(crate::error::Kind::Invalid))?;
        count += 1;
        total = total.saturating_add(entry.size());
        if total > MAX_UNPACKED || count > MAX_ENTRIES {
            return Err(refuse(format!("unpacks to more than {} GiB or {MAX_ENTRIES} files", MAX_UNPACKED >> 30)));
        }
        let stored = String::from_utf8(entry.path_bytes().into_owned())
            .map_err(|_| refuse("holds a name that is not UTF-8".into()))?;
        if leads_out(Path::new(&stored)) {
            return Err(refuse(format!("holds `{stored}`, which leads out of it")));
        }
        let kind = entry.header().entry_type();
        if kind.is_symlink() || kind.is_hard_link() {
            let target = entry.link_name().context(broken)?.unwrap_or_default().into_owned();
            let from = Path::new(&stored).parent().unwrap_or(Path::new(""));
            if target.is_absolute() || escapes(&from.join(&target)) {
                return Err(refuse(format!(
                    "holds the link `{stored}` to {}, which leads out of it",
                    target.display()
                )));
            }
            continue;
        }
        if kind.is_dir() || kind.is_pax_global_extensions() {
            continue;
        }
        if !kind.is_file() {
            return Err(refuse(format!("holds `{stored}`, which is neither file, directory nor link")));
        }
        let mode = entry.header().mode().context(broken)? & 0o777;
        let (mut hasher, mut buffer, mut size) = (Sha256::new(), vec![0; 1 << 16], 0_u64);
        loop {
            match entry.read(&mut buffer).context(broken).map_err(|e| e.with_kind(crate::error::Kind::Invalid))? {
                0 => break,
                n => {
                    hasher.update(&buffer[..n]);
                    size += n as u64;
                }
            }
        }
        all.push(Member { path: stored, digest: Digest::from_hash(hasher.finalize().as_ref()), size, mode });
    }
    Ok(all)
}

fn leads_out(path: &Path) -> bool {
    path.is_absolute() || path.components().any(|c| matches!(c, Component::ParentDir | Component::Prefix(_)))
}

/// Whether a relative path with `..` in it ends above its start at any point.
fn escapes(path: &Path) -> bool {
    let mut depth = 0_i64;
    path.components().any(|c| {
        depth += match c {
            Component::ParentDir => -1,
            Component::Normal(_) => 1,
            _ => 0,
        };
        depth < 0
    })
}
