//! cosign's manifests, what is signed, and keys: nothing is by a key that did not sign it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use provision::bundle::{CosignWorth, Digest, cosign_keys, cosign_payload, cosign_signatures, cosign_worth};

const KEY: &[u8] = include_bytes!("../../tests/upstream/p256.pub");

fuzz_target!(|input: &[u8]| {
    let _ = cosign_keys(input, "a.pub");
    let _ = cosign_payload(input);
    let keys = cosign_keys(KEY, "p256.pub").expect("they are keys");
    let found = cosign_signatures(input).unwrap_or_default();
    let found: Vec<_> = found.into_iter().map(|s| (s, input.to_vec())).collect();
    assert!(matches!(cosign_worth(&keys, &found, &Digest::of(input)), CosignWorth::Not(_)));
});
