//! Whether a bundle holds what the inventory's charts and manifests need.
//!
//! The images that were found when the bundle was locked count for as long as all is as it was then: the same chart,
//! values, names and Kubernetes version render to the same images, and nothing has to be run to know them. When the
//! values have changed since, the bundle's own helm renders the chart again, so that a site may change values without
//! a new bundle. A machine that cannot run that helm gets an error rather than a guess.

use std::collections::BTreeSet;
use std::io::{Read, Seek as _, SeekFrom};

use sha2::{Digest as _, Sha256};

use super::helm::{Helm, Release};
use crate::bundle::manifest::{Addon, ArtifactKind, BundleManifest, Digest};
use crate::bundle::store::Bundle;
use crate::error::{Context as _, Error, Result};
use crate::image::full_name;
use crate::inventory::{Arch, Chart, Inventory, RawManifest};

/// The digest of all that decides which images a release uses, but for the chart's own content.
#[must_use]
pub fn addon_inputs(chart: &Chart, kubernetes: &str) -> Digest {
    let all = serde_json::json!([
        chart.name,
        chart.namespace,
        chart.source,
        chart.version,
        chart.values_texts(),
        kubernetes.trim_start_matches('v'),
    ]);
    Digest::of(all.to_string().as_bytes())
}

/// The same for a manifest: where it comes from.
pub(super) fn manifest_inputs(manifest: &RawManifest) -> Digest {
    Digest::of(serde_json::json!([manifest.name, manifest.path, manifest.url, manifest.sha256]).to_string().as_bytes())
}

/// The addons of a bundle as this inventory uses them: charts whose values changed since they were locked are rendered
/// again. Blocks while helm runs.
pub fn known_addons(inv: &Inventory, bundle: &Bundle) -> Result<Vec<Addon>> {
    let mut known = bundle.manifest().addons.clone();
    let mut helm = None;
    for chart in &inv.charts {
        let inputs = addon_inputs(chart, &inv.cluster.version);
        let Some(addon) = known.iter_mut().find(|a| is_of(a, chart)) else { continue };
        let same_chart = chart.version.as_ref().is_none_or(|v| *v == addon.version);
        if addon.inputs == inputs || !same_chart {
            continue;
        }
        let own = Arch::from_uname(std::env::consts::ARCH);
        let Some(archive) = own.and_then(|arch| bundle.manifest().find(ArtifactKind::Archive, "helm", arch)) else {
            continue;
        };
        let helm = match &helm {
            Some(helm) => helm,
            None => helm.insert(Helm::unpack(read(bundle, &archive.digest)?)?),
        };
        let packed = helm.keep(read(bundle, &addon.digest)?)?;
        let images = helm.images(&Release {
            name: &chart.name,
            namespace: &chart.namespace,
            chart: &packed,
            values: &chart.values_texts(),
            kubernetes: inv.cluster.version.trim_start_matches('v'),
        })?;
        (addon.inputs, addon.images) = (inputs, images.into_iter().collect());
    }
    Ok(known)
}

/// The bytes of a blob, hashed before anything is made of them: what runs here is nothing but what the bundle names.
fn read(bundle: &Bundle, digest: &Digest) -> Result<Box<dyn Read>> {
    let (mut blob, mut hasher, mut buffer) = (pieces(bundle, digest)?, Sha256::new(), vec![0; 1 << 20]);
    loop {
        match blob.read(&mut buffer).context(|| format!("failed to read the blob {digest}"))? {
            0 => break,
            n => hasher.update(&buffer[..n]),
        }
    }
    let found = Digest::from_hash(hasher.finalize().as_ref());
    if found != *digest {
        return Err(Error::invalid(format!("the blob {digest} of the bundle hashes to {found}"))
            .hint("`provision bundle verify` names all that is damaged; copy the bundle again from its medium"));
    }
    pieces(bundle, digest)
}

/// The bytes of a blob, wherever in the bundle they lie.
fn pieces(bundle: &Bundle, digest: &Digest) -> Result<Box<dyn Read>> {
    let mut all: Box<dyn Read> = Box::new(std::io::empty());
    for piece in bundle.blob(digest)?.pieces {
        let reading = || format!("failed to read {}", piece.path.display());
        let mut file = std::fs::File::open(&piece.path).context(reading)?;
        file.seek(SeekFrom::Start(piece.offset)).context(reading)?;
        all = Box::new(all.chain(file.take(piece.len)));
    }
    Ok(all)
}

fn is_of(addon: &Addon, chart: &Chart) -> bool {
    addon.kind == ArtifactKind::Chart && addon.name == chart.name && addon.namespace == chart.namespace
}

/// What the inventory's charts and manifests need and the bundle, whose addons are `known`, does not hold. Pure.
#[must_use]
pub fn addon_gaps(inv: &Inventory, manifest: &BundleManifest, known: &[Addon]) -> Vec<String> {
    let mut missing = Vec::new();
    let mut needed: BTreeSet<(String, String)> = BTreeSet::new();
    let mut need = |images: &[String], what: &str| {
        needed.extend(images.iter().map(|i| (full_name(i).unwrap_or_else(|| i.clone()), what.to_owned())));
    };
    for chart in &inv.charts {
        let what = format!("release {}", chart.name);
        need(&chart.images, &what);
        let Some(addon) = known.iter().find(|a| is_of(a, chart)) else {
            missing.push(format!("the chart of {what} in {}", chart.namespace));
            continue;
        };
        match &chart.version {
            Some(version) if *version != addon.version => {
                missing.push(format!("version {version} of the chart of {what} (it has {})", addon.version));
            }
            _ if addon.inputs != addon_inputs(chart, &inv.cluster.version) => missing.push(format!(
                "what {what} needs now: its values or source changed, and no helm in it can tell on this machine"
            )),
            _ => need(&addon.images, &what),
        }
    }
    for wanted in &inv.manifests {
        let what = format!("manifest {}", wanted.name);
        need(&wanted.images, &what);
        let found = known.iter().find(|a| a.kind == ArtifactKind::Manifest && a.name == wanted.name);
        match found {
            Some(addon) if addon.inputs == manifest_inputs(wanted) => need(&addon.images, &what),
            Some(_) => missing.push(format!("{what} as the inventory names it: it comes from another place")),
            None => missing.push(what),
        }
    }
    for arch in &inv.cluster.arch {
        let held = |image: &str| {
            manifest.artifacts.iter().any(|a| a.kind == ArtifactKind::Image && a.arch == Some(*arch) && a.name == image)
        };
        for (image, what) in needed.iter().filter(|(image, _)| !held(image)) {
            missing.push(format!("image {image} for {}, which {what} needs", arch.as_str()));
        }
    }
    missing
}
