//! What backups are called, and which of them are too many.

use chrono::{DateTime, NaiveDateTime, Utc};

const TIME: &str = "%Y%m%dT%H%M%SZ";

/// `prod-20261121T103000Z.tar.age`, or `.tar` for one that is not encrypted.
#[must_use]
pub fn file_name(cluster: &str, at: DateTime<Utc>, encrypted: bool) -> String {
    format!("{cluster}-{}.tar{}", at.format(TIME), if encrypted { ".age" } else { "" })
}

/// When a file was made that is a backup of this cluster by its name, and not of `cluster-2`.
fn made(cluster: &str, name: &str) -> Option<NaiveDateTime> {
    let rest = name.strip_prefix(cluster)?.strip_prefix('-')?;
    let time = rest.strip_suffix(".tar.age").or_else(|| rest.strip_suffix(".tar"))?;
    let at = NaiveDateTime::parse_from_str(time, TIME).ok()?;
    // Only the one way of writing it that is ours.
    (at.format(TIME).to_string() == time).then_some(at)
}

/// Of the files in a directory, those backups of `cluster` that are more than the newest `keep`, the oldest first.
/// Nothing else in the directory is ever named.
#[must_use]
pub fn surplus(names: &[String], cluster: &str, keep: u32) -> Vec<String> {
    let mut ours: Vec<(NaiveDateTime, &String)> = names.iter().filter_map(|n| Some((made(cluster, n)?, n))).collect();
    ours.sort();
    let keep = usize::try_from(keep.max(1)).unwrap_or(usize::MAX);
    let too_many = ours.len().saturating_sub(keep);
    ours.into_iter().take(too_many).map(|(_, name)| name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap_or_default()
    }

    #[test]
    fn only_this_cluster_s_backups_are_counted() {
        let names = [
            "prod-20260101T000000Z.tar.age",
            "prod-20260102T000000Z.tar",
            "prod-20260103T000000Z.tar.age",
            "prod-2-20250101T000000Z.tar.age",
            "prod-20250101T000000Z.tar.age.old",
            "prod-2025011T000000Z.tar.age",
            "prod-latest.tar.age",
            "notes",
        ]
        .map(str::to_owned);
        assert_eq!(surplus(&names, "prod", 1), names[..2]);
        assert_eq!(surplus(&names, "prod", 3), Vec::<String>::new());
        assert_eq!(surplus(&names, "prod", 0), names[..2], "the newest always stays");
        assert_eq!(file_name("prod", at(1_767_225_600), true), names[0]);
    }

    proptest! {
        /// What stays is the newest, what goes the rest, and nothing is both.
        #[test]
        fn the_newest_stay(times in proptest::collection::btree_set(0..4_000_000_000_i64, 0..20), keep in 1..10_u32) {
            let newest_first: Vec<String> = times.iter().rev().map(|t| file_name("c", at(*t), t % 2 == 0)).collect();
            let gone = surplus(&newest_first, "c", keep);
            let mut expected: Vec<String> = newest_first.iter().skip(keep as usize).cloned().collect();
            expected.reverse();
            prop_assert_eq!(gone, expected);
        }

        #[test]
        fn no_name_makes_it_panic(names in proptest::collection::vec("(c-)?\\PC{0,30}(.tar)?(.age)?", 0..8), keep: u32) {
            prop_assert!(surplus(&names, "c", keep).len() <= names.len());
        }
    }
}
