//! The order of RPM versions. Pure; held against rpm's own `rpm.vercmp` by a test.

use std::cmp::Ordering;

/// Compares `[epoch:]version[-release]`. A release counts only when both have one: `>= 1.2` means any release of 1.2.
#[must_use]
pub fn compare(a: &str, b: &str) -> Ordering {
    let ((ea, va, ra), (eb, vb, rb)) = (parts(a), parts(b));
    let release = match (ra, rb) {
        (Some(a), Some(b)) => segments(a, b),
        _ => Ordering::Equal,
    };
    ea.cmp(&eb).then_with(|| segments(va, vb)).then(release)
}

fn parts(version: &str) -> (u64, &str, Option<&str>) {
    let (epoch, rest) = match version.split_once(':') {
        Some((epoch, rest)) => (epoch.parse().unwrap_or(0), rest),
        None => (0, version),
    };
    match rest.rsplit_once('-') {
        Some((version, release)) => (epoch, version, Some(release)),
        None => (epoch, rest, None),
    }
}

/// rpmvercmp: runs of digits and runs of letters; `~` is before the end, `^` is after it but before anything else.
fn segments(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        let skip =
            |s: &[u8]| s.iter().position(|c| c.is_ascii_alphanumeric() || matches!(c, b'~' | b'^')).unwrap_or(s.len());
        a = &a[skip(a)..];
        b = &b[skip(b)..];
        match (a.first(), b.first()) {
            (Some(b'~'), Some(b'~')) => (a, b) = (&a[1..], &b[1..]),
            (Some(b'~'), _) => return Ordering::Less,
            (_, Some(b'~')) => return Ordering::Greater,
            (Some(b'^'), Some(b'^')) => (a, b) = (&a[1..], &b[1..]),
            (Some(b'^'), other) => return if other.is_none() { Ordering::Greater } else { Ordering::Less },
            (other, Some(b'^')) => return if other.is_none() { Ordering::Less } else { Ordering::Greater },
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(x), Some(y)) => {
                let digits = x.is_ascii_digit();
                // A number is newer than letters.
                if digits != y.is_ascii_digit() {
                    return if digits { Ordering::Greater } else { Ordering::Less };
                }
                let end = |s: &[u8]| {
                    let of = |c: &u8| if digits { c.is_ascii_digit() } else { c.is_ascii_alphabetic() };
                    s.iter().position(|c| !of(c)).unwrap_or(s.len())
                };
                let ((one, resta), (two, restb)) = (a.split_at(end(a)), b.split_at(end(b)));
                let order = if digits {
                    let (one, two) = (without_zeros(one), without_zeros(two));
                    one.len().cmp(&two.len()).then_with(|| one.cmp(two))
                } else {
                    one.cmp(two)
                };
                if order != Ordering::Equal {
                    return order;
                }
                (a, b) = (resta, restb);
            }
        }
    }
}

fn without_zeros(digits: &[u8]) -> &[u8] {
    &digits[digits.iter().position(|c| *c != b'0').unwrap_or(digits.len())..]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rpms_own_examples() {
        for (less, more) in [
            ("1.0", "2.0"),
            ("2.0.1", "2.0.1a"),
            ("5.5p1", "5.5p10"),
            ("xyz10", "xyz10.1"),
            ("xyz.4", "8"),
            ("1.0~rc1", "1.0"),
            ("1.0", "1.0^"),
            ("1.0^git1", "1.01"),
            ("1.0-9", "1:0.1-1"),
        ] {
            assert_eq!(compare(less, more), Ordering::Less, "{less} {more}");
        }
        assert_eq!(compare("2_0", "2.0"), Ordering::Equal);
        assert_eq!(compare("1.2-3", "1.2"), Ordering::Equal);
    }

    proptest! {
        #[test]
        fn any_text_is_ordered(a in "\\PC{0,20}", b in "\\PC{0,20}") {
            prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
        }
    }
}
