//! A deb repository's Release file: which indices there are, and their digests. Pure.

use std::collections::BTreeMap;

use super::stanza::Stanza;
use crate::bundle::Digest;
use crate::error::{Error, Result};

/// The most entries of a Release file that are read; the largest real ones have some thousands.
const MAX_FILES: usize = 100_000;

/// What a Release file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// From when on it must not be used, seconds since 1970.
    pub valid_until: Option<i64>,
    /// Files are also found under the name of their digest, so that a repository may change while it is read.
    pub by_hash: bool,
    /// Digest and size in bytes of each file, by its path beside the Release file.
    pub files: BTreeMap<String, (Digest, u64)>,
}

/// Reads a Release file; only its SHA256 list counts, MD5 and SHA1 do not.
///
/// Errors (`Invalid`): no SHA256 list, a broken line in it, a date that cannot be read.
pub fn parse_release(what: &str, text: &str) -> Result<Release> {
    let stanza = Stanza(text);
    let list = stanza.get("SHA256").ok_or_else(|| {
        Error::invalid(format!("{what} lists no SHA256 digests"))
            .hint("MD5 and SHA1 prove nothing any more; ask the repository's owner to publish SHA256")
    })?;
    let mut files = BTreeMap::new();
    for line in list.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [digest, size, path] = words.as_slice() else {
            return Err(Error::invalid(format!("{what} has a broken line in its SHA256 list: `{line}`")));
        };
        let size = size.parse().map_err(|_| Error::invalid(format!("{what} has a broken size: `{line}`")))?;
        files.insert((*path).to_owned(), (digest.parse()?, size));
        if files.len() > MAX_FILES {
            return Err(Error::invalid(format!("{what} lists more than {MAX_FILES} files")));
        }
    }
    let valid_until = stanza.get("Valid-Until").map(|date| parse_date(what, &date)).transpose()?;
    let by_hash = stanza.get("Acquire-By-Hash").is_some_and(|v| v.eq_ignore_ascii_case("yes"));
    Ok(Release { valid_until, by_hash, files })
}

fn parse_date(what: &str, text: &str) -> Result<i64> {
    // Release files say UTC, which RFC 2822 does not know.
    let date = text.trim().replace("UTC", "+0000").replace("GMT", "+0000");
    chrono::DateTime::parse_from_rfc2822(&date)
        .map(|d| d.timestamp())
        .map_err(|e| Error::invalid(format!("{what} has a date that cannot be read: `{text}`")).source(e))
}

impl Release {
    /// Refuses a Release file whose time is over at `now` (seconds since 1970).
    pub fn refuse_expired(&self, what: &str, now: i64) -> Result<()> {
        match self.valid_until {
            Some(until) if until < now => {
                let day = chrono::DateTime::from_timestamp(until, 0).map(|t| t.format("%Y-%m-%d").to_string());
                Err(Error::invalid(format!("{what} expired on {}", day.unwrap_or_default())).hint(
                    "the mirror may be stale, or somebody plays back an old state: use another mirror; for an archive that is frozen by intent, `provision bundle lock --allow-expired`",
                ))
            }
            _ => Ok(()),
        }
    }

    /// The path of the smallest form of `index` that we can unpack, with digest and size, and the size unpacked.
    pub fn index(&self, what: &str, index: &str) -> Result<(String, Digest, u64, Option<u64>)> {
        let plain = self.files.get(index).map(|(_, size)| *size);
        let form = ["xz", "gz"].iter().map(|end| format!("{index}.{end}")).chain([index.to_owned()]);
        form.into_iter()
            .find_map(|path| self.files.get(&path).map(|(d, s)| (path.clone(), d.clone(), *s, plain)))
            .ok_or_else(|| {
                Error::invalid(format!("{what} lists no {index}"))
                    .hint("does the suite have this component and architecture?")
            })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_release_is_read() -> Result<()> {
        let hex = "0".repeat(64);
        let text = format!(
            "Suite: stable\nValid-Until: Sat, 18 May 2024 20:12:34 UTC\nAcquire-By-Hash: yes\nMD5Sum:\n 00 1 main/x\nSHA256:\n {hex} 12 main/binary-amd64/Packages\n {hex}  3 main/binary-amd64/Packages.gz\n"
        );
        let release = parse_release("r", &text)?;
        assert!(release.by_hash && release.files.len() == 2);
        assert_eq!(release.valid_until, Some(1_716_063_154));
        assert!(release.refuse_expired("r", 1_716_063_155).is_err() && release.refuse_expired("r", 0).is_ok());
        let (path, _, size, plain) = release.index("r", "main/binary-amd64/Packages")?;
        assert_eq!((path.as_str(), size, plain), ("main/binary-amd64/Packages.gz", 3, Some(12)));
        assert!(release.index("r", "main/binary-arm64/Packages").is_err());
        Ok(())
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(\\PC|\n){0,300}", list in "[0-9a-f ]{0,80}") {
            let _ = parse_release("r", &text);
            let _ = parse_release("r", &format!("SHA256:\n {list}\nValid-Until: {text}\n"));
        }
    }
}
