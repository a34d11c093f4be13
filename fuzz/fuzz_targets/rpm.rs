//! Metadata of rpm repositories: repomd.xml, and the primary index.

#![no_main]

use libfuzzer_sys::fuzz_target;
use provision::inventory::PackageKind;
use provision::packages::{Catalog, parse_repomd, read_primary};

fuzz_target!(|input: &[u8]| {
    let _ = parse_repomd("repomd.xml", input);
    let mut catalog = Catalog::new(PackageKind::Rpm, "x86_64");
    let _ = read_primary("primary.xml", &mut &*input, 0, "x86_64", &mut catalog);
});
