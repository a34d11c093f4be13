//! What is inside a gzipped tar, with every trick refused.

use std::cell::Cell;
use std::io::Read;
use std::path::{Component, Path};
use std::rc::Rc;

use flate2::read::MultiGzDecoder;
use sha2::{Digest as _, Sha256};

use super::manifest::{Digest, Member};
use crate::error::{Context as _, Error, Kind, Result};

/// What an archive may hold; beyond it is a decompression bomb.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Bytes of all members together.
    unpacked: u64,
    /// Members.
    entries: usize,
    /// Bytes of all that describes one member: long names and extended headers, which are read into memory.
    header: u64,
    /// Bytes of all members' names together, which are kept.
    names: usize,
}

/// More than any release archive of this field holds.
const LIMITS: Limits = Limits { unpacked: 4 << 30, entries: 20_000, header: 1 << 20, names: 8 << 20 };

/// The regular files of the archive at `path`, in its order. Blocking: call it off the async threads.
pub(super) fn members(path: &Path) -> Result<Vec<Member>> {
    let shown = path.display().to_string();
    let file = std::fs::File::open(path).context(|| format!("failed to read {shown}"))?;
    archive_members(std::io::BufReader::new(file), &shown)
}

/// The regular files of a gzipped tar, in its order; `shown` names it in errors. Memory stays under 32 MiB, whatever is
/// read.
///
/// Errors (`Invalid`): absolute paths, `..`, links that lead out, device files, more than 4 GiB or 20 000 members, more
/// than 1 MiB of description for one member or 8 MiB of names.
pub fn archive_members(reader: impl Read, shown: &str) -> Result<Vec<Member>> {
    members_within(reader, shown, LIMITS)
}

/// Lets through as many bytes as it is given.
struct Metered<R> {
    inner: R,
    left: Rc<Cell<u64>>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let left = self.left.get();
        if left == 0 && !buffer.is_empty() {
            return Err(std::io::Error::other("it describes a member with more than is allowed, or holds too much"));
        }
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.inner.read(&mut buffer[..most])?;
        self.left.set(left - read as u64);
        Ok(read)
    }
}

fn members_within(reader: impl Read, shown: &str, limits: Limits) -> Result<Vec<Member>> {
    fn invalid<T>(result: std::io::Result<T>, shown: &str) -> Result<T> {
        result.context(|| format!("failed to unpack {shown}")).map_err(|e| e.with_kind(Kind::Invalid))
    }
    let refuse = |what: String| Error::invalid(format!("the archive {shown} {what}"));
    // Between two members only their description may be read; a member's own bytes are let through by its size. So the
    // tar reader, which gathers long names and extended headers in memory, never gets more than a header's worth.
    let left = Rc::new(Cell::new(limits.header));
    let mut archive = tar::Archive::new(Metered { inner: MultiGzDecoder::new(reader), left: Rc::clone(&left) });
    let (mut all, mut total, mut count, mut names) = (Vec::new(), 0_u64, 0, 0);
    let mut buffer = vec![0; 1 << 16];
    for entry in invalid(archive.entries(), shown)? {
        let mut entry = invalid(entry, shown)?;
        count += 1;
        total = total.saturating_add(entry.size()).saturating_add(limits.header - left.get());
        if total > limits.unpacked || count > limits.entries {
            return Err(refuse(format!(
                "unpacks to more than {} GiB or {} files",
                limits.unpacked >> 30,
                limits.entries
            )));
        }
        let stored = String::from_utf8(entry.path_bytes().into_owned())
            .map_err(|_| refuse("holds a name that is not UTF-8".into()))?;
        names += stored.len();
        if names > limits.names {
            return Err(refuse(format!("holds more than {} MiB of names", limits.names >> 20)));
        }
        if leads_out(Path::new(&stored)) {
            return Err(refuse(format!("holds `{stored}`, which leads out of it")));
        }
        let kind = entry.header().entry_type();
        if kind.is_symlink() || kind.is_hard_link() {
            let target = invalid(entry.link_name(), shown)?.unwrap_or_default().into_owned();
            let from = Path::new(&stored).parent().unwrap_or(Path::new(""));
            if target.is_absolute() || escapes(&from.join(&target)) {
                return Err(refuse(format!(
                    "holds the link `{stored}` to {}, which leads out of it",
                    target.display()
                )));
            }
        } else if !(kind.is_file() || kind.is_dir() || kind.is_pax_global_extensions()) {
            return Err(refuse(format!("holds `{stored}`, which is neither file, directory nor link")));
        }
        // What a directory or a link carries is let through too: it is counted above, and read past.
        left.set(entry.size());
        let (mut hasher, mut size) = (Sha256::new(), 0_u64);
        loop {
            match invalid(entry.read(&mut buffer), shown)? {
                0 => break,
                n => {
                    hasher.update(&buffer[..n]);
                    size += n as u64;
                }
            }
        }
        if size != entry.size() {
            return Err(refuse(format!("ends in the middle of `{stored}`")));
        }
        left.set(limits.header);
        if kind.is_file() {
            let mode = invalid(entry.header().mode(), shown)? & 0o777;
            all.push(Member { path: stored, digest: Digest::from_hash(hasher.finalize().as_ref()), size, mode });
        }
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    const SMALL: Limits = Limits { unpacked: 4096, entries: 3, header: 2048, names: 300 };

    /// A gzipped tar of these headers (name, type, size as the header claims) and bodies.
    fn targz(members: &[(&str, tar::EntryType, u64, &[u8])]) -> Vec<u8> {
        let mut out = GzEncoder::new(Vec::new(), Compression::fast());
        for (name, kind, size, body) in members {
            let mut header = tar::Header::new_gnu();
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(*kind);
            header.set_size(*size);
            header.set_mode(0o644);
            header.set_cksum();
            out.write_all(header.as_bytes()).unwrap();
            out.write_all(body).unwrap();
            out.write_all(&vec![0; body.len().next_multiple_of(512) - body.len()]).unwrap();
        }
        out.write_all(&[0; 1024]).unwrap();
        out.finish().unwrap()
    }

    fn said(members: &[(&str, tar::EntryType, u64, &[u8])], limits: Limits) -> String {
        match members_within(targz(members).as_slice(), "a.tgz", limits) {
            Ok(members) => members.iter().map(|m| format!("{} {} ", m.path, m.size)).collect(),
            Err(e) => {
                assert_eq!(e.kind(), Kind::Invalid, "{e}");
                e.report()
            }
        }
    }

    use tar::EntryType as T;

    #[test]
    fn members_are_listed_whatever_lies_between_them() {
        let long = "d/".repeat(80) + "f";
        let members: [(&str, T, u64, &[u8]); 5] = [
            ("dir/", T::Directory, 3, b"xyz"),
            ("dir/a", T::Regular, 700, &[7; 700]),
            ("././@LongLink", T::GNULongName, long.len() as u64, long.as_bytes()),
            ("short", T::Regular, 1, b"b"),
            ("empty", T::Regular, 0, b""),
        ];
        assert_eq!(said(&members, LIMITS), format!("dir/a 700 {long} 1 empty 0 "));
    }

    #[test]
    fn a_bomb_is_refused_by_what_it_claims() {
        let huge = said(&[("a", T::Regular, 5 << 30, b"")], LIMITS);
        assert!(huge.contains("unpacks to more than 4 GiB"), "{huge}");
        let sum = said(&[("a", T::Regular, 3000, &[0; 3000]), ("b", T::Regular, 3000, b"")], SMALL);
        assert!(sum.contains("unpacks to more than"), "{sum}");
        let many: Vec<(&str, T, u64, &[u8])> = vec![("a", T::Regular, 0, b""); 4];
        assert!(said(&many, SMALL).contains("or 3 files"));
        let many: Vec<(&str, T, u64, &[u8])> = vec![("a", T::Regular, 0, b""); 20_001];
        assert!(said(&many, LIMITS).contains("or 20000 files"));
        let long = "n".repeat(200);
        let long = |name| [("l", T::GNULongName, 200, long.as_bytes()), (name, T::Regular, 0, &b""[..])];
        assert!(said(&[long("a"), long("b")].concat(), SMALL).contains("of names"));
    }

    /// A name or an extended header of 64 MiB, 64 KiB when packed: it is never gathered in memory.
    #[test]
    fn a_bomb_in_a_description_is_refused_before_it_is_read() {
        let zeros = vec![b'a'; 64 << 20];
        for kind in [T::GNULongName, T::GNULongLink, T::XHeader] {
            let bomb = said(&[("b", kind, zeros.len() as u64, &zeros), ("a", T::Regular, 0, b"")], LIMITS);
            assert!(bomb.contains("describes a member with more than is allowed"), "{kind:?} {bomb}");
        }
    }

    #[test]
    fn what_is_cut_off_or_no_file_is_refused() {
        assert!(said(&[("a", T::Regular, 2000, &[0; 512])], LIMITS).contains("in the middle of `a`"));
        assert!(said(&[("a", T::Char, 0, b"")], LIMITS).contains("neither file"));
        assert!(said(&[("../a", T::Regular, 0, b"")], LIMITS).contains("leads out"));
        let whole = targz(&[("a", T::Regular, 600, &[1; 600])]);
        assert!(members_within(&whole[..whole.len() / 2], "a.tgz", LIMITS).is_err());
        assert!(members_within(&b"no gzip"[..], "a.tgz", LIMITS).is_err());
    }
}
