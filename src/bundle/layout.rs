//! The OCI image layout of a bundle: what skopeo, oras and podman read without us.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use super::manifest::{Artifact, ArtifactKind, BlobRef, Digest};
use super::place::write_blob;
use crate::error::{Context as _, Error, Result};

/// The media type of an OCI image manifest.
pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The artifact type of binaries, archives and files.
pub(super) const ARTIFACT_TYPE: &str = "application/vnd.provision.artifact.v1";
/// The artifact type of detached signatures of binaries and archives.
pub(super) const SIGNATURE_TYPE: &str = "application/vnd.provision.signature.v1";
/// The media type and the content of an artifact's empty config (OCI image specification 1.1).
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";
const EMPTY: &[u8] = b"{}";

/// Writes the manifest that carries a file as an OCI artifact; the file's blob is there already.
pub(super) async fn artifact_manifest(dir: &Path, title: &str, blob: &BlobRef) -> Result<Digest> {
    let manifest = carrying(dir, title, blob, ARTIFACT_TYPE).await?;
    write_blob(dir, manifest.to_string().as_bytes()).await
}

/// The same for a signature's file; it refers to the manifest of what is signed, which is there already.
pub(super) async fn signature_manifest(dir: &Path, title: &str, blob: &BlobRef, subject: &Digest) -> Result<Digest> {
    let path = dir.join("blobs/sha256").join(subject.hex());
    let size = tokio::fs::metadata(&path).await.context(|| format!("failed to look at {}", path.display()))?.len();
    let mut manifest = carrying(dir, title, blob, SIGNATURE_TYPE).await?;
    manifest["subject"] = json!({ "mediaType": OCI_MANIFEST, "digest": subject.to_string(), "size": size });
    write_blob(dir, manifest.to_string().as_bytes()).await
}

async fn carrying(dir: &Path, title: &str, blob: &BlobRef, artifact_type: &str) -> Result<Value> {
    let config = write_blob(dir, EMPTY).await?;
    Ok(json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": artifact_type,
        "config": { "mediaType": EMPTY_TYPE, "digest": config.to_string(), "size": EMPTY.len() },
        "layers": [{
            "mediaType": blob.media_type, "digest": blob.digest.to_string(), "size": blob.size,
            "annotations": { "org.opencontainers.image.title": title },
        }],
    }))
}

/// Names and versions of packages hold what a reference must not: `libstdc++6`, `1:2.0~rc1`.
fn package_reference(artifact: &Artifact) -> String {
    let plain = |text: &str| text.replace(|c: char| !c.is_ascii_alphanumeric() && !"/.-_".contains(c), "_");
    format!("{}:{}-{}", plain(&artifact.name), plain(&artifact.version), artifact.arch_name())
}

/// Whether a signature is cosign's: it is stored as its registry gave it, under a name of its own.
pub(crate) fn is_of_image(artifact: &Artifact) -> bool {
    artifact.kind == ArtifactKind::Signature && artifact.digest == artifact.manifest
}

/// The digests of the manifests that an `index.json` lists.
///
/// Errors (`Invalid`): no JSON, no list, an entry without a sha256 digest.
pub fn index_digests(text: &str) -> Result<BTreeSet<Digest>> {
    #[derive(serde::Deserialize)]
    struct Index {
        manifests: Vec<Entry>,
    }
    #[derive(serde::Deserialize)]
    struct Entry {
        digest: Digest,
    }
    let index: Index = serde_json::from_str(text).map_err(|e| Error::invalid("index.json is broken").source(e))?;
    Ok(index.manifests.into_iter().map(|entry| entry.digest).collect())
}

/// `index.json` for these artifacts, in their order. `size_of` tells the size of a manifest.
pub(super) fn index(artifacts: &[Artifact], size_of: &dyn Fn(&Artifact) -> Result<u64>) -> Result<String> {
    let mut manifests: Vec<Value> = Vec::new();
    for artifact in artifacts {
        let reference = match artifact.kind {
            ArtifactKind::Image => artifact.name.clone(),
            ArtifactKind::Signature if is_of_image(artifact) => artifact.name.clone(),
            ArtifactKind::Signature => {
                format!("{}:{}-{}.sig", artifact.name, artifact.version, artifact.arch_name())
            }
            // As helm pushes it: a tag has no `+`.
            ArtifactKind::Chart => format!("{}:{}", artifact.name, artifact.version.replace('+', "_")),
            ArtifactKind::Package => package_reference(artifact),
            _ => match artifact.arch {
                Some(arch) => format!("{}:{}-{}", artifact.name, artifact.version, arch.as_str()),
                None => format!("{}:{}", artifact.name, artifact.version),
            },
        };
        let mut annotations = json!({ "org.opencontainers.image.ref.name": reference });
        if artifact.kind == ArtifactKind::Image {
            annotations["io.containerd.image.name"] = json!(artifact.name);
        }
        let media_type = artifact
            .blobs
            .iter()
            .find(|b| b.digest == artifact.manifest)
            .map_or(OCI_MANIFEST, |b| b.media_type.as_str());
        let mut entry = json!({
            "mediaType": media_type,
            "digest": artifact.manifest.to_string(),
            "size": size_of(artifact)?,
            "annotations": annotations,
        });
        let is_of_image = is_of_image(artifact);
        if let Some(arch) = artifact.arch.filter(|_| !is_of_image) {
            entry["platform"] = json!({ "architecture": arch.as_str(), "os": "linux" });
        }
        match artifact.kind {
            ArtifactKind::Image | ArtifactKind::Chart => {}
            ArtifactKind::Signature if is_of_image => {}
            ArtifactKind::Signature => entry["artifactType"] = json!(SIGNATURE_TYPE),
            _ => entry["artifactType"] = json!(ARTIFACT_TYPE),
        }
        manifests.push(entry);
    }
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": manifests,
    });
    Ok(format!("{}\n", serde_json::to_string_pretty(&index).context(|| "failed to write index.json".into())?))
}
