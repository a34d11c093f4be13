//! The order of Debian versions (Debian Policy 5.6.12). Pure; held against `dpkg --compare-versions` by a test.

use std::cmp::Ordering;

/// Compares two versions as dpkg does. What is no valid version is ordered too, somehow.
#[must_use]
pub fn compare(a: &str, b: &str) -> Ordering {
    let ((ea, ua, ra), (eb, ub, rb)) = (parts(a), parts(b));
    ea.cmp(&eb).then_with(|| compare_part(ua, ub)).then_with(|| compare_part(ra, rb))
}

/// Epoch, upstream version and Debian revision; no revision is the same as `0`.
fn parts(version: &str) -> (u64, &str, &str) {
    let version = version.trim();
    let (epoch, rest) = match version.split_once(':') {
        Some((epoch, rest)) => (epoch.parse().unwrap_or(0), rest),
        None => (0, version),
    };
    let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
    (epoch, upstream, revision)
}

/// `~` before the end, the end before letters, letters before all else.
fn weight(byte: Option<u8>) -> i32 {
    match byte {
        None => 0,
        Some(b'~') => -1,
        Some(b) if b.is_ascii_digit() => 0,
        Some(b) if b.is_ascii_alphabetic() => i32::from(b),
        Some(b) => i32::from(b) + 256,
    }
}

/// Stretches without digits and numbers, in turns.
fn compare_part(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    while !a.is_empty() || !b.is_empty() {
        let digit = |s: &[u8]| s.first().is_some_and(u8::is_ascii_digit);
        while (!a.is_empty() && !digit(a)) || (!b.is_empty() && !digit(b)) {
            let order = weight(a.first().copied()).cmp(&weight(b.first().copied()));
            if order != Ordering::Equal {
                return order;
            }
            // Equal weights mean that both are at the same letter, or that the other one stands at a digit or its end.
            a = a.get(1..).unwrap_or_default();
            b = b.get(1..).unwrap_or_default();
        }
        let (na, resta) = number(a);
        let (nb, restb) = number(b);
        let order = na.len().cmp(&nb.len()).then_with(|| na.cmp(nb));
        if order != Ordering::Equal {
            return order;
        }
        (a, b) = (resta, restb);
    }
    Ordering::Equal
}

/// The digits at the start without leading zeros, and what follows them. Of any length: nothing overflows.
fn number(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    let start = digits.iter().position(|b| *b != b'0').unwrap_or(digits.len());
    (&digits[start..], rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_order_of_the_policy() {
        for pair in ["~~", "~~a", "~", "", "a"].windows(2) {
            assert_eq!(compare_part(pair[0], pair[1]), Ordering::Less, "{pair:?}");
        }
        for (less, more) in
            [("1.0", "1.1"), ("1.9", "1.10"), ("1.0~rc1", "1.0"), ("9", "1:0"), ("1.0-1", "1.0-1+b1"), ("1.0a", "1.0+")]
        {
            assert_eq!(compare(less, more), Ordering::Less, "{less} {more}");
        }
        assert_eq!(compare("1.0", "0:1.0-0"), Ordering::Equal);
        assert_eq!(compare("1.00007", "1.7"), Ordering::Equal);
    }

    proptest! {
        #[test]
        fn any_text_is_ordered(a in "\\PC{0,20}", b in "\\PC{0,20}") {
            prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
        }
    }
}
