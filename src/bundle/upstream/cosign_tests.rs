//! Signatures that openssl made in cosign's form: what it takes for good, and what not.

use super::*;

/// Made by `openssl ecparam -name prime256v1 -genkey`, and `openssl genpkey -algorithm ed25519`.
const P256: &str = include_str!("../../../tests/upstream/p256.pub");
const ED: &str = include_str!("../../../tests/upstream/ed25519.pub");
const PAYLOAD_JSON: &str = include_str!("../../../tests/upstream/payload.json");
/// `openssl dgst -sha256 -sign` and `openssl pkeyutl -sign -rawin` over the payload, in base64.
const P256_SIGNATURE: &str = include_str!("../../../tests/upstream/p256.sig");
const ED_SIGNATURE: &str = include_str!("../../../tests/upstream/ed25519.sig");

fn manifest(signature: &str, more: &str) -> String {
    let payload = Digest::of(PAYLOAD_JSON.as_bytes());
    format!(
        r#"{{"layers":[{{"mediaType":"{PAYLOAD}","digest":"{payload}","size":{},"annotations":{{"{SIGNATURE}":"{}"{more}}}}},
        {{"mediaType":"application/json","digest":"no digest"}}]}}"#,
        PAYLOAD_JSON.len(),
        signature.trim()
    )
}

fn keys(pem: &str) -> Vec<CosignKey> {
    cosign_keys(pem.as_bytes(), "a.pub").unwrap_or_else(|e| panic!("{e}"))
}

fn read(signature: &str, more: &str) -> Vec<(CosignSignature, Vec<u8>)> {
    let all = cosign_signatures(manifest(signature, more).as_bytes()).unwrap_or_else(|e| panic!("{e}"));
    all.into_iter().map(|s| (s, PAYLOAD_JSON.as_bytes().to_vec())).collect()
}

#[test]
fn a_signature_by_one_of_the_keys_over_the_digest_counts() {
    let signed = Digest::of(b"image");
    let both = format!("{P256}{ED}");
    for (pem, signature) in [(P256, P256_SIGNATURE), (ED, ED_SIGNATURE), (&both, P256_SIGNATURE), (&both, ED_SIGNATURE)]
    {
        let found = read(signature, "");
        assert_eq!(found.len(), 1);
        assert!(matches!(cosign_worth(&keys(pem), &found, &signed), CosignWorth::Signed(_)), "{pem}");
        // For another digest, by another key, over other bytes.
        let worth = cosign_worth(&keys(pem), &found, &Digest::of(b"other"));
        assert!(matches!(worth, CosignWorth::Not(why) if why.contains("is for sha256:")));
        let mut changed = found.clone();
        changed[0].1.push(b' ');
        assert!(
            matches!(cosign_worth(&keys(pem), &changed, &signed), CosignWorth::Not(why) if why.contains("none of the 1"))
        );
    }
    assert!(matches!(cosign_worth(&keys(ED), &read(P256_SIGNATURE, ""), &signed), CosignWorth::Not(_)));
    assert_eq!(cosign_worth(&keys(ED), &[], &signed), CosignWorth::Not("there is no signature".into()));
    let keyless = read(P256_SIGNATURE, &format!(r#","{CERTIFICATE}":"x""#));
    assert!(
        matches!(cosign_worth(&keys(ED), &keyless, &signed), CosignWorth::Not(why) if why.contains("1 are keyless"))
    );
}

/// What cosign 3 itself wrote by `cosign sign --key`, and its key.
#[test]
fn the_newer_form_counts_as_well() {
    let (keys3, blob) = (
        keys(include_str!("../../../tests/upstream/cosign3.pub")),
        include_str!("../../../tests/upstream/cosign3.sigstore.json"),
    );
    let signed: Digest =
        "ffb5bb0d735d795f92c61b747591c0fa4a1a86b9f12f0e16bdac594b8e32735c".parse().unwrap_or_else(|e| panic!("{e}"));
    let manifest = format!(r#"{{"layers":[{{"mediaType":"{BUNDLE}","digest":"{}","size":1}}]}}"#, Digest::of(b""));
    let read = cosign_signatures(manifest.as_bytes()).unwrap_or_else(|e| panic!("{e}"));
    let worth = |keys: &[CosignKey], blob: &str, signed: &Digest| {
        let found: Vec<_> = read.iter().cloned().map(|s| (s, blob.as_bytes().to_vec())).collect();
        cosign_worth(keys, &found, signed)
    };
    assert_eq!(worth(&keys3, blob, &signed), CosignWorth::Signed(keys3[0].id.clone()));
    let not = |worth: CosignWorth, why: &str| {
        assert!(matches!(&worth, CosignWorth::Not(found) if found.contains(why)), "{worth:?}");
    };
    not(worth(&keys3, blob, &Digest::of(b"other")), "is for sha256:ffb5");
    not(worth(&keys(P256), blob, &signed), "none of the 1");
    not(worth(&keys(P256), &blob.replace("publicKey", "certificate"), &signed), "1 are keyless");
    // Another statement in the envelope, and one of another type.
    not(worth(&keys3, &blob.replace("eyJfdHlwZSI6", "eyJfdHlwZSI7"), &signed), "none of the 1");
    not(worth(&keys3, &blob.replace("vnd.in-toto", "vnd.other"), &signed), "no in-toto statement");
    not(worth(&keys3, "{}", &signed), "no Sigstore bundle");
}

#[test]
fn only_public_keys_of_known_kinds_are_taken() {
    let rsa = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VuAyEA9wBnVIBQ9pBvPEWYJ9FuCrrMcpSECdlMsLGqC0YKRAo=\n-----END PUBLIC KEY-----\n";
    let secret = P256.replace("PUBLIC KEY", "ENCRYPTED SIGSTORE PRIVATE KEY");
    for bad in ["", "text", rsa, &secret, &format!("{P256}{secret}"), &P256.replace("MFk", "MFj")] {
        let error = cosign_keys(bad.as_bytes(), "a.pub").map(|k| k.len()).map_err(|e| e.report());
        assert!(error.as_ref().is_err_and(|e| e.contains("cosign.pub") && !e.contains("MFk")), "{bad} {error:?}");
    }
}

#[test]
fn what_is_not_as_cosign_writes_it_is_refused() {
    for (from, to) in [
        ("\"layers\"", "\"other\""),
        (SIGNATURE, "other"),
        ("\"size\"", "\"other\""),
        ("sha256:", "sha512:"),
        ("\":\"MEU", "\":\"!"),
    ] {
        let text = manifest("MEUCIQ==", "").replacen(from, to, 1);
        assert!(cosign_signatures(text.as_bytes()).is_err(), "{to}");
    }
    for (from, to) in [(TYPE, "atomic container signature"), ("docker-manifest-digest", "digest"), ("sha256:", "md5:")]
    {
        assert!(cosign_payload(PAYLOAD_JSON.replace(from, to).as_bytes()).is_err(), "{to}");
    }
}
