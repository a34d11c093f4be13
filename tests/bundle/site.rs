//! A small cluster's upstream on loopback, and `provision bundle` run in a directory of its own. The kubeadm of this
//! upstream is a script that lists images; the lab's tests use the real one.

#![allow(dead_code, reason = "shared by several test files, none of which uses all of it")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use provision::bundle::Digest;
use serde_json::json;

use server::Server;

#[path = "server.rs"]
pub mod server;

/// An upstream, and a directory with an inventory that fetches from it.
pub struct Site {
    pub upstream: Server,
    pub dir: tempfile::TempDir,
}

pub fn targz(members: &[(&str, &[u8])]) -> Vec<u8> {
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
    pub fn new() -> Self {
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
        this.archive(
            "/etcd/v3.6.8/etcd-v3.6.8-linux-amd64.tar.gz",
            "",
            &[("etcd-v3-linux-amd64/etcdctl", b"e"), ("etcd-v3-linux-amd64/etcdutl", b"u")],
        );
        for image in images.iter().chain(&["library/busybox:1.36", "library/haproxy:3.2"]) {
            this.image(image);
        }
        let base = &this.upstream.base;
        let inventory = format!(
            "[cluster]\nname = \"t\"\nversion = \"1.36.2\"\n[endpoint]\nmode = \"haproxy\"\n[etcd]\nversion = \"3.6.8\"\n\
             [runtime]\ncontainerd_version = \"2.0.0\"\nrunc_version = \"1.0.0\"\ncni_plugins_version = \"1.0.0\"\ncrictl_version = \"\"\n\
             [sources]\nkubernetes = \"{base}/k8s\"\ncontainerd = \"{base}/containerd\"\nrunc = \"{base}/runc\"\n\
             cni_plugins = \"{base}/cni\"\netcd = \"{base}/etcd\"\n\
             [sources.registries]\n\"registry.k8s.io\" = \"{base}\"\n\"docker.io\" = \"{base}\"\n\
             [sources.auth.\"registry.k8s.io\"]\nuser = \"me\"\npassword_env = \"TEST_PASSWORD\"\n\
             [sources.auth.\"docker.io\"]\nuser = \"me\"\npassword_env = \"TEST_PASSWORD\"\n\
             [trust]\nallow_unsigned_bundle = \"I accept unsigned bundles\"\n\
             [[hosts]]\nname = \"a\"\naddress = \"10.0.0.1\"\nrole = \"both\"\n"
        );
        std::fs::write(this.path("inventory.toml"), inventory).unwrap();
        this
    }

    pub fn archive(&self, path: &str, sum: &str, members: &[(&str, &[u8])]) {
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

    pub fn image(&self, name: &str) {
        self.image_with(name, name.as_bytes());
    }

    /// An image whose one layer holds a file with this body.
    pub fn image_with(&self, name: &str, body: &[u8]) {
        let (repository, tag) = name.split_once(':').unwrap();
        let blob = |body: Vec<u8>| {
            let (digest, size) = (Digest::of(&body), body.len());
            self.upstream.put(&format!("/v2/{repository}/blobs/{digest}"), "application/octet-stream", body);
            (digest.to_string(), size)
        };
        let (config, config_size) =
            blob(format!("{{\"architecture\":\"amd64\",\"os\":\"linux\",\"x\":\"{name}\"}}").into_bytes());
        let (layer, layer_size) = blob(targz(&[("file", body)]));
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
        let index = index.to_string();
        self.upstream.put(
            &format!("/v2/{repository}/manifests/{}", Digest::of(index.as_bytes())),
            index_type,
            index.clone(),
        );
        self.upstream.put(&format!("/v2/{repository}/manifests/{tag}"), index_type, index);
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `provision bundle ...` in the site's directory with a cache of its own.
    pub fn command(&self, cache: &str, args: &[&str]) -> Command {
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

    pub fn bundle(&self, cache: &str, args: &[&str]) -> Output {
        self.command(cache, args).output().unwrap()
    }

    pub fn ok(&self, cache: &str, args: &[&str]) {
        let out = self.bundle(cache, args);
        assert!(out.status.success(), "{args:?}: {}", text(&out));
    }

    /// What it printed when it failed with this exit code.
    pub fn fails(&self, code: i32, cache: &str, args: &[&str]) -> String {
        let out = self.bundle(cache, args);
        assert_eq!(out.status.code(), Some(code), "{args:?}: {}", text(&out));
        text(&out)
    }
}

pub fn text(out: &Output) -> String {
    String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr)
}

pub fn tree(dir: &Path) -> Vec<(String, Digest)> {
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
