//! Charts and raw manifests into a bundle that is being built.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::json;

use super::local::PATH;
use super::lock::{HELM_CONFIG, HELM_CONTENT, chart_image, layer_request, request};
use super::pack::meta_of;
use crate::bundle::fetch::cached;
use crate::bundle::layout::{OCI_MANIFEST, artifact_manifest};
use crate::bundle::lock::told;
use crate::bundle::lockfile::{Lock, LockedChart, LockedManifest};
use crate::bundle::manifest::{Addon, Artifact, ArtifactKind, BlobRef, Digest, Verified};
use crate::bundle::place::{bring, place_cached, write_blob};
use crate::bundle::registry::Registries;
use crate::error::{Context as _, Error, Result};
use crate::exec::{Outcome, Sink};

/// What `bundle.json` says of the lock's charts and manifests. Pure.
pub(in crate::bundle) fn addons(lock: &Lock) -> Vec<Addon> {
    let charts = lock.charts.iter().map(|c| Addon {
        kind: ArtifactKind::Chart,
        namespace: c.namespace.clone(),
        name: c.name.clone(),
        version: c.version.clone(),
        digest: c.sha256.clone(),
        inputs: c.inputs.clone(),
        images: c.images.clone(),
    });
    let manifests = lock.manifests.iter().map(|m| Addon {
        kind: ArtifactKind::Manifest,
        namespace: String::new(),
        name: m.name.clone(),
        version: String::new(),
        digest: m.sha256.clone(),
        inputs: m.inputs.clone(),
        images: m.images.clone(),
    });
    charts.chain(manifests).collect()
}

/// Fetches every chart and manifest of the lock into the bundle at `dir`. A chart that several releases use stands
/// once.
pub(in crate::bundle) async fn add_addons(
    dir: &Path,
    registries: &Registries<'_>,
    lock: &Lock,
    sink: &dyn Sink,
) -> Result<Vec<Artifact>> {
    let mut artifacts = Vec::new();
    let mut seen = BTreeSet::new();
    for chart in lock.charts.iter().filter(|c| seen.insert((&c.chart, &c.version, &c.sha256))) {
        let step = format!("build/-/chart-{}.{}", chart.namespace, chart.name);
        artifacts.push(
            told(sink, &step, format!("chart {} {}", chart.chart, chart.version), async {
                Ok((add_chart(dir, registries, chart).await?, Outcome::Changed))
            })
            .await?,
        );
    }
    for manifest in &lock.manifests {
        let step = format!("build/-/manifest-{}", manifest.name);
        artifacts.push(
            told(sink, &step, format!("manifest {}", manifest.name), async {
                Ok((add_manifest(dir, registries, manifest).await?, Outcome::Changed))
            })
            .await?,
        );
    }
    Ok(artifacts)
}

/// The blob of a source that is a path: it was put into the cache before.
fn local(source: &str, digest: &Digest) -> Result<std::path::PathBuf> {
    let path = cached(digest);
    if path.exists() {
        return Ok(path);
    }
    Err(Error::invalid(format!("{} is not at hand as it was locked ({digest})", source.trim_start_matches(PATH)))
        .hint("build where the inventory and what lies beside it are, or lock anew"))
}

async fn add_chart(dir: &Path, registries: &Registries<'_>, chart: &LockedChart) -> Result<Artifact> {
    let (path, size, verified) = if chart.source.starts_with(PATH) {
        let path = local(&chart.source, &chart.sha256)?;
        let size = place_cached(dir, &path, &chart.sha256).await?;
        (path, size, Verified::LockOnly)
    } else if let Some(reference) = chart.source.strip_prefix("oci://") {
        let image = chart_image(reference, &chart.version)?;
        let pinned = chart.manifest.as_ref().map_or_else(|| image.tag.clone(), ToString::to_string);
        registries.manifest(&image, &pinned).await.context(|| format!("failed to pull {}", chart.source))?;
        let (url, request) = layer_request(&image, &chart.sha256, registries).await?;
        let (path, size) = bring(dir, &url, &chart.sha256, request.as_ref(), &|_, _| {}).await?;
        (path, size, Verified::RegistryDigest)
    } else {
        let request = request(&chart.source, registries)?;
        let (path, size) = bring(dir, &chart.source, &chart.sha256, request.as_ref(), &|_, _| {}).await?;
        let verified = chart.index_url.clone().map_or(Verified::LockOnly, |url| Verified::ChecksumFile { url });
        (path, size, verified)
    };
    let meta = tokio::task::spawn_blocking(move || meta_of(&path))
        .await
        .context(|| format!("failed to look into {}", chart.source))??;
    if (&meta.name, &meta.version) != (&chart.chart, &chart.version) {
        return Err(Error::invalid(format!("{} holds chart {} {}", chart.source, meta.name, meta.version)));
    }
    let config = write_blob(dir, &meta.json).await?;
    let blob = |digest: &Digest, size, media_type: &str| BlobRef {
        digest: digest.clone(),
        size,
        media_type: media_type.to_owned(),
    };
    let blobs = vec![blob(&chart.sha256, size, HELM_CONTENT), blob(&config, meta.json.len() as u64, HELM_CONFIG)];
    // What `helm push` writes, so that `helm pull oci://` reads it from wherever it is pushed to.
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": { "mediaType": HELM_CONFIG, "digest": config.to_string(), "size": meta.json.len() },
        "layers": [{ "mediaType": HELM_CONTENT, "digest": chart.sha256.to_string(), "size": size }],
        "annotations": {
            "org.opencontainers.image.title": meta.name,
            "org.opencontainers.image.version": meta.version,
        },
    });
    Ok(Artifact {
        kind: ArtifactKind::Chart,
        name: meta.name,
        version: meta.version,
        arch: None,
        digest: chart.sha256.clone(),
        size,
        source: chart.source.clone(),
        verified,
        manifest: write_blob(dir, manifest.to_string().as_bytes()).await?,
        blobs,
        members: Vec::new(),
    })
}

async fn add_manifest(dir: &Path, registries: &Registries<'_>, locked: &LockedManifest) -> Result<Artifact> {
    let size = if locked.source.starts_with(PATH) {
        place_cached(dir, &local(&locked.source, &locked.sha256)?, &locked.sha256).await?
    } else {
        let request = request(&locked.source, registries)?;
        bring(dir, &locked.source, &locked.sha256, request.as_ref(), &|_, _| {}).await?.1
    };
    let blob = BlobRef { digest: locked.sha256.clone(), size, media_type: "application/yaml".into() };
    Ok(Artifact {
        kind: ArtifactKind::Manifest,
        name: locked.name.clone(),
        version: locked.sha256.short().to_owned(),
        arch: None,
        digest: locked.sha256.clone(),
        size,
        source: locked.source.clone(),
        verified: Verified::LockOnly,
        manifest: artifact_manifest(dir, &format!("{}.yaml", locked.name), &blob).await?,
        blobs: vec![blob],
        members: Vec::new(),
    })
}
