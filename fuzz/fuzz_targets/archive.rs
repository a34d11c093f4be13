//! Archives, packed here so that the tar inside is reached: no member leads out.

#![no_main]

use std::io::Write as _;

use flate2::write::GzEncoder;
use libfuzzer_sys::fuzz_target;
use provision::bundle::archive_members;

fuzz_target!(|input: &[u8]| {
    let _ = archive_members(input, "raw");
    let mut packed = GzEncoder::new(Vec::new(), flate2::Compression::none());
    packed.write_all(input).expect("memory takes it");
    let packed = packed.finish().expect("memory takes it");
    for member in archive_members(packed.as_slice(), "packed").unwrap_or_default() {
        assert!(!member.path.starts_with('/') && !member.path.split('/').any(|part| part == ".."));
    }
});
