//! Sizes as people write them. Pure.

use crate::error::{Error, Result};

/// Reads `650MB`, `4GiB`, `4G` or a bare number of bytes. As in coreutils' split: `KB`, `MB` ... are powers of 1000;
/// `K`, `KiB`, `M`, `MiB` ... of 1024.
///
/// Errors: no number, an unknown unit, less than 1 KiB, more than 2^63 bytes.
pub fn parse_size(text: &str) -> Result<u64> {
    let bad = || {
        Error::new(crate::error::Kind::Usage, format!("`{text}` is no size of a volume"))
            .hint("write 650MB, 4GiB or a number of bytes, at least 1024")
    };
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| bad())?;
    let unit = unit.trim_start().to_ascii_lowercase();
    let power = |letter: &str| "kmgt".find(letter).map(|i| i as u32 + 1);
    let scale = match unit.as_str() {
        "" | "b" => Some(1),
        _ if !unit.is_ascii() => None,
        _ => match unit.split_at(1) {
            (letter, "" | "ib") => power(letter).map(|p| 1024_u64.pow(p)),
            (letter, "b") => power(letter).map(|p| 1000_u64.pow(p)),
            _ => None,
        },
    };
    let bytes = scale.and_then(|s| number.checked_mul(s)).ok_or_else(bad)?;
    if (1024..=i64::MAX as u64).contains(&bytes) { Ok(bytes) } else { Err(bad()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn units_are_those_of_split() {
        for (text, bytes) in [
            ("1024", 1024),
            ("2KB", 2000),
            ("2K", 2048),
            ("650MB", 650_000_000),
            ("4GiB", 4 << 30),
            ("1 tb", 1_000_000_000_000),
        ] {
            assert_eq!(parse_size(text).ok(), Some(bytes), "{text}");
        }
        for text in ["", "GiB", "1023", "4XB", "4GiBs", "-1", "99999999T", "4é", "9223372036854775808"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,20}", number in any::<u64>(), unit in "[kmgtKMGT]?(i?[bB])?") {
            let _ = parse_size(&text);
            let _ = parse_size(&format!("{number}{unit}"));
        }
    }
}
