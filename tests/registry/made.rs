//! A small bundle, made by hand: two architectures, two registries with a repository of the same name, layers that
//! containerd can unpack.

use std::path::{Path, PathBuf};

use provision::bundle::{BundleManifest, Digest};
use serde_json::{Value, json};

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

pub struct Made {
    pub dir: tempfile::TempDir,
    artifacts: Vec<Value>,
}

/// Bytes that do not compress and are the same every time.
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..len.div_ceil(8)).flat_map(|_| next().to_le_bytes()).take(len).collect()
}

fn tar(name: &str, body: &[u8]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(body.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    tar.append_data(&mut header, name, body).unwrap();
    tar.into_inner().unwrap()
}

impl Made {
    fn empty() -> Self {
        let this = Self { dir: tempfile::tempdir().unwrap(), artifacts: Vec::new() };
        std::fs::create_dir_all(this.path().join("blobs/sha256")).unwrap();
        this
    }

    /// A bundle of one binary and upstream's signature of it; the digests of their manifests.
    pub fn signed() -> (Self, String, String) {
        let mut this = Self::empty();
        this.file("binary", "kubeadm", "1.36.2", b"kubeadm");
        let subject = this.manifest("kubeadm", "amd64");
        let (blob, size) = this.put(b"signature");
        let (empty, _) = this.put(b"{}");
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/vnd.provision.signature.v1",
            "config": { "mediaType": "application/vnd.oci.empty.v1+json", "digest": empty, "size": 2 },
            "layers": [{ "mediaType": "text/plain", "digest": blob, "size": size }],
            "subject": { "mediaType": MANIFEST, "digest": subject, "size": 1 }, "annotations": { "a": "b" },
        });
        let (manifest, _) = this.put(manifest.to_string().as_bytes());
        this.artifacts.push(json!({
            "kind": "signature", "name": "kubeadm", "version": "1.36.2", "arch": "amd64", "digest": blob, "size": size,
            "source": "https://test", "manifest": manifest,
            "verified": { "by": "upstream-signature", "scheme": "minisign", "key": "0", "signed": blob, "signature": blob },
            "blobs": [{ "digest": blob, "size": size, "media_type": "text/plain" }],
        }));
        this.finish();
        (this, subject, manifest)
    }

    /// A bundle of one file of 512 MiB, all zeros.
    pub fn huge() -> Self {
        const SIZE: u64 = 512 << 20;
        // `head -c 512M /dev/zero | sha256sum`
        const DIGEST: &str = "9acca8e8c22201155389f65abbf6bc9723edc7384ead80503839f49dcc56d767";
        let mut this = Self::empty();
        std::fs::File::create(this.blob(DIGEST)).unwrap().set_len(SIZE).unwrap();
        this.blob_file("binary", "kubelet", "1.36.2", &format!("sha256:{DIGEST}"), SIZE);
        this.finish();
        this
    }

    /// The bundle of most tests.
    pub fn new() -> Self {
        let mut this = Self::empty();
        let shared = tar("shared", &noise(3_000_000, 7));
        for arch in ["amd64", "arm64"] {
            this.image("registry.k8s.io/pause:3.10", arch, &[&shared, &tar("pause", arch.as_bytes())]);
        }
        this.image("docker.io/library/busybox:1.36", "amd64", &[&shared, &tar("busybox", b"docker.io")]);
        this.image("quay.io/library/busybox:1.36", "amd64", &[&shared, &tar("busybox", b"quay.io")]);
        for tag in ["v1", "v2", "V3", "a", "B"] {
            this.image(&format!("registry.k8s.io/sig/tags:{tag}"), "amd64", &[&tar("tag", tag.as_bytes())]);
        }
        this.file("binary", "kubeadm", "1.36.2", b"kubeadm");
        // More than a push puts into one request.
        this.file("binary", "kubelet", "1.36.2", &noise(40 << 20, 11));
        this.finish();
        this
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("bundle")
    }

    pub fn blob(&self, digest: &str) -> PathBuf {
        self.path().join("blobs/sha256").join(digest.trim_start_matches("sha256:"))
    }

    fn put(&self, bytes: &[u8]) -> (String, usize) {
        let digest = Digest::of(bytes).to_string();
        std::fs::write(self.blob(&digest), bytes).unwrap();
        (digest, bytes.len())
    }

    fn image(&mut self, name: &str, arch: &str, layers: &[&[u8]]) {
        let diffs: Vec<String> = layers.iter().map(|l| Digest::of(l).to_string()).collect();
        let config = json!({
            "architecture": arch, "os": "linux", "config": { "Cmd": ["/pause"] },
            "rootfs": { "type": "layers", "diff_ids": diffs }, "x": name,
        });
        let (config, size) = self.put(config.to_string().as_bytes());
        let config = json!({ "mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": size });
        let layers: Vec<Value> = layers
            .iter()
            .map(|l| {
                let (digest, size) = self.put(l);
                json!({ "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest, "size": size })
            })
            .collect();
        let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers });
        let (digest, size) = self.put(manifest.to_string().as_bytes());
        let refs: Vec<Value> = std::iter::once(json!({ "mediaType": MANIFEST, "digest": digest, "size": size }))
            .chain(std::iter::once(config))
            .chain(layers)
            .map(|d| json!({ "digest": d["digest"], "size": d["size"], "media_type": d["mediaType"] }))
            .collect();
        let total: u64 = refs.iter().map(|r| r["size"].as_u64().unwrap()).sum();
        self.artifacts.push(json!({
            "kind": "image", "name": name, "version": name.rsplit(':').next(), "arch": arch, "digest": digest,
            "size": total, "source": "https://test", "verified": { "by": "registry-digest" }, "manifest": digest,
            "blobs": refs,
        }));
    }

    fn file(&mut self, kind: &str, name: &str, version: &str, body: &[u8]) {
        let (blob, size) = self.put(body);
        self.blob_file(kind, name, version, &blob, size as u64);
    }

    fn blob_file(&mut self, kind: &str, name: &str, version: &str, blob: &str, size: u64) {
        let (empty, _) = self.put(b"{}");
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/vnd.provision.artifact.v1",
            "config": { "mediaType": "application/vnd.oci.empty.v1+json", "digest": empty, "size": 2 },
            "layers": [{
                "mediaType": "application/octet-stream", "digest": blob, "size": size,
                "annotations": { "org.opencontainers.image.title": name },
            }],
        });
        let (manifest, _) = self.put(manifest.to_string().as_bytes());
        self.artifacts.push(json!({
            "kind": kind, "name": name, "version": version, "arch": "amd64", "digest": blob, "size": size,
            "source": "https://test", "verified": { "by": "lock-only" }, "manifest": manifest,
            "blobs": [{ "digest": blob, "size": size, "media_type": "application/octet-stream" }],
        }));
    }

    fn finish(&self) {
        let manifest = json!({
            "format_version": 1, "kubernetes": "1.36.2", "lock": Digest::of(b"").to_string(), "artifacts": self.artifacts,
        });
        let manifest: BundleManifest = serde_json::from_value(manifest).unwrap();
        std::fs::write(self.path().join("bundle.json"), manifest.to_canonical_json()).unwrap();
        std::fs::write(self.path().join("oci-layout"), "{\"imageLayoutVersion\":\"1.0.0\"}\n").unwrap();
        let entries: Vec<Value> = self
            .artifacts
            .iter()
            .map(|a| {
                let size = std::fs::metadata(self.blob(a["manifest"].as_str().unwrap())).unwrap().len();
                json!({ "mediaType": MANIFEST, "digest": a["manifest"], "size": size })
            })
            .collect();
        let index = json!({ "schemaVersion": 2, "manifests": entries });
        std::fs::write(self.path().join("index.json"), index.to_string()).unwrap();
    }

    /// The digest of the manifest of this image or file.
    pub fn manifest(&self, name: &str, arch: &str) -> String {
        self.artifact(name, arch)["manifest"].as_str().unwrap().to_owned()
    }

    /// The digest and the size of its largest blob.
    pub fn largest(&self, name: &str, arch: &str) -> (String, u64) {
        let blobs = self.artifact(name, arch)["blobs"].as_array().unwrap().clone();
        let blob = blobs.iter().max_by_key(|b| b["size"].as_u64()).unwrap().clone();
        (blob["digest"].as_str().unwrap().to_owned(), blob["size"].as_u64().unwrap())
    }

    fn artifact(&self, name: &str, arch: &str) -> &Value {
        self.artifacts.iter().find(|a| a["name"] == name && a["arch"] == arch).unwrap()
    }
}

/// Changes one bit in the middle of a file.
pub fn flip(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}
