//! `provision bundle` as a user runs it, against an upstream on loopback that misbehaves. The kubeadm of this upstream is
//! a script that lists images; the lab's tests use the real one.

#![expect(clippy::unwrap_used, reason = "a test")]

#[path = "bundle/server.rs"]
mod server;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use provision::bundle::Digest;
use serde_json::json;
use server::{Fault, Server};

const KUBELET: &str = "/k8s/v1.36.2/bin/linux/amd64/kubelet";

struct Site {
    upstream: Server,
    dir: tempfile::TempDir,
}

fn targz(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for (name, body) in members {
        let mut header = tar::Header::new_gnu();
        // Written raw, because the builder refuses what a hostile archive would hold.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(body.len() as u64);
        header.set_mode(0o755);
        header.set_cksum();
        tar.append(&header, *body).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

impl Site {
    fn new() -> Self {
        let upstream = Server::start();
        let this = Self { upstream, dir: tempfile::tempdir().unwrap() };
        let images = [
            "kube-apiserver:v1.36.2",
            "kube-controller-manager:v1.36.2",
            "kube-scheduler:v1.36.2",
            "kube-proxy:v1.36.2",
            "coredns/coredns:v1.14.2",
            "pause:3.10.2",
            "etcd:3.6.8-0",
        ];
        let list: String = images.iter().map(|i| format!("echo registry.k8s.io/{i}\n")).collect();
        let big: Vec<u8> = (0..2_000_000_u32).flat_map(u32::to_le_bytes).collect();
        for (name, body) in
            [("kubeadm", format!("#!/bin/sh\n{list}").into_bytes()), ("kubelet", big), ("kubectl", b"kubectl".to_vec())]
        {
            let path = format!("/k8s/v1.36.2/bin/linux/amd64/{name}");
            this.upstream.put(&format!("{path}.sha256"), "text/plain", Digest::of(&body).hex());
            this.upstream.put(&path, "application/octet-stream", body);
        }
        let runc = b"runc".to_vec();
        let sums = format!("{}  runc.arm64\n{}  runc.amd64\n", "0".repeat(64), Digest::of(&runc).hex());
        this.upstream.put("/runc/v1.0.0/runc.sha256sum", "text/plain", sums);
        this.upstream.put("/runc/v1.0.0/runc.amd64", "application/octet-stream", runc);
        this.archive(
            "/containerd/v2.0.0/containerd-2.0.0-linux-amd64.tar.gz",
            ".sha256sum",
            &[("bin/containerd", b"c")],
        );
        this.archive(
            "/cni/v1.0.0/cni-plugins-linux-amd64-v1.0.0.tgz",
            ".sha256",
            &[("./bridge", b"b"), ("./LICENSE", b"l")],
        );
        this.archive("/etcd/v3.0.0/etcd-v3.0.0-linux-amd64.tar.gz", "", &[("etcd-v3-linux-amd64/etcdctl", b"e")]);
        for image in images.iter().chain(&["library/busybox:1.36", "library/haproxy:3.2"]) {
            this.image(image);
        }
        let base = &this.upstream.base;
        let inventory = format!(
            "[cluster]\nname = \"t\"\nversion = \"1.36.2\"\n[endpoint]\nmode = \"haproxy\"\n[etcd]\nversion = \"3.0.0\"\n\
             [runtime]\ncontainerd_version = \"2.0.0\"\nrunc_version = \"1.0.0\"\ncni_plugins_version = \"1.0.0\"\ncrictl_version = \"\"\n\
             [sources]\nkubernetes = \"{base}/k8s\"\ncontainerd = \"{base}/containerd\"\nrunc = \"{base}/runc\"\n\
             cni_plugins = \"{base}/cni\"\netcd = \"{base}/etcd\"\n\
             [sources.registries]\n\"registry.k8s.io\" = \"{base}\"\n\"docker.io\" = \"{base}\"\n\
             [sources.auth.\"registry.k8s.io\"]\nuser = \"me\"\npassword_env = \"TEST_PASSWORD\"\n\
             [sources.auth.\"docker.io\"]\nuser = \"me\"\npassword_env = \"TEST_PASSWORD\"\n\
             [[hosts]]\nname = \"a\"\naddress = \"10.0.0.1\"\nrole = \"both\"\n"
        );
        std::fs::write(this.path("inventory.toml"), inventory).unwrap();
        this
    }

    fn archive(&self, path: &str, sum: &str, members: &[(&str, &[u8])]) {
        let body = targz(members);
        let name = path.rsplit('/').next().unwrap();
        let sums = format!("{}  {name}\n", Digest::of(&body).hex());
        let at = if sum.is_empty() {
            path.rsplit_once('/').unwrap().0.to_owned() + "/SHA256SUMS"
        } else {
            format!("{path}{sum}")
        };
        self.upstream.put(&at, "text/plain", sums);
        self.upstream.put(path, "application/gzip", body);
    }

    fn image(&self, name: &str) {
        let (repository, tag) = name.split_once(':').unwrap();
        let blob = |body: Vec<u8>| {
            let (digest, size) = (Digest::of(&body), body.len());
            self.upstream.put(&format!("/v2/{repository}/blobs/{digest}"), "application/octet-stream", body);
            (digest.to_string(), size)
        };
        let (config, config_size) =
            blob(format!("{{\"architecture\":\"amd64\",\"os\":\"linux\",\"x\":\"{name}\"}}").into_bytes());
        let (layer, layer_size) = blob(targz(&[("file", name.as_bytes())]));
        let manifest_type = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({
            "schemaVersion": 2, "mediaType": manifest_type,
            "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": config_size },
            "layers": [{ "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": layer, "size": layer_size }],
        })
        .to_string();
        let digest = Digest::of(manifest.as_bytes());
        let index_type = "application/vnd.oci.image.index.v1+json";
        let index = json!({ "schemaVersion": 2, "mediaType": index_type, "manifests": [
            { "mediaType": manifest_type, "digest": format!("sha256:{}", "1".repeat(64)), "size": 1, "platform": { "architecture": "arm64", "os": "linux" } },
            { "mediaType": manifest_type, "digest": digest.to_string(), "size": manifest.len(), "platform": { "architecture": "amd64", "os": "linux" } },
        ] });
        self.upstream.put(&format!("/v2/{repository}/manifests/{digest}"), manifest_type, manifest);
        self.upstream.put(&format!("/v2/{repository}/manifests/{tag}"), index_type, index.to_string());
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `provision bundle ...` in the site's directory with a cache of its own.
    fn command(&self, cache: &str, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_provision"));
        command
            .arg("bundle")
            .args(args)
            .current_dir(self.dir.path())
            .env("PROVISION_CACHE", self.path(cache))
            .env("TEST_PASSWORD", "s3cret words")
            .env_remove("PROVISION_INVENTORY");
        command
    }

    fn bundle(&self, cache: &str, args: &[&str]) -> Output {
        self.command(cache, args).output().unwrap()
    }

    fn ok(&self, cache: &str, args: &[&str]) {
        let out = self.bundle(cache, args);
        assert!(out.status.success(), "{args:?}: {}", text(&out));
    }

    /// What it printed when it failed with this exit code.
    fn fails(&self, code: i32, cache: &str, args: &[&str]) -> String {
        let out = self.bundle(cache, args);
        assert_eq!(out.status.code(), Some(code), "{args:?}: {}", text(&out));
        text(&out)
    }
}

/// Runs `provision bundle ARGS` and watches its memory: the peak in MiB.
fn peak_mib(site: &Site, args: &[&str]) -> u64 {
    let mut child = site.command("cache", args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    let ended = loop {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or_default();
        peak = line.trim().trim_end_matches(" kB").parse().unwrap_or(peak);
        if let Some(ended) = child.try_wait().unwrap() {
            break ended;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    };
    assert!(ended.success(), "{args:?}");
    assert!(peak > 0, "never seen running");
    peak / 1024
}

fn text(out: &Output) -> String {
    String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr)
}

fn tree(dir: &Path) -> Vec<(String, Digest)> {
    let mut all = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(at) = open.pop() {
        for entry in std::fs::read_dir(at).unwrap().map(Result::unwrap) {
            if entry.path().is_dir() {
                open.push(entry.path());
            } else {
                let name = entry.path().strip_prefix(dir).unwrap().to_string_lossy().into_owned();
                all.push((name, Digest::of(&std::fs::read(entry.path()).unwrap())));
            }
        }
    }
    all.sort();
    all
}

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
