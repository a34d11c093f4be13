//! Signature files in a bundle, and OpenPGP's keys and signatures: nothing that does not verify counts.

#![no_main]

use libfuzzer_sys::fuzz_target;
use provision::bundle::{Policy, Standing, count, date, look};
use provision::packages::Keyring;

const KEY: &str = "RWQW+o4pUlwAC+4VmavCcAf/wMvRpbmOYbB1KQBIGs6o1vTHsRLZ+bgR";

fuzz_target!(|input: &[u8]| {
    let key = KEY.parse().expect("it is a key");
    let policy = Policy::new(vec![("a".to_owned(), key)], 1, false);
    let files = [("a.minisig".to_owned(), input.to_vec())];
    let seen = look(b"bundle.json", &files, &policy, date("2026-01-31").expect("it is a date"));
    assert!(seen.iter().all(|s| !matches!(s.standing, Standing::Valid { .. })) && count(&seen) == 0);
    if let Ok(keyring) = Keyring::parse("keyring", input) {
        assert!(keyring.verify_detached("data", b"data", input, None).is_err());
    }
});
