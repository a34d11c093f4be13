//! minisign's and cosign's signatures, and OpenPGP's keys: nothing counts that was not signed.

use proptest::prelude::*;
use provision::bundle::{
    CosignWorth, Digest, Policy, Seen, Standing, cosign_keys, cosign_payload, cosign_signatures, cosign_worth, count,
    date, look,
};
use provision::inventory::PublicKey;
use provision::packages::Keyring;

use super::{as_text, mutated};

const COSIGN_KEY: &[u8] = include_bytes!("../upstream/p256.pub");
const COSIGN_SIGNATURE: &str = include_str!("../upstream/p256.sig");
const PAYLOAD: &[u8] = include_bytes!("../upstream/payload.json");
const DATA: &[u8] = b"bundle.json";

/// A key and its signature over [`DATA`], made by the crate that we sign with.
fn signed() -> (PublicKey, Vec<u8>) {
    let pair = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
    let signature = minisign::sign(Some(&pair.pk), &pair.sk, DATA, Some("a expires:2030-01-31"), Some("b")).unwrap();
    (pair.pk.to_base64().parse().unwrap(), signature.to_bytes())
}

fn seen(key: PublicKey, file: &[u8], data: &[u8]) -> Vec<Seen> {
    let policy = Policy::new(vec![("a".into(), key)], 1, false);
    look(data, &[("a.minisig".into(), file.to_vec())], &policy, date("2026-01-31").unwrap())
}

fn manifest() -> String {
    format!(
        r#"{{"schemaVersion":2,"layers":[{{"mediaType":"application/vnd.dev.cosign.simplesigning.v1+json","digest":"{}",
        "size":{},"annotations":{{"dev.cosignproject.cosign/signature":"{}"}}}}]}}"#,
        Digest::of(PAYLOAD),
        PAYLOAD.len(),
        COSIGN_SIGNATURE.trim()
    )
}

/// Whether the key vouches for `image` by what a manifest and a payload say.
fn vouched(keys: &[u8], manifest: &[u8], payload: &[u8], image: &Digest) -> bool {
    let Ok(keys) = cosign_keys(keys, "a.pub") else { return false };
    let found = cosign_signatures(manifest).unwrap_or_default();
    let found: Vec<_> = found.into_iter().map(|s| (s, payload.to_vec())).collect();
    matches!(cosign_worth(&keys, &found, image), CosignWorth::Signed(_))
}

#[test]
fn the_valid_signatures_are_valid() {
    let (key, signature) = signed();
    assert_eq!(count(&seen(key, &signature, DATA)), 1);
    assert!(vouched(COSIGN_KEY, manifest().as_bytes(), PAYLOAD, &Digest::of(b"image")));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_are_no_signature(bytes in prop::collection::vec(any::<u8>(), 0..2048)) {
        let key = "RWQW+o4pUlwAC+4VmavCcAf/wMvRpbmOYbB1KQBIGs6o1vTHsRLZ+bgR".parse().unwrap();
        let valid = seen(key, &bytes, DATA).iter().any(|s| matches!(s.standing, Standing::Valid { .. }));
        prop_assert!(!valid);
        prop_assert!(cosign_keys(&bytes, "a.pub").is_err());
        let _ = cosign_payload(&bytes);
        prop_assert!(!vouched(COSIGN_KEY, &bytes, &bytes, &Digest::of(&bytes)));
        let _ = Keyring::parse("a.asc", &bytes);
    }

    /// However the files are changed: other data is never vouched for.
    #[test]
    fn mutated_signatures_vouch_for_nothing_else(
        (key, file) in Just(signed()).prop_flat_map(|(key, s)| (Just(key), mutated(s))),
        m in mutated(manifest().into_bytes()),
        payload in mutated(PAYLOAD.to_vec()),
        pem in mutated(COSIGN_KEY.to_vec()),
    ) {
        let _ = seen(key, &file, DATA);
        prop_assert_eq!(count(&seen(key, &file, b"other")), 0);
        let image = Digest::of(b"image");
        prop_assert!(!vouched(COSIGN_KEY, &m, PAYLOAD, &Digest::of(b"other")));
        let changed = payload != PAYLOAD;
        prop_assert!(!changed || !vouched(COSIGN_KEY, manifest().as_bytes(), &payload, &image), "{}", as_text(&payload));
        let _ = (cosign_payload(&payload), vouched(&pem, &m, PAYLOAD, &image));
    }
}
