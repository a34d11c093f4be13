//! Asking upstream for its signatures, and pinning those that hold.

use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};

use super::cosign::{CosignKey, CosignSignature, CosignWorth, cosign_signatures, cosign_worth};
use super::files::{minisign_holds, openpgp_holds};
use super::rules::{Key, Rules};
use crate::bundle::blob::Blob;
use crate::bundle::fetch::fetch;
use crate::bundle::http::{client, get_bytes_by};
use crate::bundle::lock::told;
use crate::bundle::lockfile::{Lock, LockedFile, LockedImage, LockedSignature};
use crate::bundle::manifest::{ArtifactKind, Digest};
use crate::bundle::registry::{ImageName, Pulled, Registries};
use crate::error::{Context as _, Error, Result};
use crate::exec::{Event, Outcome, Sink};
use crate::inventory::{Inventory, SignatureScheme};

const CONCURRENCY: usize = 8;
/// The largest detached signature, or JSON that cosign signs, that is read, in bytes.
pub(super) const MAX_SIGNATURE: usize = 64 << 10;
/// What cosign's signatures are called in a registry's list of what refers to an image; the last where cosign keeps the
/// list itself, because the registry does not.
const REFERRERS: [&str; 3] = [
    "application/vnd.dev.cosign.artifact.sig.v1+json",
    "application/vnd.dev.sigstore.bundle.v0.3+json",
    "application/vnd.oci.empty.v1+json",
];

/// Checks the signatures of all that `[[trust.upstream]]` matches, and puts them into the lock, each by its digest.
///
/// Errors (`Invalid`): a signature that is missing, wrong, by another key or for something else; an entry that matches
/// nothing.
pub async fn lock_signatures(inv: &Inventory, lock: &mut Lock, sink: Arc<dyn Sink>) -> Result<()> {
    let rules = Rules::read(inv)?;
    let files = lock.files.iter().map(|f| (f.kind, f.name.as_str()));
    rules.all_used(files.chain(lock.images.iter().map(|i| (ArtifactKind::Image, i.name.as_str()))))?;
    let registries = Registries::new(&inv.sources);
    let (registries, sink) = (&registries, sink.as_ref());
    let files = lock.files.iter().filter_map(|file| Some((file, rules.of(file.kind, &file.name)?)));
    let files: Vec<LockedSignature> = futures::stream::iter(files.map(|(file, key)| of_file(file, key, sink)))
        .buffer_unordered(CONCURRENCY)
        .try_collect()
        .await?;
    let images = lock.images.iter().filter_map(|image| match rules.of(ArtifactKind::Image, &image.name)? {
        Key::Cosign(keys) => Some((image, keys)),
        Key::Minisign(_) | Key::Openpgp(_) => None,
    });
    let images: Vec<Vec<LockedSignature>> =
        futures::stream::iter(images.map(|(image, keys)| of_image(registries, image, keys, sink)))
            .buffer_unordered(CONCURRENCY)
            .try_collect()
            .await?;
    lock.signatures = images.into_iter().flatten().chain(files).collect();
    lock.signatures.sort();
    Ok(())
}

fn unsigned(what: &str, why: &str) -> Error {
    Error::invalid(format!("{what} is not signed by its upstream as the inventory asks: {why}"))
        .hint(
            "is the key in [[trust.upstream]] the one that upstream publishes, and does it sign this version with it?",
        )
        .hint("leave the entry out only if these bytes are to be trusted without: they are then recorded as not signed")
}

async fn of_file(file: &LockedFile, key: &Key, sink: &dyn Sink) -> Result<LockedSignature> {
    let step = format!("lock/-/signature-{}-{}", file.name, file.arch.as_str());
    told(sink, &step, format!("signature of {} {}", file.name, file.version), async {
        let shown = format!("{} {} for {}", file.name, file.version, file.arch.as_str());
        let suffixes: &[&str] = match key {
            Key::Minisign(_) => &[".minisig"],
            Key::Openpgp(_) | Key::Cosign(_) => &[".asc", ".sig"],
        };
        let mut found = None;
        for suffix in suffixes {
            let url = format!("{}{suffix}", file.url);
            if let Some(bytes) = get_bytes_by(&url, MAX_SIGNATURE, &|| Ok(client()?.get(&url))).await? {
                found = Some((url, bytes));
                break;
            }
        }
        let Some((url, bytes)) = found else {
            return Err(unsigned(&shown, &format!("there is no {}{}", file.url, suffixes.join(" and no other with "))));
        };
        let request = || Ok(client()?.get(&file.url));
        let progress = |done, total| sink.event(&Event::Progress { step: step.clone(), done, total });
        let path = fetch(&file.url, &file.sha256, &request, &progress).await?;
        let blob = Blob::of_file(&path)?;
        let open = || Ok(Box::new(blob.reader()) as Box<dyn std::io::Read>);
        let held = match key {
            Key::Minisign(key) => minisign_holds(key, &file.url, &open, &bytes),
            Key::Openpgp(keys) => openpgp_holds(keys, &file.url, &open, &bytes),
            Key::Cosign(_) => Err(Error::invalid("cosign's keys are for images")),
        };
        let by = held
            .map_err(|e| if e.kind() == crate::error::Kind::Invalid { unsigned(&shown, &url).source(e) } else { e })?;
        let locked = LockedSignature {
            name: file.name.clone(),
            arch: Some(file.arch),
            scheme: key.scheme(),
            key: by,
            signed: file.sha256.clone(),
            sha256: Digest::of(&bytes),
            url,
        };
        Ok((locked, Outcome::Changed))
    })
    .await
}

/// cosign signs what a tag names: the index, or with `--recursive` every manifest in it too. The manifests' signatures are
/// taken when all that go into the bundle have one: those cosign finds again on the far side, where there is no such index.
async fn of_image(
    registries: &Registries<'_>,
    image: &LockedImage,
    keys: &[CosignKey],
    sink: &dyn Sink,
) -> Result<Vec<LockedSignature>> {
    told(sink, &format!("lock/-/signature-{}", image.name), format!("signature of {}", image.name), async {
        let mut all = Vec::new();
        for digest in image.manifests.values() {
            all.extend(over(registries, image, keys, digest).await?.ok());
        }
        if all.len() == image.manifests.len() && !all.is_empty() {
            return Ok((all, Outcome::Changed));
        }
        match over(registries, image, keys, &image.digest).await? {
            Ok(signature) => Ok((vec![signature], Outcome::Changed)),
            Err(why) => Err(unsigned(&image.name, &why)),
        }
    })
    .await
}

/// The signature over this digest, or why there is none that counts.
async fn over(
    registries: &Registries<'_>,
    image: &LockedImage,
    keys: &[CosignKey],
    signed: &Digest,
) -> Result<std::result::Result<LockedSignature, String>> {
    let name = ImageName::parse(&image.name)?;
    let reading = || format!("failed to read the signatures of {}", image.name);
    let mut places: Vec<Pulled> =
        registries.manifest_if_any(&name, &signature_tag(signed)).await.context(reading)?.into_iter().collect();
    for digest in registries.referrers(&name, signed, &REFERRERS).await.context(reading)? {
        places.extend(registries.manifest_if_any(&name, &digest.to_string()).await.context(reading)?);
    }
    let mut why = None;
    for place in places {
        let mut found: Vec<(CosignSignature, Vec<u8>)> = Vec::new();
        for signature in cosign_signatures(&place.bytes).map_err(|e| unsigned(&image.name, &e.to_string()))? {
            let payload = payload(registries, &name, &signature).await.context(reading)?;
            found.push((signature, payload));
        }
        if found.is_empty() {
            continue;
        }
        match cosign_worth(keys, &found, signed) {
            CosignWorth::Signed(key) => {
                let url = registries.blob_url(&name, &place.digest).replace("/blobs/", "/manifests/");
                return Ok(Ok(LockedSignature {
                    name: image.name.clone(),
                    arch: None,
                    scheme: SignatureScheme::Cosign,
                    key: key.to_string(),
                    signed: signed.clone(),
                    sha256: place.digest,
                    url,
                }));
            }
            CosignWorth::Not(reason) => why = Some(reason),
        }
    }
    Ok(Err(why.unwrap_or_else(|| {
        format!("there is no signature at {}, and nothing that refers to {signed}", signature_tag(signed))
    })))
}

/// The tag that cosign puts the signatures of a digest under.
pub(in crate::bundle) fn signature_tag(signed: &Digest) -> String {
    format!("sha256-{}.sig", signed.hex())
}

async fn payload(registries: &Registries<'_>, image: &ImageName, signature: &CosignSignature) -> Result<Vec<u8>> {
    if signature.size > MAX_SIGNATURE as u64 {
        return Err(Error::invalid(format!("{} is larger than what cosign signs", signature.payload)));
    }
    let url = registries.blob_url(image, &signature.payload);
    let request = registries.blob_request(image, &url).await?;
    let path = fetch(&url, &signature.payload, request.as_ref(), &|_, _| {}).await?;
    let bytes = tokio::fs::read(&path).await.context(|| format!("failed to read {}", path.display()))?;
    // What is in the cache came from anywhere and may be as large as it likes: its name is not the manifest's word.
    if bytes.len() as u64 == signature.size {
        Ok(bytes)
    } else {
        Err(Error::invalid(format!("{url} has {} bytes, its manifest says {}", bytes.len(), signature.size)))
    }
}
