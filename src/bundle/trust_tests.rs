//! The judgement of signatures: property by property, with signatures made on the spot.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::sync::LazyLock;

use minisign::KeyPair;
use proptest::prelude::*;

use super::*;
use crate::bundle::Digest;

static KEYS: LazyLock<Vec<KeyPair>> =
    LazyLock::new(|| (0..3).map(|_| KeyPair::generate_unencrypted_keypair().unwrap()).collect());

fn public(index: usize) -> PublicKey {
    KEYS[index].pk.to_base64().parse().unwrap()
}

fn signed(index: usize, data: &[u8], comment: &str) -> (String, Vec<u8>) {
    let made = minisign::sign(None, &KEYS[index].sk, data, Some(comment), Some("x")).unwrap();
    (format!("{}.minisig", public(index).id()), made.to_bytes())
}

fn policy(threshold: usize, accept: bool) -> Policy {
    Policy::new((0..3).map(|i| (format!("s{i}"), public(i))).collect(), threshold, accept)
}

fn day(text: &str) -> NaiveDate {
    date(text).unwrap()
}

/// The standing of one file.
fn standing(data: &[u8], file: (String, Vec<u8>)) -> Standing {
    look(data, &[file], &policy(1, false), day("2026-06-01"))[0].standing.clone()
}

#[test]
fn each_standing_is_told_apart() {
    let (data, plain) = (b"{}".as_slice(), "provision bundle");
    assert_eq!(standing(data, signed(0, data, plain)), Standing::Valid { until: None });
    let on = |d: &str| standing(data, signed(0, data, &format!("{plain} expires:{d}")));
    assert_eq!(on("2026-06-01"), Standing::Valid { until: Some(day("2026-06-01")) });
    assert_eq!(on("2026-05-31"), Standing::Expired { until: day("2026-05-31") });
    assert_eq!(on("2027-01-01 expires:2026-01-01"), Standing::Expired { until: day("2026-01-01") });
    for bad in ["", "never", "2026-6-1", "2026-02-30", "+2026-06-01", "2027-01-01Z"] {
        assert!(matches!(on(bad), Standing::Wrong { .. }), "{bad}");
    }
    assert!(matches!(standing(b"{} ", signed(0, data, plain)), Standing::Wrong { .. }));
    let stranger = KeyPair::generate_unencrypted_keypair().unwrap();
    let by = minisign::sign(None, &stranger.sk, data, Some(plain), None).unwrap().to_bytes();
    assert_eq!(standing(data, ("x".into(), by)), Standing::UnknownKey);
}

/// A stranger's key may carry the id of a signer's, and two signers may have the same id.
#[test]
fn an_id_proves_nothing() {
    let data = b"{}".as_slice();
    let mut bytes = *public(1).as_bytes();
    bytes[2..10].copy_from_slice(&public(0).as_bytes()[2..10]);
    let twin: PublicKey = STANDARD.encode(bytes).parse().unwrap();
    // The signature by 1, renamed to the id of 0.
    let (name, made) = signed(1, data, "c");
    let text = String::from_utf8(made).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let mut raw = STANDARD.decode(&lines[1]).unwrap();
    raw[2..10].copy_from_slice(&public(0).as_bytes()[2..10]);
    lines[1] = STANDARD.encode(&raw);
    let forged = (name, (lines.join("\n") + "\n").into_bytes());
    assert!(matches!(standing(data, forged.clone()), Standing::Wrong { .. }));
    let both = Policy::new(vec![("a".into(), public(0)), ("b".into(), twin)], 2, false);
    let seen = look(data, &[forged, signed(0, data, "c")], &both, day("2026-06-01"));
    assert_eq!(seen.iter().map(|s| s.signer.as_deref().unwrap()).collect::<Vec<_>>(), ["b", "a"]);
    assert_eq!(judge(&seen, &both), Verdict::Trusted);
    // A key that is pinned twice is one signer, whatever the id beside it.
    let twice = Policy::new(vec![("a".into(), public(1)), ("b".into(), twin)], 2, false);
    assert_eq!(
        judge(&look(data, &[signed(1, data, "c"), signed(1, data, "d")], &twice, day("2026-06-01")), &twice),
        Verdict::Refused
    );
}

#[test]
fn the_words_accept_what_is_unsigned_and_not_what_is_wrong() {
    let (data, today) = (b"{}".as_slice(), day("2026-06-01"));
    let with = |files: &[(String, Vec<u8>)]| judge(&look(data, files, &policy(2, true), today), &policy(2, true));
    assert_eq!(with(&[]), Verdict::AcceptedUnsigned);
    assert_eq!(with(&[signed(0, data, "c")]), Verdict::AcceptedUnsigned);
    assert_eq!(with(&[signed(0, data, "expires:2020-01-01")]), Verdict::AcceptedUnsigned);
    assert_eq!(with(&[signed(0, b"other", "c")]), Verdict::Refused);
    assert_eq!(with(&[("x".into(), b"half".to_vec())]), Verdict::Refused);
    assert_eq!(with(&[signed(0, b"other", "c"), signed(1, data, "c"), signed(2, data, "c")]), Verdict::Trusted);
    // Nobody trusted, no words: nothing is good enough.
    let nobody = Policy::of(&Trust::default()).unwrap();
    assert_eq!(judge(&look(data, &[signed(0, data, "c")], &nobody, today), &nobody), Verdict::Refused);
    assert_eq!(judge(&[], &nobody), Verdict::Refused);
}

fn any_date() -> impl Strategy<Value = NaiveDate> {
    (0i32..9999, 1u32..=366).prop_filter_map("no such day", |(y, d)| NaiveDate::from_yo_opt(y, d))
}

fn any_seen() -> impl Strategy<Value = Seen> {
    let standing = prop_oneof![
        3 => Just(Standing::Valid { until: None }),
        1 => any_date().prop_map(|until| Standing::Valid { until: Some(until) }),
        1 => Just(Standing::UnknownKey),
        1 => any_date().prop_map(|until| Standing::Expired { until }),
        1 => Just(Standing::Wrong { reason: "x".into() }),
    ];
    (0usize..3, standing).prop_map(|(signer, standing)| Seen {
        file: "f".into(),
        key_id: None,
        signer: (standing != Standing::UnknownKey).then(|| format!("s{signer}")),
        comment: None,
        standing,
    })
}

proptest! {
    #[test]
    fn the_threshold_counts_signers(seen in prop::collection::vec(any_seen(), 0..8), more in any_seen(), n in 0usize..5, accept: bool) {
        let policy = policy(n, accept);
        let valid = |s: &&Seen| matches!(s.standing, Standing::Valid { .. });
        let signers = (0..3).filter(|i| seen.iter().filter(valid).any(|s| s.signer == Some(format!("s{i}")))).count();
        let verdict = judge(&seen, &policy);
        prop_assert_eq!(count(&seen), signers);
        prop_assert_eq!(absent(&seen, &policy).len(), 3 - signers);
        prop_assert_eq!(verdict == Verdict::Trusted, signers >= n.max(1));
        prop_assert!(accept || verdict != Verdict::AcceptedUnsigned);
        // The same once more, and in another order, is the same.
        let twice: Vec<Seen> = seen.iter().rev().chain(&seen).cloned().collect();
        prop_assert_eq!(&judge(&twice, &policy), &verdict);
        // Nothing laid beside enough signatures takes any of them away.
        let mut longer = seen.clone();
        longer.push(more);
        prop_assert!(verdict != Verdict::Trusted || judge(&longer, &policy) == Verdict::Trusted);
    }

    #[test]
    fn a_date_is_read_as_it_is_written(until in any_date(), version in "(?s).{0,12}") {
        let written = comment(&version, &Digest::of(b"x"), Some(until));
        prop_assert_eq!(expiry(&written), Ok(Some(until)));
        prop_assert_eq!(expiry(&comment(&version, &Digest::of(b"x"), None)), Ok(None));
        prop_assert!(!written.chars().any(char::is_control));
    }

    #[test]
    fn any_comment_has_an_expiry_or_none(text in "(?s).{0,60}", tail in "(?s).{0,12}") {
        let _ = expiry(&text);
        let _ = expiry(&format!("{text} expires:{tail}"));
        let _ = date(&tail);
    }

    #[test]
    fn any_bytes_are_looked_at(bytes in prop::collection::vec(any::<u8>(), 0..400), data in prop::collection::vec(any::<u8>(), 0..20)) {
        prop_assert_eq!(count(&look(&data, &[("f".into(), bytes)], &policy(1, false), day("2026-06-01"))), 0);
    }

    /// What has the shape of a signature by a signer, and any key that can be pinned.
    #[test]
    fn any_signature_and_any_key_are_looked_at(
        (raw, key) in (prop::collection::vec(any::<u8>(), 60..80), prop::array::uniform32(any::<u8>())),
        global in prop::collection::vec(any::<u8>(), 60..68), kind in prop_oneof![Just(b"Ed"), Just(b"ED"), Just(b"xx")],
        comment in "\\PC{0,40}", own: bool,
    ) {
        let mut bytes = [7_u8; 42];
        bytes[..2].copy_from_slice(b"Ed");
        bytes[10..].copy_from_slice(&key);
        let mut raw = raw;
        raw[..2].copy_from_slice(kind);
        if own {
            raw[2..10].fill(7);
        }
        let text = format!("untrusted comment: x\n{}\ntrusted comment: {comment}\n{}\n", STANDARD.encode(&raw), STANDARD.encode(&global));
        let policy = Policy::new(vec![("any".into(), STANDARD.encode(bytes).parse().unwrap())], 1, false);
        prop_assert_eq!(count(&look(b"{}", &[("f".into(), text.into_bytes())], &policy, day("2026-06-01"))), 0);
    }

    /// No byte of what was signed, of the signature or of its trusted comment can be changed, left out or added.
    #[test]
    fn a_changed_signature_does_not_hold(at: prop::sample::Index, bit in 0u8..8, cut: bool) {
        let (name, made) = signed(0, b"{\"a\": 1}", "provision bundle expires:2030-01-01");
        let first = made.iter().position(|b| *b == b'\n').unwrap() + 1;
        let at = first + at.index(made.len() - first);
        let mut bytes = made.clone();
        if cut { bytes.truncate(at) } else { bytes[at] ^= 1 << bit }
        // Cutting off the last newline, or making it a carriage return's twin, leaves the four lines as they were.
        let same = bytes.trim_ascii_end() == made.trim_ascii_end();
        let found = standing(b"{\"a\": 1}", (name, bytes));
        prop_assert!(same || !matches!(found, Standing::Valid { .. }), "{at} {found:?}");
    }
}
