//! Building a bundle from a lock: fetched in parallel, written beside its place, renamed when whole.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};

use super::archive::members;
use super::charts::{add_addons, addons};
use super::documents::{Maker, write_documents};
use super::fetch::cache_dir;
use super::form::{Form, Output, staged, with_suffix};
use super::full::Writing as _;
use super::http::client;
use super::layout::{artifact_manifest, index};
use super::lock::{is_archive, told};
use super::lockfile::{Lock, LockedFile, LockedImage};
use super::manifest::{Artifact, ArtifactKind, BUNDLE_FORMAT, BlobRef, BundleManifest, Digest, Verified};
use super::packages::add_packages;
use super::place::{bring, write_blob};
use super::registry::{ImageName, Registries};
use super::upstream::add_signatures;
use crate::error::{Context as _, Error, Result};
use crate::exec::{Event, Outcome, Sink};
use crate::inventory::Arch;

/// Builds the bundle of `lock` at `out` with `concurrency` downloads at once. The same lock and maker give the same
/// bytes.
///
/// Memory does not grow with the bundle: everything is streamed. A bundle that stands at `out` is replaced only when
/// the new one is whole.
pub async fn build(
    lock: &Lock,
    maker: &Maker<'_>,
    out: &Output,
    concurrency: usize,
    sink: Arc<dyn Sink>,
) -> Result<BundleManifest> {
    out.check()?;
    let staging = Staging::new(out)?;
    let partial = staging.path.clone();
    let blobs = partial.join("blobs/sha256");
    tokio::fs::create_dir_all(&blobs).await.writing(&blobs, None)?;
    let registries = Registries::new(maker.sources);
    let concurrency = concurrency.max(1);
    let mut artifacts: Vec<Artifact> =
        futures::stream::iter(lock.files.iter().map(|file| add_file(&partial, file, sink.as_ref())))
            .buffer_unordered(concurrency)
            .try_collect()
            .await?;
    let per_arch =
        lock.images.iter().flat_map(|image| image.manifests.iter().map(move |(arch, digest)| (image, arch, digest)));
    let images: Vec<Artifact> = futures::stream::iter(
        per_arch.map(|(image, arch, digest)| add_image(&partial, &registries, image, arch, digest, sink.as_ref())),
    )
    .buffer_unordered(concurrency)
    .try_collect()
    .await?;
    artifacts.extend(images);
    artifacts.extend(add_addons(&partial, &registries, lock, sink.as_ref()).await?);
    artifacts.extend(add_packages(&partial, &lock.packages, concurrency, sink.as_ref()).await?);
    add_signatures(&partial, &registries, lock, &mut artifacts, sink.as_ref()).await?;
    let lock_digest = lock.digest()?;
    let mut manifest = BundleManifest {
        format_version: BUNDLE_FORMAT,
        kubernetes: lock.kubernetes.clone(),
        lock: lock_digest,
        artifacts,
        addons: addons(lock),
    };
    let canonical = manifest.to_canonical_json();
    manifest = serde_json::from_str(&canonical).context(|| "failed to read bundle.json back".into())?;
    let size_of = |a: &Artifact| {
        let path = partial.join("blobs/sha256").join(a.manifest.hex());
        std::fs::metadata(&path).map(|m| m.len()).context(|| format!("failed to look at {}", path.display()))
    };
    for (name, text) in [
        ("oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}\n".to_owned()),
        ("index.json", index(&manifest.artifacts, &size_of)?),
        ("bundle.json", canonical),
    ] {
        let path = partial.join(name);
        tokio::fs::write(&path, &text).await.writing(&path, Some(text.len() as u64))?;
    }
    write_documents(&partial, maker).await?;
    staged(&partial, out, sink).await?;
    Ok(manifest)
}

/// Where the layout is put together: beside a directory's place; for a tar among the cache's files, so that its blobs
/// are hard links to them and no byte is on the disk twice. Gone when dropped, unless it was put in place.
struct Staging {
    path: PathBuf,
}

impl Drop for Staging {
    fn drop(&mut self) {
        // It is no bundle without its documents; what it held of a full disk is free again. A file that was being copied
        // when another one failed may appear while the directory is emptied: then once more.
        for _ in 0..40 {
            match std::fs::remove_dir_all(&self.path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    std::thread::sleep(std::time::Duration::from_millis(25));
                }
                _ => return,
            }
        }
    }
}

impl Staging {
    fn new(out: &Output) -> Result<Self> {
        if out.form == Form::Directory {
            let path = with_suffix(&out.place, ".partial");
            if path.exists() {
                std::fs::remove_dir_all(&path).context(|| format!("failed to remove {}", path.display()))?;
            }
            return Ok(Self { path });
        }
        let cache = cache_dir();
        std::fs::create_dir_all(&cache).writing(&cache, None)?;
        let dir = tempfile::Builder::new().prefix("staging-").tempdir_in(&cache).writing(&cache, None)?;
        Ok(Self { path: dir.keep() })
    }
}

async fn add_file(dir: &Path, file: &LockedFile, sink: &dyn Sink) -> Result<Artifact> {
    let step = format!("build/-/{}-{}", file.name, file.arch.as_str());
    told(sink, &step, format!("{} {}", file.name, file.version), async {
        let url = file.url.clone();
        let request = move || Ok(client()?.get(&url));
        let progress = |done, total| sink.event(&Event::Progress { step: step.clone(), done, total });
        let (cached, size) = bring(dir, &file.url, &file.sha256, &request, &progress).await?;
        let members = if is_archive(file) {
            tokio::task::spawn_blocking(move || members(&cached))
                .await
                .context(|| "failed to look into the archive".into())??
        } else {
            Vec::new()
        };
        let media_type = if is_archive(file) { "application/gzip" } else { "application/octet-stream" };
        let blob = BlobRef { digest: file.sha256.clone(), size, media_type: media_type.into() };
        let title = file.url.rsplit(['/', ':']).next().unwrap_or(&file.name);
        let artifact = Artifact {
            kind: file.kind,
            name: file.name.clone(),
            version: file.version.clone(),
            arch: Some(file.arch),
            digest: file.sha256.clone(),
            size,
            source: file.url.clone(),
            verified: file.checksum_url.clone().map_or(Verified::LockOnly, |url| Verified::ChecksumFile { url }),
            manifest: artifact_manifest(dir, title, &blob).await?,
            blobs: vec![blob],
            members,
        };
        Ok((artifact, Outcome::Changed))
    })
    .await
}

async fn add_image(
    dir: &Path,
    registries: &Registries<'_>,
    locked: &LockedImage,
    arch: &str,
    digest: &Digest,
    sink: &dyn Sink,
) -> Result<Artifact> {
    let step = format!("build/-/{}-{arch}", locked.name);
    told(sink, &step, locked.name.clone(), async {
        let image = ImageName::parse(&locked.name)?;
        let pulled = registries
            .manifest(&image, &digest.to_string())
            .await
            .context(|| format!("failed to pull {}", locked.name))?;
        write_blob(dir, &pulled.bytes).await?;
        let json: serde_json::Value = serde_json::from_slice(&pulled.bytes)
            .context(|| format!("failed to read the manifest of {}", locked.name))?;
        let mut blobs =
            vec![BlobRef { digest: digest.clone(), size: pulled.bytes.len() as u64, media_type: pulled.media_type }];
        let layers = json.get("layers").and_then(|l| l.as_array()).cloned().unwrap_or_default();
        let descriptors: Vec<serde_json::Value> = json.get("config").cloned().into_iter().chain(layers).collect();
        let total: u64 = descriptors.iter().filter_map(|d| d.get("size")?.as_u64()).sum();
        let mut before = 0;
        for descriptor in descriptors {
            let text = |key: &str| descriptor.get(key).and_then(|v| v.as_str()).unwrap_or_default().to_owned();
            let blob: Digest =
                text("digest").parse().context(|| format!("failed to read the manifest of {}", locked.name))?;
            let said = descriptor.get("size").and_then(serde_json::Value::as_u64).unwrap_or(0);
            let url = registries.blob_url(&image, &blob);
            let request = registries.blob_request(&image, &url).await?;
            let progress =
                |done: u64, _| sink.event(&Event::Progress { step: step.clone(), done: before + done, total });
            let (_, size) = bring(dir, &url, &blob, request.as_ref(), &progress).await?;
            if size != said {
                return Err(Error::invalid(format!("{url} has {size} bytes, its manifest says {said}")));
            }
            before += size;
            if !blobs.iter().any(|b| b.digest == blob) {
                blobs.push(BlobRef { digest: blob, size, media_type: text("mediaType") });
            }
        }
        let arch = serde_json::from_value::<Arch>(arch.into())
            .context(|| format!("unknown architecture {arch} in the lock"))?;
        let artifact = Artifact {
            kind: ArtifactKind::Image,
            name: locked.name.clone(),
            version: image.tag.clone(),
            arch: Some(arch),
            digest: digest.clone(),
            size: blobs.iter().map(|b| b.size).sum(),
            source: registries.blob_url(&image, digest).replace("/blobs/", "/manifests/"),
            verified: Verified::RegistryDigest,
            manifest: digest.clone(),
            blobs,
            members: Vec::new(),
        };
        Ok((artifact, Outcome::Changed))
    })
    .await
}
