//! The entry points of `fuzz/` under proptest, for a few seconds: arbitrary bytes, and valid inputs with a few bytes
//! changed. cargo-fuzz goes deeper; this runs always.

#![expect(clippy::unwrap_used, reason = "a test")]

#[path = "fuzz_bounded/forms.rs"]
mod forms;
#[path = "fuzz_bounded/metadata.rs"]
mod metadata;
#[path = "fuzz_bounded/signatures.rs"]
mod signatures;

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use provision::bundle::{
    BundleManifest, Digest, Labels, Lock, Member, archive_members, contents, cyclonedx, find_checksum, html,
    index_digests, provenance_problems, spdx, text,
};

/// Memory that one case may take at most, beyond what the program has: the archive reader's promise, doubled.
const MEMORY_KIB: u64 = 64 << 10;

fn manifest(input: &str) {
    if let Ok(manifest) = BundleManifest::from_json(input, "bundle.json") {
        let labels = Labels::new();
        for bill in [cyclonedx(&manifest, &labels), spdx(&manifest, &labels)] {
            serde_json::from_str::<serde_json::Value>(&bill).unwrap();
        }
        let contents = contents(&manifest, &labels);
        let _ = text(&contents);
        html(&contents).unwrap();
    }
}

fn lock(input: &str) {
    if let Ok(lock) = Lock::from_toml(input, "lock") {
        let written = lock.to_toml().unwrap();
        assert_eq!(Lock::from_toml(&written, "lock").unwrap().to_toml().unwrap(), written);
    }
}

fn checksum(input: &str) {
    if let Ok(digest) = find_checksum(input, "kubeadm") {
        assert!(input.to_ascii_lowercase().contains(digest.hex()));
    }
}

fn provenance(input: &str) {
    let manifest = BundleManifest::from_json(&valid_manifest(), "bundle.json").unwrap();
    let _ = provenance_problems(input, &manifest, &[("bundle.json", Digest::of(b""))].into());
}

fn archive(packed: &[u8]) -> Vec<Member> {
    let members = archive_members(packed, "a.tgz").unwrap_or_default();
    for member in &members {
        assert!(!member.path.starts_with('/') && !member.path.split('/').any(|part| part == ".."), "{}", member.path);
    }
    members
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::none());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

fn valid_manifest() -> String {
    let digest = Digest::of(b"x");
    let blob = format!(r#"{{"digest":"{digest}","size":3,"media_type":"application/gzip"}}"#);
    let artifact = |kind: &str, name: &str, verified: &str| {
        format!(
            r#"{{"kind":"{kind}","name":"{name}","version":"1.0","arch":"amd64","digest":"{digest}","size":3,
            "source":"https://upstream.example/x","verified":{verified},"manifest":"{digest}","blobs":[{blob}],
            "members":[{{"path":"bin/a","digest":"{digest}","size":1,"mode":493}}]}}"#
        )
    };
    let artifacts = [
        artifact("archive", "containerd", r#"{"by":"checksum-file","url":"https://upstream.example/x.sha256"}"#),
        artifact("image", "registry.k8s.io/pause:3.10", r#"{"by":"registry-digest"}"#),
    ];
    let text = format!(
        r#"{{"format_version":1,"kubernetes":"1.36.2","lock":"{digest}","artifacts":[{}]}}"#,
        artifacts.join(",")
    );
    serde_json::from_str::<BundleManifest>(&text).unwrap().to_canonical_json()
}

fn valid_lock() -> String {
    let digest = Digest::of(b"x");
    format!(
        "format_version = 1\nkubernetes = \"1.36.2\"\n\n[[file]]\nkind = \"binary\"\nname = \"kubeadm\"\nversion = \
         \"1.36.2\"\narch = \"amd64\"\nsha256 = \"{digest}\"\nurl = \"https://upstream.example/kubeadm\"\n\n[[image]]\nname = \
         \"registry.k8s.io/pause:3.10\"\ndigest = \"{digest}\"\n\n[image.manifests]\namd64 = \"{digest}\"\n"
    )
}

fn valid_index() -> String {
    format!(r#"{{"schemaVersion":2,"manifests":[{{"digest":"{0}","size":1}},{{"digest":"{0}"}}]}}"#, Digest::of(b"x"))
}

fn valid_checksums() -> String {
    format!("{0}  kubelet\n{1} *./bin/kubeadm\n", Digest::of(b"a").hex(), Digest::of(b"b").hex())
}

fn valid_provenance() -> String {
    let hex = Digest::of(b"").hex().to_owned();
    format!(
        r#"{{"_type":"https://in-toto.io/Statement/v1","subject":[{{"name":"bundle.json","digest":{{"sha256":"{hex}"}}}}],
        "predicate":{{"buildDefinition":{{"resolvedDependencies":[{{"name":"lock"}}]}}}}}}"#
    )
}

/// A tar with every kind of entry that the reader treats in its own way.
fn valid_tar() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(5);
    header.set_mode(0o755);
    tar.append_data(&mut header, "bin/containerd", &b"12345"[..]).unwrap();
    header.set_size(1);
    tar.append_data(&mut header, "d/".repeat(80) + "long", &b"x"[..]).unwrap();
    tar.append_pax_extensions([("path", b"pax/name".as_slice()), ("size", b"7")]).unwrap();
    header.set_size(7);
    tar.append_data(&mut header, "short", &b"1234567"[..]).unwrap();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    tar.append_link(&mut header, "bin/link", "containerd").unwrap();
    header.set_entry_type(tar::EntryType::Directory);
    tar.append_data(&mut header, "dir/", &b""[..]).unwrap();
    tar.into_inner().unwrap()
}

#[test]
fn the_valid_inputs_are_valid() {
    assert!(BundleManifest::from_json(&valid_manifest(), "m").is_ok());
    assert!(Lock::from_toml(&valid_lock(), "l").is_ok());
    assert_eq!(index_digests(&valid_index()).unwrap().len(), 1);
    assert_eq!(find_checksum(&valid_checksums(), "kubeadm").unwrap(), Digest::of(b"b"));
    let names: Vec<String> = archive(&gzip(&valid_tar())).into_iter().map(|m| m.path).collect();
    assert_eq!(names, ["bin/containerd".to_owned(), "d/".repeat(80) + "long", "pax/name".to_owned()]);
}

/// Sizes that overflow when they are added up are refused with the manifest.
#[test]
fn sizes_that_no_sum_holds_are_refused() {
    let huge = valid_manifest().replace("\"size\": 3", &format!("\"size\": {}", u64::MAX));
    let error = BundleManifest::from_json(&huge, "m").map_err(|e| e.to_string()).unwrap_err();
    assert!(error.contains("no disk holds"), "{error}");
}

/// A few bytes of `valid` set, taken out, doubled, or the rest cut off.
fn mutated(valid: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let edit = (any::<prop::sample::Index>(), any::<u8>(), 0..5_u8, 1..40_usize);
    prop::collection::vec(edit, 1..8).prop_map(move |edits| {
        let mut bytes = valid.clone();
        for (at, byte, how, len) in edits {
            if bytes.is_empty() {
                break;
            }
            let at = at.index(bytes.len());
            let end = (at + len).min(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => drop(bytes.drain(at..end)),
                2 => {
                    let piece = bytes[at..end].to_vec();
                    bytes.splice(at..at, piece);
                }
                3 => bytes[at..end].fill(byte),
                _ => bytes.truncate(at),
            }
        }
        bytes
    })
}

/// The bytes as a text, which all of the parsers but the archives' take.
fn as_text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The largest memory this process has had, in KiB.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    status.lines().find_map(|l| l.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_break_no_parser(bytes in prop::collection::vec(any::<u8>(), 0..2048)) {
        let text = as_text(&bytes);
        manifest(&text);
        lock(&text);
        let _ = index_digests(&text);
        checksum(&text);
        provenance(&text);
        archive(&bytes);
        archive(&gzip(&bytes));
    }

    #[test]
    fn mutated_texts_break_no_parser(
        m in mutated(valid_manifest().into_bytes()),
        l in mutated(valid_lock().into_bytes()),
        i in mutated(valid_index().into_bytes()),
        c in mutated(valid_checksums().into_bytes()),
        p in mutated(valid_provenance().into_bytes()),
    ) {
        // Made canonical again when it still is a manifest, so that more than the first check is reached.
        let m = as_text(&m);
        manifest(&m);
        if let Ok(read) = serde_json::from_str::<BundleManifest>(&m) {
            manifest(&read.to_canonical_json());
        }
        lock(&as_text(&l));
        let _ = index_digests(&as_text(&i));
        checksum(&as_text(&c));
        provenance(&as_text(&p));
    }

    #[test]
    fn mutated_archives_break_no_reader(inside in mutated(valid_tar()), outside in mutated(gzip(&valid_tar()))) {
        let before = peak_kib();
        archive(&gzip(&inside));
        archive(&outside);
        prop_assert!(peak_kib() < before + MEMORY_KIB);
    }
}

/// Deep nesting is an error of the parser, never the end of the stack.
#[test]
fn deep_nesting_is_refused() {
    for open in ["[", "{\"a\":", "[[", "a=[", "a={a="] {
        let deep = open.repeat(100_000);
        manifest(&deep);
        lock(&deep);
        assert!(index_digests(&deep).is_err());
        provenance(&deep);
    }
}
