//! The list beside a split tar: what its volumes are. `sha256sum -c` takes it too. Pure.

use std::fmt::Write as _;

use crate::bundle::manifest::Digest;
use crate::error::{Error, Result};

/// As many as three digits number.
pub(super) const MAX_VOLUMES: u64 = 999;
const TITLE: &str = "# provision split tar, format 1";

/// What the volumes of a set are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::bundle) struct VolumeList {
    /// The bytes of every volume but the last.
    pub(super) size: u64,
    /// The bytes of all together.
    pub(super) total: u64,
    /// The digests, the first volume's first.
    pub(super) digests: Vec<Digest>,
}

impl VolumeList {
    /// The bytes of volume `number` (from 1).
    pub(super) fn len_of(&self, number: u64) -> u64 {
        self.total.saturating_sub((number - 1).saturating_mul(self.size)).min(self.size)
    }

    /// As written to disk, for volumes named `base`.001 and so on.
    pub(super) fn to_text(&self, base: &str) -> String {
        let mut text = format!("{TITLE}\n# volume-size {}\n# total-size {}\n", self.size, self.total);
        for (number, digest) in (1..).zip(&self.digests) {
            let _ = writeln!(text, "{}  {}", digest.hex(), volume_name(base, number));
        }
        text
    }

    /// Reads a list. The volumes may have been renamed together since: only their numbers count.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let bad = |what: &str| Error::invalid(format!("the list of volumes {what}"));
        let mut lines = text.lines();
        if lines.next() != Some(TITLE) {
            return Err(bad(&format!("does not begin with `{TITLE}`")));
        }
        let mut number = |key: &str| {
            let value = lines.next().and_then(|l| l.strip_prefix(key)?.parse::<u64>().ok());
            value.filter(|v| *v > 0).ok_or_else(|| bad(&format!("lacks its line `{key}NUMBER`")))
        };
        let (size, total) = (number("# volume-size ")?, number("# total-size ")?);
        let mut digests = Vec::new();
        for line in lines {
            let wanted = format!(".{:03}", digests.len() + 1);
            let (hex, name) = line.split_once("  ").ok_or_else(|| bad(&format!("has the line `{line}`")))?;
            if !name.ends_with(&wanted) {
                return Err(bad(&format!("has the line `{line}` where the volume {wanted} was expected")));
            }
            digests.push(hex.parse()?);
        }
        if digests.len() as u64 != total.div_ceil(size) || digests.len() as u64 > MAX_VOLUMES {
            return Err(bad(&format!(
                "names {} volumes, but {total} bytes in volumes of {size} are {}",
                digests.len(),
                total.div_ceil(size)
            )));
        }
        Ok(Self { size, total, digests })
    }
}

/// The name of volume `number` (from 1).
pub(super) fn volume_name(base: &str, number: u64) -> String {
    format!("{base}.{number:03}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(size in 1_u64..5000, total in 1_u64..100_000) {
            let count = total.div_ceil(size);
            prop_assume!(count <= MAX_VOLUMES);
            let digests = (0..count).map(|n| Digest::of(&n.to_le_bytes())).collect();
            let list = VolumeList { size, total, digests };
            prop_assert_eq!((1..=count).map(|n| list.len_of(n)).sum::<u64>(), total);
            prop_assert_eq!(VolumeList::parse(&list.to_text("b.tar")).ok(), Some(list.clone()));
            // A line less is not a smaller set.
            let text = list.to_text("b.tar");
            let shorter = text.trim_end().rsplit_once('\n').map(|(rest, _)| rest).unwrap_or_default();
            prop_assert!(VolumeList::parse(shorter).is_err());
        }

        #[test]
        fn no_text_makes_it_panic(text in "(\\PC|\n){0,200}", numbers in any::<[u64; 2]>()) {
            let _ = VolumeList::parse(&text);
            let [size, total] = numbers;
            let _ = VolumeList::parse(&format!("{TITLE}\n# volume-size {size}\n# total-size {total}\n{text}"));
        }
    }
}
