//! Pinning charts and raw manifests, and the images they need.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::gaps::{addon_inputs, manifest_inputs};
use super::helm::{Helm, Release};
use super::images::images_in;
use super::local::{form, keep, path_source, read_chart, read_file};
use super::pack::{Meta, meta_of};
use super::repo::{Listed, find};
use crate::bundle::fetch::{cached, fetch};
use crate::bundle::http::{client, get_text_by};
use crate::bundle::lock::{hash_remote, told};
use crate::bundle::lockfile::{LockedChart, LockedFile, LockedManifest};
use crate::bundle::manifest::Digest;
use crate::bundle::registry::{ImageName, MakeRequest, Registries, get_with_login};
use crate::error::{Context as _, Error, Result};
use crate::exec::{Outcome, Sink};
use crate::image::full_name;
use crate::inventory::{Arch, Chart, ChartFrom, Inventory, RawManifest};

/// The media types of Helm's OCI artifacts.
pub(super) const HELM_CONFIG: &str = "application/vnd.cncf.helm.config.v1+json";
pub(super) const HELM_CONTENT: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";

/// The largest index of a repository that is read, in bytes: those of the largest have some 20 MB.
const MAX_INDEX: usize = 64 << 20;

/// What was pinned.
#[derive(Default)]
pub(in crate::bundle) struct LockedAddons {
    pub(in crate::bundle) charts: Vec<LockedChart>,
    pub(in crate::bundle) manifests: Vec<LockedManifest>,
}

impl LockedAddons {
    /// The full names of all images they need: those they show, and those that the inventory adds.
    pub(in crate::bundle) fn images(&self, inv: &Inventory) -> BTreeSet<String> {
        let shown = self.charts.iter().flat_map(|c| &c.images).chain(self.manifests.iter().flat_map(|m| &m.images));
        let added = inv.charts.iter().flat_map(|c| &c.images).chain(inv.manifests.iter().flat_map(|m| &m.images));
        shown.cloned().chain(added.filter_map(|i| full_name(i))).collect()
    }
}

/// Pins every chart and manifest of the inventory.
pub(in crate::bundle) async fn lock_addons(
    inv: &Inventory,
    files: &[LockedFile],
    registries: &Registries<'_>,
    sink: &dyn Sink,
) -> Result<LockedAddons> {
    let mut locked = LockedAddons::default();
    for manifest in &inv.manifests {
        let step = format!("lock/-/manifest-{}", manifest.name);
        locked.manifests.push(
            told(sink, &step, format!("manifest {}", manifest.name), async {
                Ok((lock_manifest(inv, manifest, registries).await?, Outcome::Changed))
            })
            .await?,
        );
    }
    if inv.charts.is_empty() {
        return Ok(locked);
    }
    let helm = helm(files).await?;
    for chart in &inv.charts {
        let step = format!("lock/-/chart-{}.{}", chart.namespace, chart.name);
        locked.charts.push(
            told(sink, &step, format!("chart of {}", chart.name), async {
                Ok((lock_chart(inv, chart, &helm, registries).await?, Outcome::Changed))
            })
            .await?,
        );
    }
    Ok(locked)
}

/// The locked helm, ready to run on this machine.
async fn helm(files: &[LockedFile]) -> Result<std::sync::Arc<Helm>> {
    let own = Arch::from_uname(std::env::consts::ARCH);
    let locked = files.iter().find(|f| f.name == "helm" && Some(f.arch) == own).ok_or_else(|| {
        Error::failed(format!(
            "the images of a chart are found by rendering it, and there is no helm for this machine ({})",
            std::env::consts::ARCH
        ))
        .hint("run `provision bundle lock` on a machine of one of the cluster's architectures")
    })?;
    let url = locked.url.clone();
    let request = move || Ok(client()?.get(&url));
    let archive = fetch(&locked.url, &locked.sha256, &request, &|_, _| {}).await?;
    let unpacking = || format!("failed to read {}", archive.display());
    let file = std::fs::File::open(&archive).context(unpacking)?;
    let unpacked = tokio::task::spawn_blocking(move || Helm::unpack(file)).await;
    Ok(std::sync::Arc::new(unpacked.context(|| "failed to unpack helm".into())??))
}

/// A chart that was found, packed in the cache.
struct Found {
    path: PathBuf,
    sha256: Digest,
    source: String,
    manifest: Option<Digest>,
    index_url: Option<String>,
}

async fn lock_chart(
    inv: &Inventory,
    chart: &Chart,
    helm: &std::sync::Arc<Helm>,
    registries: &Registries<'_>,
) -> Result<LockedChart> {
    let version = chart.version.as_deref().unwrap_or_default();
    let from = form(chart)?;
    let found = match from {
        ChartFrom::Repo { url, chart } => from_repo(url, chart, version, registries).await?,
        ChartFrom::Oci(reference) => from_registry(reference, version, registries).await?,
        ChartFrom::Path(path) => {
            let sha256 = keep(&read_chart(inv, path).await?).await?;
            let (path, source) = (cached(&sha256), path_source(path));
            Found { path, sha256, source, manifest: None, index_url: None }
        }
    };
    let (helm, owned) = (std::sync::Arc::clone(helm), chart.clone());
    let (path, kubernetes) = (found.path.clone(), inv.cluster.version.trim_start_matches('v').to_owned());
    let inputs = addon_inputs(chart, &inv.cluster.version);
    let rendered = tokio::task::spawn_blocking(move || -> Result<(Meta, BTreeSet<String>)> {
        let meta = meta_of(&path)?;
        let images = helm.images(&Release {
            name: &owned.name,
            namespace: &owned.namespace,
            chart: &path,
            values: &owned.values_texts(),
            kubernetes: &kubernetes,
        })?;
        Ok((meta, images))
    });
    let (meta, images) = rendered.await.context(|| format!("failed to render {}", chart.name))??;
    let wanted = matches!(from, ChartFrom::Repo { chart, .. } if chart != meta.name)
        || chart.version.as_ref().is_some_and(|v| *v != meta.version);
    if wanted {
        return Err(Error::invalid(format!(
            "{} holds chart {} {}, which is not what release {} asks for",
            found.source, meta.name, meta.version, chart.name
        )));
    }
    Ok(LockedChart {
        name: chart.name.clone(),
        namespace: chart.namespace.clone(),
        chart: meta.name,
        version: meta.version,
        sha256: found.sha256,
        source: found.source,
        manifest: found.manifest,
        index_url: found.index_url,
        inputs,
        images: images.into_iter().collect(),
    })
}

async fn from_repo(base: &str, chart: &str, version: &str, registries: &Registries<'_>) -> Result<Found> {
    let index_url = format!("{}/index.yaml", base.trim_end_matches('/'));
    let text = get_text_by(&index_url, MAX_INDEX, request(&index_url, registries)?.as_ref())
        .await?
        .ok_or_else(|| Error::failed(format!("there is no {index_url}")).hint("is source.repo a chart repository?"))?;
    let Listed { url, digest } = find(&text, base, chart, version)?;
    let (sha256, index_url) = match digest {
        Some(digest) => (digest, Some(index_url)),
        // The index says nothing of it: what is there now is what gets pinned, and the bundle says so.
        None => (hash_remote(&url, request(&url, registries)?()?).await?, None),
    };
    let path = fetch(&url, &sha256, request(&url, registries)?.as_ref(), &|_, _| {}).await?;
    Ok(Found { path, sha256, source: url, manifest: None, index_url })
}

async fn from_registry(reference: &str, version: &str, registries: &Registries<'_>) -> Result<Found> {
    let image = chart_image(reference, version)?;
    let source = format!("oci://{reference}");
    let pulled = registries.manifest(&image, &image.tag).await.context(|| format!("failed to find {source}"))?;
    let json: serde_json::Value =
        serde_json::from_slice(&pulled.bytes).context(|| format!("failed to read the manifest of {source}"))?;
    let text = |pointer: &str| json.pointer(pointer).and_then(|v| v.as_str()).unwrap_or_default();
    let layers = json.get("layers").and_then(|l| l.as_array()).cloned().unwrap_or_default();
    let layer = layers.iter().find(|l| l.get("mediaType").and_then(|t| t.as_str()) == Some(HELM_CONTENT));
    let digest = layer.and_then(|l| l.get("digest")?.as_str());
    let (HELM_CONFIG, Some(digest)) = (text("/config/mediaType"), digest) else {
        return Err(Error::invalid(format!("{source} {version} is no chart"))
            .hint("images have no place here: name the chart's own repository"));
    };
    let sha256: Digest = digest.parse()?;
    let (url, request) = layer_request(&image, &sha256, registries).await?;
    let path = fetch(&url, &sha256, request.as_ref(), &|_, _| {}).await?;
    Ok(Found { path, sha256, source, manifest: Some(pulled.digest), index_url: None })
}

/// The name of a chart's OCI artifact. A tag has no `+`: helm writes `_`.
pub(super) fn chart_image(reference: &str, version: &str) -> Result<ImageName> {
    ImageName::parse(&format!("{reference}:{}", version.replace('+', "_")))
}

/// Where a blob of a chart's repository is and how it is asked for, after its manifest was pulled.
pub(super) async fn layer_request(
    image: &ImageName,
    digest: &Digest,
    registries: &Registries<'_>,
) -> Result<(String, MakeRequest)> {
    let url = registries.blob_url(image, digest);
    let request = registries.blob_request(image, &url).await?;
    Ok((url, request))
}

async fn lock_manifest(inv: &Inventory, manifest: &RawManifest, registries: &Registries<'_>) -> Result<LockedManifest> {
    let (sha256, source) = match (&manifest.path, &manifest.url) {
        (Some(path), _) => (keep(&read_file(inv, path).await?).await?, path_source(path)),
        (None, Some(url)) => {
            let sha256 = match &manifest.sha256 {
                Some(sha256) => sha256.parse()?,
                None => hash_remote(url, request(url, registries)?()?).await?,
            };
            fetch(url, &sha256, request(url, registries)?.as_ref(), &|_, _| {}).await?;
            (sha256, url.clone())
        }
        (None, None) => return Err(Error::invalid(format!("manifest {} comes from nowhere", manifest.name))),
    };
    if manifest.sha256.as_ref().is_some_and(|s| s.parse::<Digest>().ok().as_ref() != Some(&sha256)) {
        return Err(Error::invalid(format!("manifest {} is {sha256}, the inventory asks for another", manifest.name)));
    }
    let images = scan(&cached(&sha256)).await.context(|| format!("failed to use manifest {}", manifest.name))?;
    let inputs = manifest_inputs(manifest);
    Ok(LockedManifest { name: manifest.name.clone(), sha256, source, inputs, images: images.into_iter().collect() })
}

async fn scan(path: &Path) -> Result<BTreeSet<String>> {
    let text = tokio::fs::read_to_string(path).await.map_err(|e| Error::invalid("it is not text").source(e))?;
    images_in(&text)
}

/// Requests for a file, with the login that the inventory has for its host.
pub(super) fn request(url: &str, registries: &Registries<'_>) -> Result<MakeRequest> {
    let host = reqwest::Url::parse(url).ok().and_then(|u| {
        let host = u.host_str()?.to_owned();
        Some(u.port().map_or_else(|| host.clone(), |port| format!("{host}:{port}")))
    });
    let login = host.map(|h| registries.basic(&h)).transpose()?.flatten();
    Ok(get_with_login(url, login))
}
