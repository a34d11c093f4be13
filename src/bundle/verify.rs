//! Proving a bundle whole, and proving that it holds what an inventory will ask for.

use std::collections::BTreeMap;

use futures::StreamExt as _;

use super::blob::Blob;
use super::documents::document_problems;
use super::form::promised;
use super::hash::hash_blob;
use super::manifest::{Artifact, ArtifactKind, BundleManifest, Digest};
use super::packages::missing_packages;
use super::reach::reached;
use super::store::Bundle;
use super::wanted::wanted;
use crate::error::{Context as _, Error, Result};
use crate::exec::{Event, Sink};
use crate::inventory::{EtcdMode, Inventory};

impl Bundle {
    /// Hashes every blob again, on all processors, and checks the layout's own index, the bills of materials and the
    /// provenance. Names everything that is wrong, and for a split bundle the volumes that are the cause.
    pub async fn verify(&self, sink: &dyn Sink) -> Result<()> {
        let found = reached(&self.contents, &self.manifest);
        let mut problems = found.problems;
        let mut wanted: BTreeMap<Digest, Option<u64>> = found.blobs;
        // What lies there and is not reached is hashed all the same: no blob may be what its name does not say.
        for digest in self.contents.files.keys().filter_map(|name| promised(name)) {
            wanted.entry(digest).or_insert(None);
        }
        let total: u64 = wanted.keys().filter_map(|d| self.contents.blob(d)).map(Blob::size).sum();
        let step = "verify/-/blobs".to_owned();
        sink.event(&Event::StepStarted {
            step: step.clone(),
            host: "-".into(),
            title: format!("hash {} blobs again", wanted.len()),
        });
        let begun = std::time::Instant::now();
        let parallel = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let checks = wanted.iter().map(|(digest, size)| check(self.contents.blob(digest), digest, *size));
        let mut done = 0;
        let mut results = futures::stream::iter(checks).buffer_unordered(parallel);
        while let Some(result) = results.next().await {
            match result {
                Ok(size) => done += size,
                Err(problem) => problems.push(problem),
            }
            sink.event(&Event::Progress { step: step.clone(), done, total });
        }
        let whole = problems.is_empty();
        problems.extend(document_problems(self, whole).await);
        problems.sort();
        problems.dedup();
        let outcome = if problems.is_empty() {
            crate::exec::Outcome::Unchanged
        } else {
            crate::exec::Outcome::Failed { error: format!("{} problems", problems.len()) }
        };
        sink.event(&Event::StepEnded { step, host: "-".into(), outcome, seconds: begun.elapsed().as_secs_f64() });
        if problems.is_empty() {
            return Ok(());
        }
        let error =
            Error::invalid(format!("the bundle {} is damaged:\n  {}", self.place().display(), problems.join("\n  ")))
                .hint("copy it again from its medium, or build it again");
        match self.contents.volumes.clone() {
            Some(set) => {
                let blamed = tokio::task::spawn_blocking(move || set.blame(error)).await;
                Err(blamed.context(|| "failed to hash the volumes".into())?)
            }
            None => Err(error),
        }
    }
}

async fn check(blob: Option<&Blob>, digest: &Digest, size: Option<u64>) -> std::result::Result<u64, String> {
    let blob = blob.ok_or_else(|| format!("{digest} is missing"))?;
    if size.is_some_and(|s| s != blob.size()) {
        return Err(format!("{digest} has {} bytes, {} expected ({blob})", blob.size(), size.unwrap_or_default()));
    }
    let found = hash_blob(blob).await.map_err(|e| {
        let cause = std::error::Error::source(&e).map(|s| format!(": {s}")).unwrap_or_default();
        format!("{e}{cause}")
    })?;
    if found == *digest { Ok(blob.size()) } else { Err(format!("{digest} hashes to {found} ({blob})")) }
}

/// Whether an archive of etcd lacks the program that works with snapshots: from 3.6 on etcdctl does not any more.
fn lacks_etcdutl(archive: &Artifact) -> Option<String> {
    if archive.name != "etcd" || archive.members.iter().any(|m| m.path.rsplit('/').next() == Some("etcdutl")) {
        return None;
    }
    let mut numbers = archive.version.split('.').map(|n| n.parse::<u32>().unwrap_or(0));
    let (major, minor) = (numbers.next()?, numbers.next()?);
    ((major, minor) >= (3, 6)).then(|| {
        let (version, arch) = (&archive.version, archive.arch_name());
        format!("etcdutl in the archive of etcd {version} for {arch}: its etcdctl cannot check or restore snapshots")
    })
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
            Some(found) if found.version == file.version => missing.extend(lacks_etcdutl(found)),
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
            .filter(|a| a.kind == ArtifactKind::Image && a.arch == Some(*arch))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::{Member, Verified};

    #[test]
    fn an_archive_of_etcd_from_3_6_on_has_to_hold_etcdutl() {
        let digest = Digest::of(b"etcd");
        let archive = |version: &str, members: &[&str]| Artifact {
            kind: ArtifactKind::Archive,
            name: "etcd".into(),
            version: version.into(),
            arch: Some(crate::inventory::Arch::Amd64),
            digest: digest.clone(),
            size: 1,
            source: String::new(),
            verified: Verified::LockOnly,
            manifest: digest.clone(),
            blobs: Vec::new(),
            members: members
                .iter()
                .map(|m| Member { path: format!("etcd-v{version}/{m}"), digest: digest.clone(), size: 1, mode: 0o755 })
                .collect(),
        };
        for old in ["3.4.37", "3.5.21"] {
            assert_eq!(lacks_etcdutl(&archive(old, &["etcd", "etcdctl"])), None);
        }
        for new in ["3.6.0-rc.1", "3.6.8", "4.0.0"] {
            let said = lacks_etcdutl(&archive(new, &["etcd", "etcdctl"])).unwrap_or_default();
            assert!(said.starts_with(&format!("etcdutl in the archive of etcd {new} for amd64")), "{said}");
            assert_eq!(lacks_etcdutl(&archive(new, &["etcd", "etcdctl", "etcdutl"])), None);
        }
    }
}
