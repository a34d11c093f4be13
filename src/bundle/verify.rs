//! Opening a bundle, proving it whole, and proving that it holds what an inventory will ask for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use futures::StreamExt as _;

use super::blob::{Blob, Piece};
use super::hash::hash_file;
use super::manifest::{ArtifactKind, BUNDLE_FORMAT, BlobRef, BundleManifest, Digest};
use super::packages::missing_packages;
use super::wanted::wanted;
use crate::error::{Error, Result};
use crate::exec::{Event, Sink};
use crate::inventory::{EtcdMode, Inventory};

/// A bundle on disk.
#[derive(Debug, Clone)]
pub struct Bundle {
    dir: PathBuf,
    manifest: BundleManifest,
}

impl Bundle {
    /// Reads `bundle.json`. Cheap: no blob is looked at.
    pub fn open(dir: &Path) -> Result<Self> {
        let path = dir.join("bundle.json");
        let text = std::fs::read_to_string(&path).map_err(|e| {
            Error::invalid(format!("failed to open the bundle {}", dir.display()))
                .source(e)
                .hint("`provision bundle build` makes one; a half-written one stands beside its place as *.partial")
        })?;
        let manifest: BundleManifest = serde_json::from_str(&text)
            .map_err(|e| Error::invalid(format!("{} is broken", path.display())).source(e))?;
        if manifest.format_version > BUNDLE_FORMAT {
            return Err(Error::invalid(format!("{} has format {}", path.display(), manifest.format_version))
                .hint("it was made by a newer provision: use that one"));
        }
        if manifest.to_canonical_json() != text {
            return Err(Error::invalid(format!("{} is not in its canonical form: it was edited", path.display()))
                .hint("copy the bundle again from its medium"));
        }
        Ok(Self { dir: dir.to_owned(), manifest })
    }

    /// What is inside.
    #[must_use]
    pub fn manifest(&self) -> &BundleManifest {
        &self.manifest
    }

    /// The digest of `bundle.json`.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(self.manifest.to_canonical_json().as_bytes())
    }

    /// Where a blob lies.
    #[must_use]
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.dir.join("blobs/sha256").join(digest.hex())
    }

    /// The bytes of a blob that `bundle.json` names; an error when it does not.
    pub fn blob(&self, digest: &Digest) -> Result<Blob> {
        let named = self.manifest.artifacts.iter().flat_map(|a| &a.blobs).find(|b| b.digest == *digest);
        let size = match named {
            Some(blob) => blob.size,
            // The OCI manifest that carries a file, and that manifest's empty config, are named by no artifact.
            None => std::fs::metadata(self.blob_path(digest))
                .map_err(|e| Error::invalid(format!("the bundle has no blob {digest}")).source(e))?
                .len(),
        };
        Ok(Blob { pieces: vec![Piece { path: self.blob_path(digest), offset: 0, len: size }] })
    }

    /// Hashes every blob again, on all processors, and checks the layout's own index. Names everything that is wrong.
    pub async fn verify(&self, sink: &dyn Sink) -> Result<()> {
        let mut blobs: BTreeMap<&Digest, &BlobRef> = BTreeMap::new();
        for blob in self.manifest.artifacts.iter().flat_map(|a| &a.blobs) {
            blobs.insert(&blob.digest, blob);
        }
        let total: u64 = blobs.values().map(|b| b.size).sum();
        let step = "verify/-/blobs".to_owned();
        sink.event(&Event::StepStarted {
            step: step.clone(),
            host: "-".into(),
            title: format!("hash {} blobs again", blobs.len()),
        });
        let begun = std::time::Instant::now();
        let parallel = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let checks = blobs.values().map(|blob| {
            let path = self.blob_path(&blob.digest);
            let blob = (*blob).clone();
            async move {
                let problem = tokio::spawn(async move { check(&path, &blob).await.map(|()| blob.size) }).await;
                problem.unwrap_or_else(|e| Err(e.to_string()))
            }
        });
        let (mut problems, mut done) = (Vec::new(), 0);
        let mut results = futures::stream::iter(checks).buffer_unordered(parallel);
        while let Some(result) = results.next().await {
            match result {
                Ok(size) => done += size,
                Err(problem) => problems.push(problem),
            }
            sink.event(&Event::Progress { step: step.clone(), done, total });
        }
        problems.extend(self.index_problems().await);
        problems.sort();
        let outcome = if problems.is_empty() {
            crate::exec::Outcome::Unchanged
        } else {
            crate::exec::Outcome::Failed { error: format!("{} problems", problems.len()) }
        };
        sink.event(&Event::StepEnded { step, host: "-".into(), outcome, seconds: begun.elapsed().as_secs_f64() });
        if problems.is_empty() {
            return Ok(());
        }
        Err(Error::invalid(format!("the bundle {} is damaged:\n  {}", self.dir.display(), problems.join("\n  ")))
            .hint("copy it again from its medium, or build it again"))
    }

    async fn index_problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let path = self.dir.join("index.json");
        let index: Option<serde_json::Value> =
            std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let Some(index) = index else {
            return vec![format!("{} is missing or broken", path.display())];
        };
        let listed: Vec<&str> = index
            .get("manifests")
            .and_then(|m| m.as_array())
            .map(|m| m.iter().filter_map(|e| e.get("digest")?.as_str()).collect())
            .unwrap_or_default();
        for artifact in &self.manifest.artifacts {
            if !listed.contains(&artifact.manifest.to_string().as_str()) {
                problems.push(format!("index.json does not list {}", artifact.name));
            }
            match hash_file(&self.blob_path(&artifact.manifest)).await {
                Ok(found) if found == artifact.manifest => {}
                _ => problems.push(format!("the OCI manifest of {} is missing or damaged", artifact.name)),
            }
        }
        problems
    }
}

async fn check(path: &Path, blob: &BlobRef) -> std::result::Result<(), String> {
    let size = tokio::fs::metadata(path).await.map_err(|_| format!("{} is missing", blob.digest))?.len();
    if size != blob.size {
        return Err(format!("{} has {size} bytes, {} expected", blob.digest, blob.size));
    }
    let found = hash_file(path).await.map_err(|e| e.to_string())?;
    if found == blob.digest { Ok(()) } else { Err(format!("{} hashes to {found}", blob.digest)) }
}

/// What the inventory will ask for and the bundle does not hold; empty when it is closed. Pure.
#[must_use]
pub fn closure(inv: &Inventory, manifest: &BundleManifest) -> Vec<String> {
    let mut missing = Vec::new();
    let version = inv.cluster.version.trim_start_matches('v');
    if manifest.kubernetes != version {
        missing.push(format!("Kubernetes {version} (the bundle is for {})", manifest.kubernetes));
    }
    let wanted = match wanted(inv) {
        Ok(wanted) => wanted,
        Err(error) => return vec![error.to_string()],
    };
    for file in wanted.files {
        match manifest.find(file.kind, file.name, file.arch) {
            Some(found) if found.version == file.version => {}
            Some(found) => missing.push(format!(
                "{} {} for {} (it has {})",
                file.name,
                file.version,
                file.arch.as_str(),
                found.version
            )),
            None => missing.push(format!("{} {} for {}", file.name, file.version, file.arch.as_str())),
        }
    }
    let mut named = vec!["kube-apiserver", "kube-controller-manager", "kube-scheduler", "pause"];
    if inv.etcd.mode == EtcdMode::Stacked {
        named.push("etcd");
    }
    for (phase, name) in [("addon/kube-proxy", "kube-proxy"), ("addon/coredns", "coredns")] {
        if !inv.kubeadm.skip_phases.iter().any(|p| p == phase || p == "addon") {
            named.push(name);
        }
    }
    for arch in &inv.cluster.arch {
        let images: Vec<&str> = manifest
            .artifacts
            .iter()
            .filter(|a| a.kind == ArtifactKind::Image && a.arch == *arch)
            .map(|a| a.name.as_str())
            .collect();
        for image in &wanted.images {
            if !images.contains(&image.as_str()) {
                missing.push(format!("image {image} for {}", arch.as_str()));
            }
        }
        for name in &named {
            let tag = |i: &&str| i.rsplit('/').next().is_some_and(|l| l.starts_with(&format!("{name}:")));
            if !images.iter().any(tag) {
                missing.push(format!("image {name} for {}", arch.as_str()));
            }
        }
    }
    missing.extend(missing_packages(inv, manifest));
    missing
}
