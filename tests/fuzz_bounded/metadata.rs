//! What deb and rpm repositories publish of their packages.

use proptest::prelude::*;
use provision::inventory::PackageKind;
use provision::packages::{Catalog, parse_release, parse_repomd, read_index, read_primary, resolve};

use super::{as_text, mutated};

fn release() -> String {
    format!(
        "Suite: stable\nDate: Sat, 17 May 2025 09:00:00 UTC\nValid-Until: Sat, 24 May 2025 09:00:00 UTC\nSHA256:\n {} 7 main/binary-amd64/Packages.gz\n",
        "0".repeat(64)
    )
}

fn packages() -> String {
    let stanza = |name: &str, more: &str| {
        format!(
            "Package: {name}\nVersion: 1:2.0~rc1-1\nArchitecture: amd64\nFilename: pool/{name}.deb\nSize: 7\nSHA256: {}\n{more}\n",
            "0".repeat(64)
        )
    };
    stanza("app", "Depends: lib (>= 1:1.0), one | other\nDescription: a\n b\n")
        + &stanza("lib", "Provides: one (= 2)\nPriority: required\n")
}

const REPOMD: &str = r#"<?xml version="1.0"?><repomd xmlns="http://linux.duke.edu/metadata/repo"><data type="primary">
<checksum type="sha256">SUM</checksum><location href="repodata/primary.xml.gz"/><open-size>7</open-size></data></repomd>"#;

const PRIMARY: &str = r#"<?xml version="1.0"?><metadata packages="2" xmlns:rpm="http://linux.duke.edu/metadata/rpm">
<package type="rpm"><name>app</name><arch>x86_64</arch><version epoch="0" ver="1.0" rel="2"/>
<checksum type="sha256" pkgid="YES">SUM</checksum><size package="7"/><location href="Packages/app.rpm"/>
<format><rpm:requires><rpm:entry name="(none or lib &gt;= 2)"/><rpm:entry name="/bin/tool"/></rpm:requires></format></package>
<package type="rpm"><name>lib</name><arch>noarch</arch><version epoch="1" ver="2" rel="1"/><checksum type="sha256">SUM</checksum>
<size package="7"/><location href="lib.rpm"/><format><file>/bin/tool</file></format></package></metadata>"#;

fn deb(release: &[u8], packages: &[u8]) -> Option<usize> {
    if let Ok(release) = parse_release("Release", &as_text(release)) {
        let _ = release.index("Release", "main/binary-amd64/Packages");
        let _ = release.refuse_expired("Release", 1_800_000_000);
    }
    let mut catalog = Catalog::new(PackageKind::Deb, "amd64");
    read_index("Packages", &mut &*packages, 0, "amd64", &mut catalog).ok()?;
    Some(resolve(&catalog, &["app"], false).ok()?.len())
}

fn rpm(repomd: &[u8], primary: &[u8]) -> Option<usize> {
    let _ = parse_repomd("repomd.xml", repomd);
    let mut catalog = Catalog::new(PackageKind::Rpm, "amd64");
    read_primary("primary.xml", &mut &*primary, 0, "x86_64", &mut catalog).ok()?;
    Some(resolve(&catalog, &["app"], false).ok()?.len())
}

fn sum(text: &str) -> Vec<u8> {
    text.replace("SUM", &"0".repeat(64)).into_bytes()
}

#[test]
fn the_valid_metadata_are_valid() {
    assert!(parse_release("Release", &release()).is_ok() && parse_repomd("repomd.xml", &sum(REPOMD)).is_ok());
    assert_eq!(deb(b"", packages().as_bytes()), Some(2));
    assert_eq!(rpm(b"", &sum(PRIMARY)), Some(2));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_break_no_metadata_reader(bytes in prop::collection::vec(any::<u8>(), 0..2048)) {
        let _ = (deb(&bytes, &bytes), rpm(&bytes, &bytes));
    }

    #[test]
    fn mutated_metadata_break_no_reader(
        r in mutated(release().into_bytes()),
        p in mutated(packages().into_bytes()),
        d in mutated(sum(REPOMD)),
        x in mutated(sum(PRIMARY)),
    ) {
        let _ = (deb(&r, &p), rpm(&d, &x));
    }
}

#[test]
fn deep_metadata_is_refused() {
    let deep = "<a>".repeat(100_000);
    assert!(parse_repomd("repomd.xml", deep.as_bytes()).is_err());
    assert_eq!(rpm(b"", deep.as_bytes()), None);
    let relation = format!("({}", "(a or ".repeat(50_000));
    let primary = String::from_utf8(sum(PRIMARY))
        .unwrap()
        .replace("/bin/tool\"/></rpm:requires>", &format!("{relation}\"/></rpm:requires>"));
    let _ = rpm(b"", primary.as_bytes());
}
