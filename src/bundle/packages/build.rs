//! Packages and their index into a bundle.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use futures::{StreamExt as _, TryStreamExt as _};

use super::model::{DEB_PACKAGE_TYPE, INDEX_TYPE, LockedPackage, RPM_PACKAGE_TYPE, index_name, package_name};
use crate::bundle::http::client;
use crate::bundle::layout::artifact_manifest;
use crate::bundle::lock::told;
use crate::bundle::manifest::{Artifact, ArtifactKind, BlobRef, BundleManifest, Verified};
use crate::bundle::place::{bring, write_blob};
use crate::error::{Error, Result};
use crate::exec::{Event, Outcome, Sink};
use crate::inventory::{Arch, Inventory, PackageKind};
use crate::packages::{LocalPackage, index_path, local_index};

/// Fetches the packages into the bundle at `dir`, and writes an index of them for each type and architecture.
pub(in crate::bundle) async fn add_packages(
    dir: &Path,
    packages: &[LockedPackage],
    concurrency: usize,
    sink: &dyn Sink,
) -> Result<Vec<Artifact>> {
    let mut all: Vec<Artifact> = futures::stream::iter(packages.iter().map(|p| add_package(dir, p, sink)))
        .buffer_unordered(concurrency)
        .try_collect()
        .await?;
    let mut sets: BTreeMap<(PackageKind, Arch), Vec<&LockedPackage>> = BTreeMap::new();
    for package in packages {
        sets.entry((package.kind, package.arch)).or_default().push(package);
    }
    for ((kind, arch), set) in sets {
        all.push(add_index(dir, kind, arch, &set).await?);
    }
    Ok(all)
}

async fn add_package(dir: &Path, package: &LockedPackage, sink: &dyn Sink) -> Result<Artifact> {
    let name = package_name(package.kind, &package.name);
    let step = format!("build/-/{name}-{}", package.arch.as_str());
    told(sink, &step, format!("{} {}", package.name, package.version), async {
        let url = package.url.clone();
        let request = move || Ok(client()?.get(&url));
        let progress = |done, total| sink.event(&Event::Progress { step: step.clone(), done, total });
        let (_, size) = bring(dir, &package.url, &package.sha256, &request, &progress).await?;
        if size != package.size {
            return Err(Error::invalid(format!("{} has {size} bytes, the lock says {}", package.url, package.size)));
        }
        let media_type = match package.kind {
            PackageKind::Deb => DEB_PACKAGE_TYPE,
            PackageKind::Rpm => RPM_PACKAGE_TYPE,
        };
        let blob = BlobRef { digest: package.sha256.clone(), size, media_type: media_type.into() };
        let title = package.url.rsplit('/').next().unwrap_or(&package.name);
        let artifact = Artifact {
            kind: ArtifactKind::Package,
            name,
            version: package.version.clone(),
            arch: Some(package.arch),
            digest: package.sha256.clone(),
            size,
            source: package.url.clone(),
            verified: Verified::SignedRepository { key: package.key.clone(), release: package.release.clone() },
            manifest: artifact_manifest(dir, title, &blob).await?,
            blobs: vec![blob],
            members: Vec::new(),
        };
        Ok((artifact, Outcome::Changed))
    })
    .await
}

/// The index is made of what the repositories signed, so they vouch for it.
async fn add_index(dir: &Path, kind: PackageKind, arch: Arch, set: &[&LockedPackage]) -> Result<Artifact> {
    let local: Vec<LocalPackage<'_>> = set
        .iter()
        .map(|p| LocalPackage {
            name: &p.name,
            version: &p.version,
            sha256: &p.sha256,
            size: p.size,
            control: &p.control,
        })
        .collect();
    let text = local_index(kind, arch, &local);
    let digest = write_blob(dir, text.as_bytes()).await?;
    let joined = |of: fn(&LockedPackage) -> &str| {
        let unique: BTreeSet<&str> = set.iter().map(|p| of(p)).collect();
        unique.into_iter().collect::<Vec<_>>().join(", ")
    };
    let blob = BlobRef { digest: digest.clone(), size: text.len() as u64, media_type: INDEX_TYPE.into() };
    let title = index_path(kind).rsplit('/').next().unwrap_or_default();
    Ok(Artifact {
        kind: ArtifactKind::Package,
        name: index_name(kind).into(),
        version: digest.short().into(),
        arch: Some(arch),
        size: blob.size,
        source: joined(|p| &p.release),
        verified: Verified::SignedRepository { key: joined(|p| &p.key), release: joined(|p| &p.release) },
        manifest: artifact_manifest(dir, title, &blob).await?,
        blobs: vec![blob],
        members: Vec::new(),
        digest,
    })
}

/// The packages that the inventory names and the bundle does not hold. Pure.
pub(in crate::bundle) fn missing_packages(inv: &Inventory, manifest: &BundleManifest) -> Vec<String> {
    let mut missing = Vec::new();
    for kind in [PackageKind::Deb, PackageKind::Rpm] {
        for name in inv.packages.names(kind) {
            for arch in &inv.cluster.arch {
                if manifest.find(ArtifactKind::Package, &package_name(kind, name), *arch).is_none() {
                    missing.push(format!("{} package {name} for {}", kind.as_str(), arch.as_str()));
                }
            }
        }
    }
    missing
}
