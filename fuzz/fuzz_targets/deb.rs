//! Metadata of deb repositories: Release, and the index of packages.

#![no_main]

use libfuzzer_sys::fuzz_target;
use provision::inventory::PackageKind;
use provision::packages::{Catalog, parse_release, read_index};

fuzz_target!(|input: &[u8]| {
    if let Ok(release) = parse_release("Release", &String::from_utf8_lossy(input)) {
        let _ = release.index("Release", "main/binary-amd64/Packages");
        let _ = release.refuse_expired("Release", 0);
    }
    let mut catalog = Catalog::new(PackageKind::Deb, "amd64");
    let _ = read_index("Packages", &mut &*input, 0, "amd64", &mut catalog);
});
