//! A bundle as one tar, and as volumes with their list: every file lies inside what was opened.

#![no_main]

use libfuzzer_sys::fuzz_target;
use provision::bundle::Bundle;

fuzz_target!(|input: &[u8]| {
    let dir = tempfile::tempdir().expect("a directory can be made");
    let tar = dir.path().join("b.tar");
    std::fs::write(&tar, input).expect("a file can be written");
    let _ = Bundle::open_any(&tar);
    // The same after an empty line as one volume, and what is before as the list.
    let split = input.windows(2).position(|w| w == b"\n\n").map_or(input.len(), |at| at + 1);
    std::fs::write(dir.path().join("c.tar.volumes"), &input[..split]).expect("a file can be written");
    std::fs::write(dir.path().join("c.tar.001"), &input[split..]).expect("a file can be written");
    let _ = Bundle::open_any(&dir.path().join("c.tar.001"));
});
