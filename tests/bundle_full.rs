//! Disks that are full: a small tmpfs of its own for each case. Needs root, as CI has it.

#![expect(clippy::unwrap_used, reason = "a test")]

#[path = "bundle/site.rs"]
mod site;

use std::path::PathBuf;
use std::process::Command;

use provision::bundle::Digest;
use site::{Site, text, tree};

const KUBELET: &str = "/k8s/v1.36.2/bin/linux/amd64/kubelet";

/// A tmpfs of so much room, gone when dropped.
struct Small(PathBuf);

impl Small {
    fn new(at: PathBuf, options: &str) -> Self {
        std::fs::create_dir_all(&at).unwrap();
        let this = Self(at);
        this.mount(options);
        this
    }

    fn mount(&self, options: &str) {
        let out = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&self.0).output().unwrap();
        assert!(out.status.success(), "this test needs root, to mount a tmpfs: {}", text(&out));
    }

    fn names(&self) -> Vec<String> {
        let all = std::fs::read_dir(&self.0).unwrap();
        let mut all: Vec<String> = all.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        all.sort();
        all
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn publish(site: &Site, body: &[u8]) {
    site.upstream.put(&format!("{KUBELET}.sha256"), "text/plain", Digest::of(body).hex());
    site.upstream.put(KUBELET, "application/octet-stream", body);
}

/// A site with the bundles `v1` and `v2`, which differ in the kubelet of so many bytes, and `d.tar`, their delta.
fn two(kubelet: usize) -> Site {
    let site = Site::new();
    for (byte, name) in [(1, "v1"), (2, "v2")] {
        publish(&site, &vec![byte; kubelet]);
        site.ok("c", &["lock", "--lock", &format!("{name}.toml")]);
        site.ok("c", &["build", "--lock", &format!("{name}.toml"), "--out", name]);
    }
    site.ok("c", &["delta", "--have", "v1", "v2", "--out", "d.tar"]);
    site
}

/// Everything that writes a bundle, but for the place.
const WRITERS: [&[&str]; 10] = [
    &["build", "--lock", "v2.toml", "--form=dir", "--out"],
    &["build", "--lock", "v2.toml", "--form=tar", "--out"],
    &["build", "--lock", "v2.toml", "--split=20K", "--out"],
    &["pack", "v2", "--out"],
    &["pack", "v2", "--split=20K", "--out"],
    &["unpack", "v2", "--out"],
    &["delta", "--have", "v1.toml", "v2", "--form=dir", "--out"],
    &["delta", "--have", "v1.toml", "v2", "--split=20K", "--out"],
    &["merge", "v1", "d.tar", "--form=dir", "--out"],
    &["merge", "v1", "d.tar", "--split=20K", "--out"],
];

fn said_full(site: &Site, args: &[&str]) -> String {
    let said = site.fails(3, "c", args);
    assert!(said.contains("failed to write full") && said.contains("no space is left on its file system"), "{said}");
    assert!(said.contains("Hint: free some space"), "{said}");
    said
}

/// With half the room that is needed: a named error, exit code 3, and nothing of it stays. What stood there before stands
/// there still.
#[test]
fn a_full_disk_is_named_and_nothing_half_written_stays() {
    let site = two(1 << 20);
    for args in WRITERS {
        let small = Small::new(site.path("full"), "size=600k");
        let said = said_full(&site, &[args, &["full/b"]].concat());
        assert!(said.contains(" bytes wanted)"), "{said}");
        assert_eq!(small.names(), [""; 0], "{args:?}");
    }
    // A whole bundle and no room for a second beside it.
    for args in WRITERS {
        let small = Small::new(site.path("full"), "size=2m");
        site.ok("c", &[args, &["full/b"]].concat());
        let before = tree(&small.0);
        said_full(&site, &[args, &["full/b"]].concat());
        assert_eq!(tree(&small.0), before, "{args:?}");
    }
    let staging = |e: std::fs::DirEntry| e.file_name().to_string_lossy().starts_with("staging-");
    assert!(!std::fs::read_dir(site.path("c")).unwrap().map(Result::unwrap).any(staging));
}

/// Page by page, and file by file, up to where there is room: whatever the write that fails, what it leaves behind is
/// never taken for a bundle.
#[test]
fn wherever_the_room_ends_no_half_bundle_is_taken_for_whole() {
    let site = two(1000);
    for args in [WRITERS[0], WRITERS[2], WRITERS[6], WRITERS[9]] {
        for (option, most, step) in [("size=1g,nr_inodes=", 400, 1), ("nr_inodes=9999,size=", 1 << 30, 4096 * 9)] {
            let (mut room, mut failed) = (2 * step, 0);
            loop {
                let small = Small::new(site.path("full"), &format!("{option}{room}"));
                let out = site.bundle("c", &[args, &["full/b"]].concat());
                if out.status.success() {
                    break;
                }
                assert!(text(&out).contains("no space is left"), "{args:?} {option}{room}: {}", text(&out));
                assert_eq!(out.status.code(), Some(3), "{}", text(&out));
                for name in small.names() {
                    site.fails(3, "c", &["verify", &format!("full/{name}")]);
                }
                assert_eq!(small.names(), [""; 0], "{args:?} {option}{room}");
                (room, failed) = (room + step * (1 + failed / 8), failed + 1);
                assert!(room < most, "{args:?} never has enough");
            }
            assert!(failed > 1, "{args:?} {option}: {failed}");
        }
    }
}

/// The cache: what came stays for the next run, and with more room that goes on from there.
#[test]
fn a_full_cache_is_named_and_goes_on_with_more_room() {
    let site = two(3 << 20);
    let small = Small::new(site.path("full"), "size=2m");
    let args = ["build", "--lock", "v2.toml", "--out", "b"];
    // One file at a time: what else was on its way just then would lie there too.
    let said = site.fails(3, "full", &[&args[..], &["--concurrency", "1"]].concat());
    assert!(
        said.contains("/full/partial/") && said.contains("no space is left on its file system (3145728 "),
        "{said}"
    );
    assert!(said.contains("PROVISION_CACHE moves it") && !site.path("b").exists(), "{said}");
    assert_eq!(std::fs::read_dir(site.path("full/partial")).unwrap().count(), 1);
    small.mount("remount,size=9m");
    let before = site.upstream.log().len();
    site.ok("full", &args);
    site.ok("c", &["verify", "b"]);
    assert_eq!(tree(&site.path("b")), tree(&site.path("v2")));
    let log = site.upstream.log().split_off(before);
    let kubelet: Vec<&String> = log.iter().filter(|l| l.starts_with(&format!("GET {KUBELET} "))).collect();
    assert!(kubelet.len() == 1 && kubelet[0].contains("bytes="), "{kubelet:?}");
}

/// A lock is whole or is what it was.
#[test]
fn a_full_disk_leaves_the_old_lock() {
    let site = Site::new();
    site.ok("c", &["lock", "--lock", "x.toml"]);
    let small = Small::new(site.path("full"), "size=12k");
    let old = std::fs::read(site.path("x.toml")).unwrap();
    std::fs::write(site.path("full/x.toml"), &old).unwrap();
    std::fs::write(site.path("full/rest"), vec![0; 8192 - old.len() % 4096]).unwrap_err();
    site.image_with("pause:3.10.2", b"another");
    let said = said_full(&site, &["lock", "--lock", "full/x.toml"]);
    assert!(said.contains("failed to write full/x.toml"), "{said}");
    assert_eq!(std::fs::read(site.path("full/x.toml")).unwrap(), old);
    assert_eq!(small.names(), ["rest", "x.toml"]);
}
