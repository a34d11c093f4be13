//! index.json of an OCI layout.

#![no_main]

use libfuzzer_sys::fuzz_target;
use provision::bundle::index_digests;

fuzz_target!(|input: &str| {
    let _ = index_digests(input);
});
