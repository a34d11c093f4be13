//! Stanzas of `Field: value` lines, as Debian's control files, indices and Release files have them. Pure.

use std::collections::BTreeMap;
use std::io::BufRead;

use crate::error::{Context as _, Error, Result};

/// More than any real stanza holds, in bytes; what is longer is no index.
const MAX_STANZA: usize = 1 << 20;

/// Calls `each` with every stanza of `reader`. Only one stanza is in memory at a time.
///
/// Errors (`Invalid`): a stanza of more than 1 MiB; text that is not UTF-8; what `each` returns.
pub fn each_stanza(
    what: &str,
    reader: &mut dyn BufRead,
    each: &mut dyn FnMut(&Stanza<'_>) -> Result<()>,
) -> Result<()> {
    let mut bytes = Vec::new();
    loop {
        let start = bytes.len();
        let limit = (MAX_STANZA + 1 - start) as u64;
        let read = std::io::Read::take(&mut *reader, limit)
            .read_until(b'\n', &mut bytes)
            .context(|| format!("failed to read {what}"))?;
        if bytes.len() > MAX_STANZA {
            return Err(Error::invalid(format!("{what} holds a stanza of more than {} MiB", MAX_STANZA >> 20)));
        }
        let blank = bytes[start..].iter().all(u8::is_ascii_whitespace);
        if blank {
            bytes.truncate(start);
            if !bytes.is_empty() {
                let text = std::str::from_utf8(&bytes)
                    .map_err(|e| Error::invalid(format!("{what} is not UTF-8 text")).source(e))?;
                each(&Stanza(text))?;
                bytes.clear();
            }
        }
        if read == 0 {
            return Ok(());
        }
    }
}

/// One stanza, unparsed.
#[derive(Debug, Clone, Copy)]
pub struct Stanza<'a>(pub &'a str);

impl<'a> Stanza<'a> {
    /// Every field with its value: continuation lines joined by newlines, white space round each line taken off.
    pub fn fields(self) -> impl Iterator<Item = (&'a str, String)> {
        let mut lines = self.0.lines().peekable();
        std::iter::from_fn(move || {
            loop {
                let line = lines.next()?;
                let Some((name, first)) = line.split_once(':').filter(|(n, _)| is_name(n)) else { continue };
                let mut value = first.trim().to_owned();
                while let Some(more) = lines.next_if(|l| l.starts_with([' ', '\t'])) {
                    if !value.is_empty() {
                        value.push('\n');
                    }
                    value.push_str(more.trim());
                }
                return Some((name, value));
            }
        })
    }

    /// The value of a field; names are the same in upper and lower case. The first one counts.
    #[must_use]
    pub fn get(self, name: &str) -> Option<String> {
        self.fields().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The value of a field that has to be there and not be empty.
    pub fn must(self, what: &str, name: &str) -> Result<String> {
        self.get(name)
            .filter(|v| !v.is_empty())
            .ok_or_else(|| Error::invalid(format!("{what} has a stanza without `{name}`")))
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.starts_with('-') && text.bytes().all(|b| b.is_ascii_graphic())
}

/// Fields as a stanza, in the order of `first`, then by name; ends with a newline.
#[must_use]
pub fn render(fields: &BTreeMap<String, String>, first: &[&str]) -> String {
    let mut out = String::new();
    let ordered = first.iter().filter_map(|f| fields.get_key_value(*f));
    let rest = fields.iter().filter(|(name, _)| !first.contains(&name.as_str()));
    for (name, value) in ordered.chain(rest) {
        out.push_str(name);
        out.push(':');
        for line in value.lines() {
            out.push(' ');
            out.push_str(line);
            out.push('\n');
        }
        if value.is_empty() {
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(bytes: &[u8]) -> Result<Vec<Vec<(String, String)>>> {
        let mut found = Vec::new();
        each_stanza("the test", &mut &bytes[..], &mut |s| {
            found.push(s.fields().map(|(n, v)| (n.to_owned(), v)).collect());
            Ok(())
        })?;
        Ok(found)
    }

    #[test]
    fn fields_and_continuations_are_read() {
        let text = "\n\nPackage: a\nDepends: b,\n c\n\nPackage: b\nSHA256:\n 00 1 x\n 11 2 y\n";
        let found = all(text.as_bytes()).unwrap_or_default();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0], [("Package".into(), "a".into()), ("Depends".into(), "b,\nc".into())]);
        assert_eq!(found[1][1], ("SHA256".into(), "00 1 x\n11 2 y".into()));
    }

    #[test]
    fn a_bomb_is_refused() {
        assert!(all(&vec![b'a'; MAX_STANZA + 10]).is_err());
        assert!(all("a: b\n".repeat(MAX_STANZA / 4).as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = all(&bytes);
        }

        #[test]
        fn what_is_rendered_is_read_again(fields in prop::collection::btree_map("[A-Z][a-z-]{0,8}", "[!-~]{1,9}(\n[!-~]{1,9}){0,2}", 1..6)) {
            let text = render(&fields, &["Package"]);
            let found = all(text.as_bytes()).map_err(|e| TestCaseError::fail(e.report()))?;
            prop_assert_eq!(found.len(), 1);
            prop_assert_eq!(found[0].iter().cloned().collect::<BTreeMap<_, _>>(), fields);
        }
    }
}
