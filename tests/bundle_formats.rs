//! The forms of a bundle as a user makes and uses them: directory, tar, volumes.

#![expect(clippy::unwrap_used, reason = "a test")]

#[path = "bundle/memory.rs"]
mod memory;
#[path = "bundle/site.rs"]
mod site;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use memory::peak_mib;
use provision::bundle::Digest;
use site::{Site, text, tree};

const KUBELET: &str = "/k8s/v1.36.2/bin/linux/amd64/kubelet";
const VOLUME: usize = 1_000_000;

/// A site with a lock and `bundle`, a directory.
fn built() -> Site {
    let site = Site::new();
    site.ok("c", &["lock"]);
    site.ok("c", &["build"]);
    site
}

/// The output of a tool; `package` is where Debian has it.
fn tool(package: &str, dir: &Path, line: &[&str]) -> String {
    let (name, args) = line.split_first().unwrap();
    let out = Command::new(name).args(args).current_dir(dir).env("TMPDIR", dir).output();
    let out = out.unwrap_or_else(|e| panic!("{name}: {e}; install the Debian package {package}"));
    assert!(out.status.success(), "{line:?}: {}", text(&out));
    text(&out)
}

fn names(dir: &Path, start: &str) -> Vec<String> {
    let all = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = all.filter(|n| n.starts_with(start)).collect();
    names.sort();
    names
}

#[test]
fn the_same_lock_gives_the_same_tar_everywhere() {
    let site = Site::new();
    site.ok("c1", &["lock"]);
    site.ok("c1", &["build", "--out", "one/bundle.tar"]);
    let first = std::fs::read(site.path("one/bundle.tar")).unwrap();
    // Another cache, another place, another second, another form on the way.
    std::thread::sleep(Duration::from_millis(1100));
    site.ok("deep/cache/2", &["build", "--out", "deep/place", "--form", "tar"]);
    assert_eq!(std::fs::read(site.path("deep/place")).unwrap(), first);
    site.ok("c3", &["build", "--out", "dir"]);
    site.ok("c3", &["pack", "dir", "--out", "packed.tar"]);
    assert_eq!(std::fs::read(site.path("packed.tar")).unwrap(), first);
    site.ok("c3", &["unpack", "packed.tar", "--out", "again"]);
    assert_eq!(tree(&site.path("again")), tree(&site.path("dir")));
    // The order that makes opening cheap, and nothing of the machine.
    let listed = tool("tar", site.dir.path(), &["tar", "tvf", "packed.tar", "--numeric-owner", "--full-time", "--utc"]);
    let lines: Vec<&str> = listed.lines().collect();
    assert!(lines.iter().all(|l| l.starts_with("-rw-r--r-- 0/0 ") && l.contains("1970-01-01 00:00:00")), "{listed}");
    let members: Vec<&str> = lines.iter().map(|l| l.rsplit(' ').next().unwrap()).collect();
    assert_eq!(&members[..3], ["bundle.json", "index.json", "oci-layout"]);
    assert!(members[3..].iter().all(|m| m.starts_with("blobs/sha256/")) && members[3..].is_sorted(), "{listed}");
    // No byte lies anywhere twice.
    assert_eq!(names(&site.path("c1"), "staging"), [""; 0]);
    assert_eq!(names(&site.path("one"), ""), ["bundle.tar"]);
}

#[test]
fn volumes_are_the_tar_and_every_form_is_used_in_place() {
    let site = built();
    site.ok("c", &["pack", "bundle", "--out", "bundle.tar"]);
    site.ok("c", &["build", "--out", "set/bundle.tar", "--split", "1MB"]);
    let set = site.path("set");
    let whole = std::fs::read(site.path("bundle.tar")).unwrap();
    let volumes = names(&set, "bundle.tar.0");
    assert_eq!(volumes.len(), whole.len().div_ceil(VOLUME));
    for (volume, part) in volumes.iter().zip(whole.chunks(VOLUME)) {
        assert!(std::fs::read(set.join(volume)).unwrap() == part, "{volume}");
    }
    tool("bash", &set, &["sh", "-c", "cat bundle.tar.0* > joined && cmp joined ../bundle.tar"]);
    tool("coreutils", &set, &["sha256sum", "--check", "--strict", "bundle.tar.volumes"]);
    let inspected = text(&site.bundle("c", &["inspect", "bundle"]));
    for form in ["bundle.tar", "set/bundle.tar", "set/bundle.tar.001", "set/bundle.tar.004", "set/bundle.tar.volumes"] {
        site.ok("c", &["verify", form, "-i", "inventory.toml"]);
        assert_eq!(text(&site.bundle("c", &["inspect", form])), inspected);
    }
    // As other programs make a tar of the directory.
    tool("tar", site.dir.path(), &["tar", "cf", "gnu.tar", "-C", "bundle", "."]);
    site.ok("c", &["verify", "gnu.tar"]);
    // Volumes are packed again in another size, in place: what is left of the larger set goes.
    site.ok("c", &["pack", "set/bundle.tar.001", "--out", "set/bundle.tar", "--split", "4MiB"]);
    assert_eq!(names(&set, "bundle.tar").len(), whole.len().div_ceil(4 << 20) + 1);
    site.ok("c", &["verify", "set/bundle.tar.001"]);
    site.ok("c", &["pack", "set/bundle.tar", "--out", "set/bundle.tar"]);
    assert_eq!(names(&set, "bundle.tar"), ["bundle.tar"]);
    assert!(std::fs::read(set.join("bundle.tar")).unwrap() == whole);
}

#[test]
fn a_volume_that_is_not_what_it_was_is_named() {
    let site = built();
    site.ok("c", &["pack", "bundle", "--out", "b.tar", "--split", "1MB"]);
    let count = names(site.dir.path(), "b.tar.0").len();
    let file = |n: usize| site.path(&format!("b.tar.{n:03}"));
    for number in [1, 4, count] {
        let good = std::fs::read(file(number)).unwrap();
        let said_of = |what: &str| {
            let said = site.fails(3, "c", &["verify", "b.tar"]);
            assert!(said.contains(&format!("volume {number} of {count}")) && said.contains(what), "{said}");
        };
        std::fs::remove_file(file(number)).unwrap();
        said_of(&format!("is missing: b.tar.{number:03} with {} bytes, {}", good.len(), Digest::of(&good)));
        assert!(site.fails(3, "c", &["inspect", &format!("b.tar.{number:03}")]).contains("is missing"));
        std::fs::write(file(number), &good[..good.len() - 1]).unwrap();
        said_of(&format!("has {} bytes, {} expected", good.len() - 1, good.len()));
        let mut bad = good.clone();
        // Past the headers at the start, before the zeros at the end.
        let at = good.len() / 2;
        bad[at] ^= 1;
        std::fs::write(file(number), &bad).unwrap();
        said_of("it is damaged or of another set");
        std::fs::write(file(number), good).unwrap();
    }
    site.ok("c", &["verify", "b.tar"]);
    // Two that changed places, wherever headers lie.
    for (a, b) in [(1, 2), (3, 5)] {
        let swap = || {
            std::fs::rename(file(a), site.path("x")).unwrap();
            std::fs::rename(file(b), file(a)).unwrap();
            std::fs::rename(site.path("x"), file(b)).unwrap();
        };
        swap();
        let said = site.fails(3, "c", &["verify", "b.tar"]);
        assert!(said.contains(&format!("is volume {b} under a wrong name")), "{said}");
        assert!(said.contains(&format!("is volume {a} under a wrong name")), "{said}");
        swap();
    }
    // One too many; and no list.
    std::fs::write(file(count + 1), "x").unwrap();
    assert!(site.fails(3, "c", &["verify", "b.tar"]).contains("does not belong to the set"));
    std::fs::remove_file(file(count + 1)).unwrap();
    std::fs::rename(site.path("b.tar.volumes"), site.path("kept")).unwrap();
    assert!(site.fails(3, "c", &["verify", "b.tar.001"]).contains("list of volumes"));
    // A set without its list may be anybody's: it is not written over.
    assert!(site.fails(5, "c", &["pack", "bundle", "--out", "b.tar"]).contains("without a list of volumes"));
}

#[test]
fn a_hostile_tar_is_refused_and_writes_nothing_outside() {
    let site = built();
    let manifest = std::fs::read(site.path("bundle/bundle.json")).unwrap();
    for (name, kind) in [
        ("../out", tar::EntryType::Regular),
        ("/tmp/provision-out", tar::EntryType::Regular),
        ("signatures/../../out", tar::EntryType::Regular),
        ("link", tar::EntryType::Symlink),
        ("link", tar::EntryType::Link),
        ("bundle.json", tar::EntryType::Regular),
    ] {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, kind) in [("bundle.json", tar::EntryType::Regular), (name, kind)] {
            let mut header = tar::Header::new_gnu();
            // Raw, because the builder refuses what a hostile archive would hold.
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(kind);
            header.set_size(manifest.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            tar.append(&header, manifest.as_slice()).unwrap();
        }
        std::fs::write(site.path("bad.tar"), tar.into_inner().unwrap()).unwrap();
        for args in
            [&["unpack", "bad.tar", "--out", "in/unpacked"][..], &["verify", "bad.tar"], &["inspect", "bad.tar"]]
        {
            let said = site.fails(3, "c", args);
            assert!(said.contains("bad.tar holds `") && said.contains(name), "{said}");
        }
        assert!(!site.path("in").exists() && !site.path("out").exists() && !Path::new("/tmp/provision-out").exists());
    }
    // Cut, and damaged in a blob.
    site.ok("c", &["pack", "bundle", "--out", "bundle.tar"]);
    let mut bytes = std::fs::read(site.path("bundle.tar")).unwrap();
    std::fs::write(site.path("cut.tar"), &bytes[..bytes.len() - 1500]).unwrap();
    assert!(site.fails(3, "c", &["verify", "cut.tar"]).contains("ends too early"));
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(site.path("flipped.tar"), &bytes).unwrap();
    let said = site.fails(3, "c", &["verify", "flipped.tar"]);
    assert!(said.contains("hashes to") && said.contains("flipped.tar from byte"), "{said}");
    let said = site.fails(3, "c", &["unpack", "flipped.tar", "--out", "flipped"]);
    assert!(said.contains("it is damaged") && names(site.dir.path(), "flipped") == ["flipped.tar"], "{said}");
    let said = site.fails(3, "c", &["pack", "flipped.tar", "--out", "other.tar", "--split", "1MB"]);
    assert!(said.contains("it is damaged") && names(site.dir.path(), "other") == [""; 0], "{said}");
}

#[test]
fn only_a_bundle_is_replaced_and_no_half_one_stays() {
    let site = built();
    std::fs::write(site.path("letter.tar"), "dear").unwrap();
    std::fs::create_dir(site.path("papers")).unwrap();
    for args in [
        ["pack", "bundle", "--out", "letter.tar"],
        ["pack", "bundle", "--out", "papers"],
        ["unpack", "bundle", "--out", "papers"],
        ["build", "--out", "letter.tar", "--form=dir"],
        ["build", "--out", "papers", "--form=tar"],
    ] {
        let said = site.fails(5, "c", &args);
        assert!(said.contains("is there and is no bundle") || said.contains("is a directory"), "{said}");
    }
    assert_eq!(std::fs::read(site.path("letter.tar")).unwrap(), b"dear");
    assert!(site.fails(64, "c", &["build", "--form", "dir", "--split", "1MB"]).contains("not split"));
    assert!(site.fails(64, "c", &["pack", "bundle", "--out", "x", "--split", "9"]).contains("no size of a volume"));
    assert!(site.fails(64, "c", &["pack", "bundle", "--out", "x", "--split", "2K"]).contains("999 at most"));
    // A file system that takes no more than so much: one error that names the file, and nothing of it stays.
    for args in ["pack bundle --out full.tar", "pack bundle --out full.tar --split 3MB", "build --out full.tar"] {
        let line = format!("trap '' XFSZ; ulimit -f 2000; exec {} bundle {args}", env!("CARGO_BIN_EXE_provision"));
        let mut command = Command::new("bash");
        command.args(["-c", &line]).current_dir(site.dir.path()).env("PROVISION_CACHE", site.path("c"));
        let out = command.env("TEST_PASSWORD", "x").output().unwrap();
        let said = text(&out);
        assert!(out.status.code() == Some(1) && said.contains("failed to write full.tar"), "{args}: {said}");
        assert_eq!(names(site.dir.path(), "full"), [""; 0], "{args}");
    }
}

#[test]
fn skopeo_reads_tar_and_directory_without_us() {
    let site = built();
    site.ok("c", &["pack", "bundle", "--out", "bundle.tar"]);
    for from in ["oci-archive:bundle.tar:registry.k8s.io/pause:3.10.2", "oci:bundle:registry.k8s.io/pause:3.10.2"] {
        let raw = tool("skopeo", site.dir.path(), &["skopeo", "inspect", "--raw", from]);
        let manifest = std::fs::read_to_string(site.path("bundle/bundle.json")).unwrap();
        assert!(manifest.contains(&Digest::of(raw.as_bytes()).to_string()), "{raw}");
        let shown = tool("skopeo", site.dir.path(), &["skopeo", "inspect", from]);
        assert!(shown.contains("\"Architecture\": \"amd64\""), "{shown}");
        // Copying checks every digest on the way.
        tool("skopeo", site.dir.path(), &["skopeo", "--insecure-policy", "copy", from, "dir:copied"]);
        std::fs::remove_dir_all(site.path("copied")).unwrap();
    }
}

/// A kubelet of 1 GiB is packed, split, verified in place and unpacked with less than 95 MiB.
#[test]
fn memory_does_not_grow_with_the_tar() {
    let site = Site::new();
    let big = vec![3_u8; 1 << 30];
    site.upstream.put(&format!("{KUBELET}.sha256"), "text/plain", Digest::of(&big).hex());
    site.upstream.put(KUBELET, "application/octet-stream", big);
    site.ok("cache", &["lock"]);
    let peaks = [
        peak_mib(&site, &["build", "--out", "bundle.tar"]),
        peak_mib(&site, &["verify", "bundle.tar"]),
        peak_mib(&site, &["pack", "bundle.tar", "--out", "set.tar", "--split", "300MB"]),
        peak_mib(&site, &["verify", "set.tar.001"]),
        peak_mib(&site, &["unpack", "set.tar", "--out", "dir"]),
    ];
    println!("peak MiB with 1 GiB: build tar, verify tar, split, verify volumes, unpack: {peaks:?}");
    assert!(peaks.iter().all(|p| *p < 95), "{peaks:?}");
}
