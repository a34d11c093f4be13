//! Making a lock: upstream is asked, nothing is guessed.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};

use super::charts::lock_addons;
use super::checksum::find_checksum;
use super::fetch::fetch;
use super::full::Writing as _;
use super::http::{client, get_text};
use super::lockfile::{LOCK_FORMAT, Lock, LockedFile, LockedImage};
use super::manifest::{ArtifactKind, Digest};
use super::program::{PROGRAM, lock_program};
use super::registry::{INDEX_TYPES, ImageName, MANIFEST_TYPES, Registries};
use super::wanted::{FileWant, control_plane_images, wanted};
use crate::error::{Context as _, Error, FailedCommand, Result};
use crate::exec::{Outcome, Sink};
use crate::inventory::{Arch, Inventory};

const CONCURRENCY: usize = 8;

/// Resolves all that the inventory needs into digests: checksum files published beside the artifacts, image tags in
/// their registries. The very kubeadm that is locked names the control plane's images.
pub async fn lock(inv: &Inventory, sink: Arc<dyn Sink>) -> Result<Lock> {
    let wanted = wanted(inv)?;
    let files = lock_files(&wanted.files, sink.as_ref()).await?;
    let mut names: BTreeSet<String> = wanted.images.into_iter().collect();
    names.extend(kubeadm_images(inv, &files, sink.as_ref()).await?);
    let registries = Registries::new(&inv.sources);
    let addons = lock_addons(inv, &files, &registries, sink.as_ref()).await?;
    names.extend(addons.images(inv));
    let images = lock_images(inv, &registries, &names, sink.as_ref()).await?;
    let mut lock = Lock {
        format_version: LOCK_FORMAT,
        kubernetes: inv.cluster.version.trim_start_matches('v').into(),
        files,
        images,
        charts: addons.charts,
        manifests: addons.manifests,
        packages: Vec::new(),
        signatures: Vec::new(),
    };
    lock.sort();
    Ok(lock)
}

/// Tells the sink of a piece of work that is on no host, from begin to end.
pub(crate) async fn told<T>(
    sink: &dyn Sink,
    step: &str,
    title: String,
    work: impl Future<Output = Result<(T, Outcome)>>,
) -> Result<T> {
    crate::exec::told(sink, step, "-", title, work).await
}

/// Pins these files.
pub(super) async fn lock_files(wants: &[FileWant], sink: &dyn Sink) -> Result<Vec<LockedFile>> {
    let each = futures::stream::iter(wants.iter().map(|want| lock_file(want, sink)));
    each.buffer_unordered(CONCURRENCY).try_collect().await
}

/// Pins the images of these names.
pub(super) async fn lock_images(
    inv: &Inventory,
    registries: &Registries<'_>,
    names: &BTreeSet<String>,
    sink: &dyn Sink,
) -> Result<Vec<LockedImage>> {
    let each = futures::stream::iter(names.iter().map(|name| lock_image(inv, registries, name, sink)));
    each.buffer_unordered(CONCURRENCY).try_collect().await
}

async fn lock_file(want: &FileWant, sink: &dyn Sink) -> Result<LockedFile> {
    let step = format!("lock/-/{}-{}", want.name, want.arch.as_str());
    told(sink, &step, format!("{} {}", want.name, want.version), async {
        let file = want.url.rsplit('/').next().unwrap_or(&want.url);
        let (sha256, checksum_url) = if want.url.starts_with(PROGRAM) {
            (lock_program(want.arch).await?, None)
        } else {
            match get_text(&want.checksum_url).await? {
                Some(text) => {
                    let sum = find_checksum(&text, file).context(|| format!("failed to use {}", want.checksum_url))?;
                    (sum, Some(want.checksum_url.clone()))
                }
                // Nothing is published: what is there now is what gets pinned, and the bundle says so.
                None => (hash_remote(&want.url, client()?.get(&want.url)).await?, None),
            }
        };
        let locked = LockedFile {
            kind: want.kind,
            name: want.name.into(),
            version: want.version.clone(),
            arch: want.arch,
            sha256,
            url: want.url.clone(),
            checksum_url,
        };
        Ok((locked, Outcome::Changed))
    })
    .await
}

/// The digest of what `request`, for `url`, brings.
pub(super) async fn hash_remote(url: &str, request: reqwest::RequestBuilder) -> Result<Digest> {
    use sha2::Digest as _;
    let answer = request.send().await.map_err(|e| super::http::unreachable(url, e))?;
    if !answer.status().is_success() {
        return Err(super::http::bad_status(url, answer.status()));
    }
    let (mut hasher, mut body) = (sha2::Sha256::new(), answer.bytes_stream());
    while let Some(piece) = body.next().await {
        hasher.update(piece.map_err(|e| Error::failed(format!("{url} broke off")).source(e.without_url()))?);
    }
    Ok(Digest::from_hash(hasher.finalize().as_ref()))
}

/// The control plane's images, as the locked kubeadm among `files` lists them.
pub(super) async fn kubeadm_images(inv: &Inventory, files: &[LockedFile], sink: &dyn Sink) -> Result<Vec<String>> {
    let own = Arch::from_uname(std::env::consts::ARCH);
    let kubeadm = files.iter().find(|f| f.name == "kubeadm" && Some(f.arch) == own).ok_or_else(|| {
        Error::failed(format!(
            "the images are named by kubeadm itself, and there is none for this machine ({})",
            std::env::consts::ARCH
        ))
        .hint("run `provision bundle lock` on a machine of one of the cluster's architectures")
    })?;
    told(sink, "lock/-/kubeadm-images", "kubeadm config images list".into(), async {
        let url = kubeadm.url.clone();
        let request = move || Ok(client()?.get(&url));
        let path = fetch(&kubeadm.url, &kubeadm.sha256, &request, &|_, _| {}).await?;
        let (_dir, runnable) = runnable_copy(&path).await?;
        let repository = inv.kubeadm.image_repository.as_deref().unwrap_or("registry.k8s.io");
        let version = inv.version_name();
        let args = ["config", "images", "list", "--kubernetes-version", &version, "--image-repository", repository];
        let output = tokio::process::Command::new(&runnable)
            .args(args)
            .output()
            .await
            .context(|| "failed to run the locked kubeadm".into())?;
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr);
            return Err(Error::failed("the locked kubeadm did not list its images").command(FailedCommand::new(
                format!("kubeadm {}", args.join(" ")),
                output.status.to_string(),
                &stderr,
            )));
        }
        let listed = crate::kubeadm::images_list(&String::from_utf8_lossy(&output.stdout));
        if listed.is_empty() {
            return Err(Error::failed("the locked kubeadm listed no images"));
        }
        Ok((control_plane_images(inv, &listed), Outcome::Changed))
    })
    .await
}

/// The cache's files are not executable and stay so: a copy runs, in a directory that goes when it is dropped.
async fn runnable_copy(source: &Path) -> Result<(tempfile::TempDir, PathBuf)> {
    let dir = tempfile::tempdir().writing(&std::env::temp_dir(), None)?;
    let path = dir.path().join("kubeadm");
    let size = tokio::fs::metadata(source).await.ok().map(|m| m.len());
    tokio::fs::copy(source, &path).await.writing(&path, size)?;
    tokio::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).await.writing(&path, size)?;
    Ok((dir, path))
}

async fn lock_image(inv: &Inventory, registries: &Registries<'_>, name: &str, sink: &dyn Sink) -> Result<LockedImage> {
    told(sink, &format!("lock/-/{name}"), name.to_owned(), async {
        let image = ImageName::parse(name)?;
        let pulled = registries.manifest(&image, &image.tag).await.context(|| format!("failed to resolve {name}"))?;
        let mut manifests = BTreeMap::new();
        let json: serde_json::Value =
            serde_json::from_slice(&pulled.bytes).context(|| format!("failed to read the manifest of {name}"))?;
        if INDEX_TYPES.contains(&pulled.media_type.as_str()) {
            for arch in &inv.cluster.arch {
                manifests.insert(arch.as_str().to_owned(), of_arch(name, &json, *arch)?);
            }
        } else if MANIFEST_TYPES.contains(&pulled.media_type.as_str()) {
            let config = json.pointer("/config/digest").and_then(|d| d.as_str()).unwrap_or_default();
            let config: Digest = config.parse().context(|| format!("failed to read the manifest of {name}"))?;
            let found = config_arch(registries, &image, &config).await?;
            let [arch] = inv.cluster.arch.as_slice() else {
                return Err(Error::invalid(format!(
                    "{name} is for one architecture ({found}), the cluster has several"
                )));
            };
            if arch.as_str() != found {
                return Err(Error::invalid(format!("{name} is for {found}, the cluster is {}", arch.as_str())));
            }
            manifests.insert(found, pulled.digest.clone());
        } else {
            return Err(Error::invalid(format!("{name} is no image: its media type is `{}`", pulled.media_type)));
        }
        Ok((LockedImage { name: name.into(), digest: pulled.digest, manifests }, Outcome::Changed))
    })
    .await
}

pub(super) fn of_arch(name: &str, index: &serde_json::Value, arch: Arch) -> Result<Digest> {
    let entries = index.get("manifests").and_then(|m| m.as_array()).cloned().unwrap_or_default();
    let found = entries.iter().find(|e| {
        let at = |p: &str| e.pointer(p).and_then(|v| v.as_str());
        at("/platform/architecture") == Some(arch.as_str()) && at("/platform/os") == Some("linux")
    });
    let digest = found.and_then(|e| e.get("digest")).and_then(|d| d.as_str());
    digest.ok_or_else(|| Error::invalid(format!("{name} has no manifest for linux/{}", arch.as_str())))?.parse()
}

async fn config_arch(registries: &Registries<'_>, image: &ImageName, config: &Digest) -> Result<String> {
    let url = registries.blob_url(image, config);
    let request = registries.blob_request(image, &url).await?;
    let path = fetch(&url, config, request.as_ref(), &|_, _| {}).await?;
    let bytes = tokio::fs::read(&path).await.context(|| format!("failed to read {}", path.display()))?;
    let json: serde_json::Value = serde_json::from_slice(&bytes).context(|| format!("failed to read {url}"))?;
    Ok(json.get("architecture").and_then(|a| a.as_str()).unwrap_or("unknown").to_owned())
}

/// Whether a locked file is an archive whose members the bundle lists.
pub(super) fn is_archive(file: &LockedFile) -> bool {
    file.kind == ArtifactKind::Archive
}
