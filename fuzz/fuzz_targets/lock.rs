//! Locks: what is accepted is written and read back the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use provision::bundle::Lock;

fuzz_target!(|input: &str| {
    if let Ok(lock) = Lock::from_toml(input, "lock") {
        let written = lock.to_toml().expect("a lock can be written");
        let again = Lock::from_toml(&written, "lock").expect("what was written is read");
        assert_eq!(again.to_toml().expect("a lock can be written"), written);
    }
});
