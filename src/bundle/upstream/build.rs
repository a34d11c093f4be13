//! Upstream's signatures into a bundle, each as an artifact beside what it signs.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::lock::signature_tag;
use crate::bundle::http::client;
use crate::bundle::layout::signature_manifest;
use crate::bundle::lock::told;
use crate::bundle::lockfile::{Lock, LockedSignature};
use crate::bundle::manifest::{Artifact, ArtifactKind, BlobRef, Digest, Verified};
use crate::bundle::place::{bring, write_blob};
use crate::bundle::registry::{ImageName, Registries};
use crate::error::{Context as _, Error, Result};
use crate::exec::{Outcome, Sink};
use crate::inventory::SignatureScheme;

/// Fetches the locked signatures into the bundle at `dir`, adds an artifact for each, and records them with what they
/// sign.
pub(in crate::bundle) async fn add_signatures(
    dir: &Path,
    registries: &Registries<'_>,
    lock: &Lock,
    artifacts: &mut Vec<Artifact>,
    sink: &dyn Sink,
) -> Result<()> {
    let mut seen = BTreeSet::new();
    for locked in &lock.signatures {
        let verified = Verified::UpstreamSignature {
            scheme: locked.scheme,
            key: locked.key.clone(),
            signed: locked.signed.clone(),
            signature: locked.sha256.clone(),
        };
        let step = format!("build/-/signature-{}-{}", locked.name, locked.signed.short());
        let added = told(sink, &step, format!("signature of {}", locked.name), async {
            let added = match locked.scheme {
                SignatureScheme::Cosign => of_image(dir, registries, lock, locked, &verified).await?,
                SignatureScheme::Minisign | SignatureScheme::Openpgp => {
                    of_file(dir, locked, artifacts, &verified).await?
                }
            };
            Ok((added, Outcome::Changed))
        })
        .await?;
        for artifact in artifacts.iter_mut().filter(|a| signs(lock, locked, a)) {
            artifact.verified = verified.clone();
        }
        // Two tags of one image have one signature.
        if seen.insert((added.name.clone(), added.arch)) {
            artifacts.push(added);
        }
    }
    Ok(())
}

/// Whether the signature is that of the artifact.
fn signs(lock: &Lock, locked: &LockedSignature, artifact: &Artifact) -> bool {
    if artifact.name != locked.name || artifact.kind == ArtifactKind::Signature {
        return false;
    }
    match locked.arch {
        Some(arch) => artifact.arch == Some(arch) && artifact.digest == locked.signed,
        None => {
            let of_index = lock.images.iter().any(|i| i.name == locked.name && i.digest == locked.signed);
            artifact.kind == ArtifactKind::Image && (of_index || artifact.digest == locked.signed)
        }
    }
}

async fn of_file(
    dir: &Path,
    locked: &LockedSignature,
    artifacts: &[Artifact],
    verified: &Verified,
) -> Result<Artifact> {
    let broken = || Error::invalid(format!("the lock has a signature of {}, and no such file", locked.name));
    let subject = artifacts
        .iter()
        .find(|a| a.arch == locked.arch && a.name == locked.name && a.digest == locked.signed)
        .ok_or_else(broken)?;
    let request = || Ok(client()?.get(&locked.url));
    let (_, size) = bring(dir, &locked.url, &locked.sha256, &request, &|_, _| {}).await?;
    let media_type = match locked.scheme {
        SignatureScheme::Openpgp => "application/pgp-signature",
        SignatureScheme::Cosign | SignatureScheme::Minisign => "text/plain",
    };
    let blob = BlobRef { digest: locked.sha256.clone(), size, media_type: media_type.into() };
    let title = locked.url.rsplit('/').next().unwrap_or(&locked.name);
    Ok(Artifact {
        kind: ArtifactKind::Signature,
        name: locked.name.clone(),
        version: subject.version.clone(),
        arch: subject.arch,
        digest: locked.sha256.clone(),
        size,
        source: locked.url.clone(),
        verified: verified.clone(),
        manifest: signature_manifest(dir, title, &blob, &subject.manifest).await?,
        blobs: vec![blob],
        members: Vec::new(),
    })
}

/// cosign's own manifest with all it names, as it stands in the registry. When it is over an index, that comes too: it
/// links the signature to the manifests.
async fn of_image(
    dir: &Path,
    registries: &Registries<'_>,
    lock: &Lock,
    locked: &LockedSignature,
    verified: &Verified,
) -> Result<Artifact> {
    let image = ImageName::parse(&locked.name)?;
    let failed = || format!("failed to pull the signature of {}", locked.name);
    let pulled = registries.manifest(&image, &locked.sha256.to_string()).await.context(failed)?;
    write_blob(dir, &pulled.bytes).await?;
    let json: Value = serde_json::from_slice(&pulled.bytes).context(failed)?;
    let blob = |digest: &Digest, size, media_type: &str| BlobRef {
        digest: digest.clone(),
        size,
        media_type: media_type.to_owned(),
    };
    let mut blobs = vec![blob(&locked.sha256, pulled.bytes.len() as u64, &pulled.media_type)];
    let layers = json.get("layers").and_then(Value::as_array).into_iter().flatten();
    for descriptor in json.get("config").into_iter().chain(layers) {
        let text = |key: &str| descriptor.get(key).and_then(Value::as_str).unwrap_or_default();
        let digest: Digest = text("digest").parse().context(failed)?;
        let url = registries.blob_url(&image, &digest);
        let request = registries.blob_request(&image, &url).await?;
        let (_, size) = bring(dir, &url, &digest, request.as_ref(), &|_, _| {}).await?;
        if descriptor.get("size").and_then(Value::as_u64) != Some(size) {
            return Err(Error::invalid(format!("{url} has {size} bytes, its manifest says otherwise")));
        }
        if !blobs.iter().any(|b| b.digest == digest) {
            blobs.push(blob(&digest, size, text("mediaType")));
        }
    }
    let is_manifest = lock.images.iter().any(|i| i.manifests.values().any(|d| *d == locked.signed));
    if !is_manifest {
        let index = registries.manifest(&image, &locked.signed.to_string()).await.context(failed)?;
        write_blob(dir, &index.bytes).await?;
        blobs.push(blob(&locked.signed, index.bytes.len() as u64, &index.media_type));
    }
    let tag = signature_tag(&locked.signed);
    Ok(Artifact {
        kind: ArtifactKind::Signature,
        name: format!("{}/{}:{tag}", image.registry, image.repository),
        version: tag,
        arch: None,
        digest: locked.sha256.clone(),
        size: blobs.iter().map(|b| b.size).sum(),
        source: locked.url.clone(),
        verified: verified.clone(),
        manifest: locked.sha256.clone(),
        blobs,
        members: Vec::new(),
    })
}
