//! A bundle as one tar, and as volumes with their list.

use std::path::Path;

use proptest::prelude::*;
use provision::bundle::{Bundle, Digest};

use super::{mutated, peak_kib, valid_manifest};

/// Memory that opening may take beyond what the program has: `bundle.json` and the names, with much room.
const MEMORY_KIB: u64 = 64 << 10;
const SIZE: usize = 1024;

fn tar() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    for (name, body) in [("bundle.json", valid_manifest().as_str()), ("blobs/sha256/00", "x"), ("index.json", "{}")] {
        header.set_size(body.len() as u64);
        tar.append_data(&mut header, name, body.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap()
}

fn list(tar: &[u8]) -> String {
    let title = format!("# provision split tar, format 1\n# volume-size {SIZE}\n# total-size {}\n", tar.len());
    let lines = tar.chunks(SIZE).enumerate().map(|(n, c)| format!("{}  b.tar.{:03}\n", Digest::of(c).hex(), n + 1));
    title + &lines.collect::<String>()
}

fn volumes(dir: &Path, tar: &[u8], list: &[u8]) -> Option<Bundle> {
    for (n, chunk) in tar.chunks(SIZE).enumerate() {
        std::fs::write(dir.join(format!("c.tar.{:03}", n + 1)), chunk).unwrap();
    }
    std::fs::write(dir.join("c.tar.volumes"), list).unwrap();
    Bundle::open_any(&dir.join("c.tar.001")).ok()
}

fn whole(dir: &Path, tar: &[u8]) -> Option<Bundle> {
    std::fs::write(dir.join("b.tar"), tar).unwrap();
    Bundle::open_any(&dir.join("b.tar")).ok()
}

#[test]
fn the_valid_forms_are_valid() {
    let (dir, tar) = (tempfile::tempdir().unwrap(), tar());
    assert!(whole(dir.path(), &tar).is_some() && tar.len() > 3 * SIZE);
    assert!(volumes(dir.path(), &tar, list(&tar).as_bytes()).is_some());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_are_no_bundle(bytes in prop::collection::vec(any::<u8>(), 0..2048)) {
        let dir = tempfile::tempdir().unwrap();
        prop_assert!(whole(dir.path(), &bytes).is_none() && volumes(dir.path(), &bytes, &bytes).is_none());
    }

    #[test]
    fn mutated_forms_break_no_reader(t in mutated(tar()), l in mutated(list(&tar()).into_bytes())) {
        let (dir, before) = (tempfile::tempdir().unwrap(), peak_kib());
        let _ = whole(dir.path(), &t);
        let _ = volumes(dir.path(), &tar(), &l);
        let _ = volumes(dir.path(), &t, list(&t).as_bytes());
        prop_assert!(peak_kib() < before + MEMORY_KIB);
    }
}
