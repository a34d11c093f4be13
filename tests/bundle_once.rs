//! How often a build reads and writes the bytes of a bundle, as the kernel counts it.

#![expect(clippy::unwrap_used, reason = "a test")]

#[path = "bundle/site.rs"]
mod site;

use std::process::Stdio;

use provision::bundle::Digest;
use site::{Site, text, tree};

const KUBELET: &str = "/k8s/v1.36.2/bin/linux/amd64/kubelet";
/// So large that all else does not count.
const SIZE: usize = 32 << 20;

/// Runs `provision bundle ARGS`: the bytes it read from files and wrote to them, as parts of [`SIZE`]. What comes from a
/// socket is not among them.
fn counted(site: &Site, cache: &str, args: &[&str]) -> (f64, f64) {
    let mut child = site.command(cache, args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let of = |name: &str| std::fs::read_to_string(format!("/proc/{}/{name}", child.id())).unwrap();
    // A zombie has ended, and has its numbers still.
    while !of("stat").rsplit(") ").next().unwrap().starts_with('Z') {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let io = of("io");
    let part = |name: &str| {
        let line = io.lines().find_map(|l| l.strip_prefix(name)).unwrap();
        line.trim().parse::<f64>().unwrap() / SIZE as f64
    };
    let parts = (part("rchar:"), part("wchar:"));
    assert!(child.wait().unwrap().success(), "{args:?}");
    println!("{args:?} with cache {cache}: read {:.2}, written {:.2} times the bundle", parts.0, parts.1);
    parts
}

fn near(found: (f64, f64), read: f64, written: f64, what: &str) {
    let within = |found: f64, wanted: f64| found > wanted - 0.01 && found < wanted + 0.05;
    assert!(within(found.0, read) && within(found.1, written), "{what}: {found:?} and not {:?}", (read, written));
}

fn big() -> Site {
    let site = Site::new();
    let body = vec![5_u8; SIZE];
    site.upstream.put(&format!("{KUBELET}.sha256"), "text/plain", Digest::of(&body).hex());
    site.upstream.put(KUBELET, "application/octet-stream", body);
    site.ok("lock", &["lock"]);
    site
}

/// What comes from upstream is hashed as it comes, written, and not read again; what an earlier run left in the cache is
/// read once, to hash it. A tar is one more reading and one more writing, and no form is more than that.
#[test]
fn each_byte_is_read_and_written_once() {
    let site = big();
    near(counted(&site, "a", &["build", "--out", "dir"]), 0.0, 1.0, "a directory from upstream");
    near(counted(&site, "a", &["build", "--out", "again"]), 1.0, 0.0, "a directory from the cache");
    near(counted(&site, "b", &["build", "--out", "b.tar"]), 1.0, 2.0, "a tar from upstream");
    near(counted(&site, "a", &["build", "--out", "a.tar"]), 2.0, 1.0, "a tar from the cache");
    near(counted(&site, "c", &["build", "--out", "c.tar", "--split", "9MB"]), 1.0, 2.0, "volumes from upstream");
    assert_eq!(tree(&site.path("dir")), tree(&site.path("again")));
    assert!(std::fs::read(site.path("a.tar")).unwrap() == std::fs::read(site.path("b.tar")).unwrap());
    site.ok("a", &["verify", "dir"]);
    site.ok("a", &["verify", "c.tar"]);
}

/// Where no link can be made, because the cache is on another file system, the copying is the one reading.
#[test]
fn a_cache_elsewhere_is_read_once() {
    use std::os::unix::fs::MetadataExt as _;
    let site = big();
    let elsewhere = tempfile::tempdir_in("/dev/shm").unwrap();
    let device = |path: &std::path::Path| std::fs::metadata(path).unwrap().dev();
    assert_ne!(device(elsewhere.path()), device(site.dir.path()), "/dev/shm is no file system of its own here");
    let cache = elsewhere.path().to_str().unwrap();
    near(counted(&site, cache, &["build", "--out", "fresh"]), 1.0, 2.0, "from upstream");
    near(counted(&site, cache, &["build", "--out", "dir"]), 1.0, 1.0, "from the cache");
    assert_eq!(tree(&site.path("fresh")), tree(&site.path("dir")));
    flipped(&site, cache, &elsewhere.path().join("blobs/sha256"));
}

#[test]
fn a_bit_that_flips_in_the_cache_is_found() {
    let site = Site::new();
    site.ok("lock", &["lock"]);
    site.ok("c", &["build", "--out", "dir"]);
    flipped(&site, "c", &site.path("c/blobs/sha256"));
}

/// One bit of the kubelet in the cache at `blobs` flips: no form of a bundle is made of it, and the run after that is
/// right again.
fn flipped(site: &Site, cache: &str, blobs: &std::path::Path) {
    let largest = || {
        let all = std::fs::read_dir(blobs).unwrap().map(|e| e.unwrap());
        all.max_by_key(|e| e.metadata().unwrap().len()).unwrap().path()
    };
    for (number, form) in ["--form=dir", "--form=tar", "--split=9MB"].iter().enumerate() {
        let blob = largest();
        let mut bytes = std::fs::read(&blob).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        // A file of its own: bundles made before are links to the one that was there.
        std::fs::remove_file(&blob).unwrap();
        std::fs::write(&blob, bytes).unwrap();
        let out = format!("flipped{number}");
        let said = site.fails(3, cache, &["build", form, "--out", &out]);
        assert!(said.contains("the cached blob sha256:") && said.contains("it was removed"), "{said}");
        let left = std::fs::read_dir(site.dir.path()).unwrap().map(|e| e.unwrap().file_name());
        assert!(!left.into_iter().any(|n| n.to_string_lossy().starts_with(&out)), "something stays");
        site.ok(cache, &["build", form, "--out", &out]);
        site.ok(cache, &["verify", &out]);
    }
    let shown = text(&site.bundle(cache, &["diff", "dir", "flipped1"]));
    assert!(shown.starts_with("no difference"), "{shown}");
}
