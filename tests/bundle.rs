//! `provision bundle` as a user runs it, against an upstream on loopback that misbehaves.

#![expect(clippy::unwrap_used, reason = "a test")]

#[path = "bundle/memory.rs"]
mod memory;
#[path = "bundle/site.rs"]
mod site;

use memory::peak_mib;
use provision::bundle::Digest;
use site::server::Fault;
use site::{Site, text, tree};

const KUBELET: &str = "/k8s/v1.36.2/bin/linux/amd64/kubelet";

#[test]
fn locked_built_and_verified_the_same_every_time() {
    let site = Site::new();
    site.ok("c1", &["lock"]);
    site.ok("c1", &["build"]);
    site.ok("c1", &["verify", "bundle", "-i", "inventory.toml"]);
    let first = std::fs::read(site.path("bundle.lock.toml")).unwrap();
    // Another cache, another place, another time.
    site.ok("c2", &["lock"]);
    assert_eq!(std::fs::read(site.path("bundle.lock.toml")).unwrap(), first);
    site.ok("c2", &["build", "--out", "deep/other"]);
    assert_eq!(tree(&site.path("bundle")), tree(&site.path("deep/other")));
    assert!(!site.path("bundle.partial").exists());
    // Nothing is fetched twice.
    let before = site.upstream.log().len();
    site.ok("c2", &["build"]);
    let again: Vec<String> =
        site.upstream.log().split_off(before).into_iter().filter(|l| !l.contains("/manifests/")).collect();
    assert_eq!(again, Vec::<String>::new());
}

/// The blocks of a lock, by what stands in them.
fn pins(lock: &str) -> Vec<&str> {
    lock.split("\n\n[[").collect()
}

/// The one block that is not in both.
fn changed<'a>(old: &'a str, new: &'a str) -> Vec<(&'a str, &'a str)> {
    let (old, new) = (pins(old), pins(new));
    assert_eq!(old.len(), new.len());
    old.into_iter().zip(new).filter(|(o, n)| o != n).collect()
}

#[test]
fn only_what_is_named_is_locked_anew() {
    let site = Site::new();
    let base = &site.upstream.base;
    let remote = format!("\n[[manifests]]\nname = \"remote\"\nurl = \"{base}/remote.yaml\"\n");
    let inventory = std::fs::read_to_string(site.path("inventory.toml")).unwrap() + &remote;
    std::fs::write(site.path("inventory.toml"), &inventory).unwrap();
    site.upstream.put("/remote.yaml", "text/yaml", "kind: ConfigMap\n");
    site.ok("c", &["lock"]);
    let read = || std::fs::read_to_string(site.path("bundle.lock.toml")).unwrap();
    let before = read();
    // Upstream publishes four of them again under the same names.
    site.archive("/containerd/v2.0.0/containerd-2.0.0-linux-amd64.tar.gz", ".sha256sum", &[("bin/containerd", b"new")]);
    site.archive("/cni/v1.0.0/cni-plugins-linux-amd64-v1.0.0.tgz", ".sha256", &[("./bridge", b"new")]);
    site.upstream.put("/remote.yaml", "text/yaml", "kind: Secret\n");
    let pause = |lock: &str| pins(lock).into_iter().find(|b| b.contains("/pause:3.10.2")).unwrap().to_owned();
    site.image_with("pause:3.10.2", b"published again");

    let asked = site.upstream.log().len();
    let said = text(&site.bundle("c", &["lock", "--update", "containerd"]));
    let (first, after) = (changed(&before, &read()).len(), read());
    let [(old, new)] = changed(&before, &after)[..] else { panic!("{first} pins changed: {said}") };
    assert!(old.contains("containerd-2.0.0-linux-amd64") && new.contains("containerd-2.0.0-linux-amd64"), "{new}");
    let digest = |block: &str| block.split("sha256:").nth(1).unwrap()[..12].to_owned();
    let line = format!("~ archive  amd64  containerd 2.0.0  {} -> {}\n", digest(old), digest(new));
    assert!(said.contains(&line) && said.contains("0 added, 0 removed, 1 changed"), "{said}");
    // Nothing else was so much as asked for.
    let log = site.upstream.log().split_off(asked);
    assert!(!log.is_empty() && log.iter().all(|l| l.starts_with("GET /containerd/")), "{log:?}");
    // Once more: there is nothing to do.
    let said = text(&site.bundle("c", &["lock", "--update", "containerd"]));
    assert!(said.contains("bundle.lock.toml: unchanged") && read() == after, "{said}");

    // Several, also an image by its name without the tag; what is not named stays as it was.
    let out =
        site.bundle("c", &["--format", "json", "lock", "--update", "remote", "--update", "registry.k8s.io/pause"]);
    let json: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let names: Vec<&str> = json["changed"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["registry.k8s.io/pause", "remote"], "{json}");
    let both = read();
    assert_eq!(changed(&after, &both).len(), 2);
    assert_ne!(pause(&after), pause(&both));
    // With the last one it is the lock that a whole new one is, and its bundle can be built.
    site.ok("c", &["lock", "--update", "cni-plugins"]);
    let all = read();
    site.ok("c", &["lock"]);
    assert_eq!(read(), all);
    site.ok("c", &["build"]);
    site.ok("c", &["verify", "bundle", "-i", "inventory.toml"]);
    // A version that the inventory pins now.
    site.archive("/containerd/v2.0.1/containerd-2.0.1-linux-amd64.tar.gz", ".sha256sum", &[("bin/containerd", b"n")]);
    let newer = inventory.replace("containerd_version = \"2.0.0\"", "containerd_version = \"2.0.1\"");
    std::fs::write(site.path("inventory.toml"), &newer).unwrap();
    let said = text(&site.bundle("c", &["lock", "--update", "containerd"]));
    assert!(said.contains("~ archive  amd64  containerd 2.0.0 -> 2.0.1  "), "{said}");
    assert_eq!(changed(&all, &read()).len(), 1);
}

#[test]
fn what_cannot_be_updated_leaves_the_lock_as_it_is() {
    let site = Site::new();
    let remote = format!("\n[[manifests]]\nname = \"remote\"\nurl = \"{}/remote.yaml\"\n", site.upstream.base);
    let inventory = std::fs::read_to_string(site.path("inventory.toml")).unwrap() + &remote;
    std::fs::write(site.path("inventory.toml"), &inventory).unwrap();
    site.upstream.put("/remote.yaml", "text/yaml", "kind: ConfigMap\n");
    site.ok("c", &["lock"]);
    let before = std::fs::read(site.path("bundle.lock.toml")).unwrap();
    let same = || assert_eq!(std::fs::read(site.path("bundle.lock.toml")).unwrap(), before);
    site.archive("/cni/v1.0.0/cni-plugins-linux-amd64-v1.0.0.tgz", ".sha256", &[("./bridge", b"new")]);
    let said = site.fails(3, "c", &["lock", "--update", "cni-plugins", "--update", "contanerd"]);
    assert!(
        said.contains("no `contanerd`") && said.contains("\n  cni-plugins\n") && said.contains("/pause:3.10.2"),
        "{said}"
    );
    assert!(said.contains("Hint: did you mean `containerd`?"), "{said}");
    same();
    assert!(site.fails(3, "c", &["lock", "--lock", "none.toml", "--update", "runc"]).contains("Hint:"));
    for (from, to, what) in [
        ("version = \"1.36.2\"", "version = \"1.36.3\"", "the lock is for Kubernetes 1.36.2"),
        (remote.as_str(), "", "remote is in the lock, and the inventory no longer asks for it"),
    ] {
        std::fs::write(site.path("inventory.toml"), inventory.replace(from, to)).unwrap();
        let said = site.fails(3, "c", &["lock", "--update", "remote", "--update", "cni-plugins"]);
        assert!(said.contains(what) && said.contains("Hint:"), "{said}");
        same();
    }
}

/// A kubeadm that lists an image more: the lock gets it too, or no bundle of it would be whole.
#[test]
fn what_a_new_kubeadm_needs_is_locked_with_it() {
    let site = Site::new();
    site.ok("c", &["lock"]);
    let before = std::fs::read_to_string(site.path("bundle.lock.toml")).unwrap();
    let kubeadm = b"#!/bin/sh\necho registry.k8s.io/kube-apiserver:v1.36.2\necho registry.k8s.io/more:v1\n";
    let path = "/k8s/v1.36.2/bin/linux/amd64/kubeadm";
    site.upstream.put(&format!("{path}.sha256"), "text/plain", Digest::of(kubeadm).hex());
    site.upstream.put(path, "application/octet-stream", *kubeadm);
    site.image("more:v1");
    site.image_with("kube-apiserver:v1.36.2", b"published again");
    let said = text(&site.bundle("c", &["lock", "--update", "kubeadm"]));
    assert!(
        said.contains("~ binary   amd64  kubeadm 1.36.2") && said.contains("1 added, 0 removed, 1 changed"),
        "{said}"
    );
    assert!(said.contains("+ image    amd64  registry.k8s.io/more v1"), "{said}");
    let after = std::fs::read_to_string(site.path("bundle.lock.toml")).unwrap();
    let kept = pins(&before).iter().filter(|p| pins(&after).contains(p)).count();
    assert_eq!(kept, pins(&before).len() - 1, "{after}");
}

#[test]
fn a_broken_download_goes_on_where_it_broke() {
    let site = Site::new();
    site.ok("c", &["lock"]);
    site.upstream.fail(KUBELET, &[Fault::Truncate, Fault::Status(500), Fault::Status(429)]);
    site.ok("c", &["build"]);
    site.ok("c", &["verify", "bundle"]);
    let log = site.upstream.log();
    let kubelet: Vec<&String> = log.iter().filter(|l| l.starts_with(&format!("GET {KUBELET} "))).collect();
    assert_eq!(kubelet.len(), 4, "{kubelet:?}");
    let resumed = kubelet[3].rsplit("bytes=").next().unwrap().trim_end_matches('-').parse::<u64>().unwrap();
    assert!((1_000_000..8_000_000).contains(&resumed), "{kubelet:?}");
}

#[test]
fn what_is_not_what_was_locked_is_refused_and_not_kept() {
    let site = Site::new();
    site.ok("c", &["lock"]);
    site.upstream.put(KUBELET, "application/octet-stream", "not the kubelet");
    let said = site.fails(3, "c", &["build"]);
    assert!(said.contains("kubelet hashes to") && said.contains("Hint:"), "{said}");
    assert!(!site.path("bundle").exists(), "a half bundle stands in its place");
    assert_eq!(std::fs::read_dir(site.path("c/partial")).unwrap().count(), 0);
    // A checksum file that names another file.
    site.upstream.put(
        "/cni/v1.0.0/cni-plugins-linux-amd64-v1.0.0.tgz.sha256",
        "text/plain",
        format!("{}  other.tgz\n", "0".repeat(64)),
    );
    let said = site.fails(3, "c", &["lock"]);
    assert!(said.contains("does not name cni-plugins-linux-amd64-v1.0.0.tgz"), "{said}");
}

#[test]
fn an_archive_that_leads_out_is_refused() {
    for name in ["../out", "/etc/out", "a/../../out"] {
        let site = Site::new();
        site.archive("/containerd/v2.0.0/containerd-2.0.0-linux-amd64.tar.gz", ".sha256sum", &[(name, b"x")]);
        site.ok("c", &["lock"]);
        let said = site.fails(3, "c", &["build"]);
        assert!(said.contains("leads out of it"), "{said}");
    }
}

#[test]
fn registries_are_logged_in_to() {
    let basic = "bWU6czNjcmV0IHdvcmRz";
    for bearer in [None, Some("a.token")] {
        let site = Site::new();
        site.upstream.want_login(basic, bearer);
        site.ok("c", &["lock"]);
        site.ok("c", &["build"]);
        let out = site.bundle("c", &["inspect", "bundle"]);
        let all = text(&out) + &std::fs::read_to_string(site.path("bundle.lock.toml")).unwrap();
        assert!(!all.contains("s3cret") && !all.contains(basic), "a secret was written");
        site.upstream.want_login("b3RoZXI6cHc=", bearer);
        let said = site.fails(1, "c", &["lock"]);
        assert!(said.contains("401") && !said.contains("s3cret"), "{said}");
    }
}

/// A kubelet of 1 GiB takes no more memory than one of 8 MB: less than 100 MB, whatever the size.
#[test]
fn memory_does_not_grow_with_the_bundle() {
    let site = Site::new();
    let big = vec![3_u8; 1 << 30];
    site.upstream.put(&format!("{KUBELET}.sha256"), "text/plain", Digest::of(&big).hex());
    site.upstream.put(KUBELET, "application/octet-stream", big);
    site.ok("cache", &["lock", "-i", "inventory.toml"]);
    let build = peak_mib(&site, &["build", "-o", "bundle"]);
    let verify = peak_mib(&site, &["verify", "bundle", "-i", "inventory.toml"]);
    println!("peak memory with a bundle of 1 GiB: build {build} MiB, verify {verify} MiB");
    assert!(build < 95 && verify < 95, "build {build} MiB, verify {verify} MiB");
}

#[test]
fn damage_and_gaps_are_named() {
    let site = Site::new();
    site.ok("c", &["lock"]);
    site.ok("c", &["build"]);
    let manifest = std::fs::read_to_string(site.path("bundle/bundle.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    for artifact in manifest["artifacts"].as_array().unwrap() {
        let digest = artifact["blobs"][0]["digest"].as_str().unwrap();
        let blob = site.path("bundle/blobs/sha256").join(digest.trim_start_matches("sha256:"));
        let good = std::fs::read(&blob).unwrap();
        let mut bad = good.clone();
        let middle = bad.len() / 2;
        bad[middle] ^= 1;
        // The blob is a hard link to the cache's: a new file, or the cache is damaged too.
        std::fs::remove_file(&blob).unwrap();
        std::fs::write(&blob, bad).unwrap();
        assert!(site.fails(3, "c", &["verify", "bundle"]).contains(digest));
        std::fs::remove_file(&blob).unwrap();
        assert!(site.fails(3, "c", &["verify", "bundle"]).contains("is missing"));
        std::fs::write(&blob, good).unwrap();
    }
    site.ok("c", &["verify", "bundle"]);
    // The inventory asks for more than is inside.
    let more = std::fs::read_to_string(site.path("inventory.toml")).unwrap()
        + "\n[verify]\nimage = \"docker.io/library/other:1\"\n";
    std::fs::write(site.path("more.toml"), more).unwrap();
    let said = site.fails(3, "c", &["verify", "bundle", "-i", "more.toml"]);
    assert!(said.contains("image docker.io/library/other:1 for amd64"), "{said}");
    // An edited manifest.
    let path = site.path("bundle/bundle.json");
    let edited = std::fs::read_to_string(&path).unwrap().replace("\"1.36.2\"", "\"1.36.2\" ");
    std::fs::write(&path, edited).unwrap();
    assert!(site.fails(3, "c", &["verify", "bundle"]).contains("canonical"));
    assert!(site.fails(3, "c", &["verify", "nowhere"]).contains("Hint:"));
}
