//! Files and marked blocks in files.

use crate::bundle::Digest;
use crate::host::{Answer, FileKind};

/// Whether the answer is a regular root-owned file with this content digest and mode.
pub(super) fn is_file(answer: &Answer, digest: &Digest, mode: u32) -> bool {
    matches!(answer, Answer::File(f) if f.kind == FileKind::File
        && f.mode == mode && f.uid == 0 && f.gid == 0 && f.digest.as_ref() == Some(digest))
}

/// The content of an answer to `Probe::Content`, as text.
pub(super) fn text(answer: &Answer) -> Option<String> {
    match answer {
        Answer::File(f) => f.content.as_ref().map(|c| String::from_utf8_lossy(c).into_owned()),
        _ => None,
    }
}

fn marks(marker: &str) -> (String, String) {
    (format!("# BEGIN {marker}"), format!("# END {marker}"))
}

/// The lines of the block `marker` in `text`, if the block is there and closed.
#[must_use]
pub fn block_of(text: &str, marker: &str) -> Option<Vec<String>> {
    let (begin, end) = marks(marker);
    let mut inside: Option<Vec<String>> = None;
    for line in text.lines() {
        match &mut inside {
            None if line == begin => inside = Some(Vec::new()),
            None => {}
            Some(lines) if line == end => return Some(std::mem::take(lines)),
            Some(lines) => lines.push(line.to_owned()),
        }
    }
    None
}

/// `text` with the block `marker` holding exactly `lines`: replaced where it stands, else appended; taken out when
/// `lines` is empty. Everything outside the block stays as it is.
#[must_use]
pub fn with_block(text: &str, marker: &str, lines: &[String]) -> String {
    let (begin, end) = marks(marker);
    let closed = block_of(text, marker).is_some();
    let mut out = String::with_capacity(text.len() + 128);
    let write = |out: &mut String| {
        if !lines.is_empty() {
            for line in std::iter::once(&begin).chain(lines).chain(std::iter::once(&end)) {
                out.push_str(line);
                out.push('\n');
            }
        }
    };
    let (mut inside, mut done) = (false, false);
    for line in text.lines() {
        if !done && closed && !inside && line == begin {
            inside = true;
            write(&mut out);
        } else if inside {
            if line == end {
                (inside, done) = (false, true);
            }
        } else {
            out.push_str(line);
            out.push('\n');
        }
    }
    if !closed {
        write(&mut out);
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_block_is_appended_replaced_and_taken_out() {
        let one = with_block("127.0.0.1 localhost\n", "p", &["1.1.1.1 a".into()]);
        assert_eq!(one, "127.0.0.1 localhost\n# BEGIN p\n1.1.1.1 a\n# END p\n");
        let two = with_block(&format!("{one}tail\n"), "p", &["2.2.2.2 b".into()]);
        assert_eq!(two, "127.0.0.1 localhost\n# BEGIN p\n2.2.2.2 b\n# END p\ntail\n");
        assert_eq!(with_block(&two, "p", &[]), "127.0.0.1 localhost\ntail\n");
    }

    proptest! {
        #[test]
        fn the_block_reads_back_and_the_rest_stays(
            rest in proptest::collection::vec("[a-z0-9 .]{0,12}", 0..8),
            lines in proptest::collection::vec("[a-z0-9 .]{1,12}", 1..4),
        ) {
            let text: String = rest.iter().map(|l| format!("{l}\n")).collect();
            let with = with_block(&text, "m", &lines);
            prop_assert_eq!(block_of(&with, "m"), Some(lines.clone()));
            prop_assert_eq!(with_block(&with, "m", &lines), with.clone());
            prop_assert_eq!(with_block(&with, "m", &[]), text);
        }
    }
}
