//! Checksum files: the digest that is found stands in the text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use provision::bundle::find_checksum;

fuzz_target!(|input: &str| {
    if let Ok(digest) = find_checksum(input, "kubeadm") {
        assert!(input.to_ascii_lowercase().contains(digest.hex()));
    }
});
