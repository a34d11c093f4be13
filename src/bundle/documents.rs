//! The documents that come with a bundle: bills of materials and provenance, written at build, checked by verify.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use tokio::io::AsyncReadExt as _;

use super::full::Writing as _;
use super::licences::Labels;
use super::manifest::{ArtifactKind, Digest};
use super::provenance::{Provenance, provenance, provenance_problems};
use super::sbom::{cyclonedx, same_facts, spdx};
use super::store::Bundle;
use crate::error::Result;
use crate::inventory::Sources;

const CYCLONEDX: &str = "sbom.cdx.json";
const SPDX: &str = "sbom.spdx.json";
const PROVENANCE: &str = "provenance.json";
/// The files that the provenance vouches for.
const SUBJECTS: [&str; 4] = ["bundle.json", "index.json", CYCLONEDX, SPDX];

/// What OCI calls the licences of an image, in labels and annotations.
const LICENCES: &str = "org.opencontainers.image.licenses";
/// The largest manifest or config of an image that is looked into for its label, in bytes.
const MAX_LOOK: u64 = 4 << 20;
/// The longest label taken, in bytes: a longer one is no licence's name.
const MAX_LABEL: usize = 1024;

/// Who makes a bundle, of what.
#[derive(Debug, Clone, Copy)]
pub struct Maker<'a> {
    /// Where everything is fetched from.
    pub sources: &'a Sources,
    /// Who says to build it; goes into the provenance as it is.
    pub builder: &'a str,
}

/// What the bundle's images say of their licences. An image whose blobs are not there, or not what they should be, says
/// nothing.
pub async fn image_labels(bundle: &Bundle) -> Labels {
    let mut labels = Labels::new();
    for image in bundle.manifest().artifacts.iter().filter(|a| a.kind == ArtifactKind::Image) {
        let Some(manifest) = json_blob(bundle, &image.digest).await else { continue };
        let config = manifest.pointer("/config/digest").and_then(Value::as_str).and_then(|d| d.parse().ok());
        let said = match label(manifest.get("annotations")) {
            Some(said) => Some(said),
            None => match config {
                Some(config) => json_blob(bundle, &config).await.and_then(|c| label(c.pointer("/config/Labels"))),
                None => None,
            },
        };
        labels.extend(said.map(|said| (image.digest.clone(), said)));
    }
    labels
}

fn label(labels: Option<&Value>) -> Option<String> {
    let said = labels?.get(LICENCES)?.as_str()?.trim();
    (!said.is_empty() && said.len() <= MAX_LABEL).then(|| said.to_owned())
}

async fn json_blob(bundle: &Bundle, digest: &Digest) -> Option<Value> {
    let blob = bundle.blob(digest).ok().filter(|b| b.size() <= MAX_LOOK)?;
    let mut bytes = Vec::new();
    blob.read(0, MAX_LOOK).await.ok()?.read_to_end(&mut bytes).await.ok()?;
    (Digest::of(&bytes) == *digest).then(|| serde_json::from_slice(&bytes).ok())?
}

/// Writes the bills of materials and the provenance into the bundle's directory; all else is there already.
pub async fn write_documents(dir: &Path, maker: &Maker<'_>) -> Result<()> {
    let bundle = Bundle::open(dir)?;
    let labels = image_labels(&bundle).await;
    write(dir, CYCLONEDX, &cyclonedx(bundle.manifest(), &labels)).await?;
    write(dir, SPDX, &spdx(bundle.manifest(), &labels)).await?;
    let statement = provenance(&Provenance {
        manifest: bundle.manifest(),
        // Opened anew: the bills are among its files only now.
        subjects: &subjects(&Bundle::open(dir)?),
        builder: maker.builder,
        sources: maker.sources,
    });
    write(dir, PROVENANCE, &statement).await
}

async fn write(dir: &Path, name: &str, text: &str) -> Result<()> {
    let path = dir.join(name);
    tokio::fs::write(&path, text).await.writing(&path, Some(text.len() as u64))
}

/// The digests of the files that the provenance vouches for, as they are; without those that cannot be read.
fn subjects(bundle: &Bundle) -> BTreeMap<&'static str, Digest> {
    let digest = |name| Some((name, Digest::of(&bundle.file(name).ok()??)));
    SUBJECTS.into_iter().filter_map(digest).collect()
}

/// What is wrong with the documents. The bills are compared only when the blobs are `whole`: licences are read from them.
pub(super) async fn document_problems(bundle: &Bundle, whole: bool) -> Vec<String> {
    let text = |name| String::from_utf8(bundle.file(name).ok()??).ok();
    let missing = |name| format!("{name} is missing or broken");
    let mut problems = Vec::new();
    match text(PROVENANCE) {
        Some(text) => {
            let wrong = provenance_problems(&text, bundle.manifest(), &subjects(bundle));
            problems.extend(wrong.into_iter().map(|p| format!("{PROVENANCE}: {p}")));
        }
        None => problems.push(missing(PROVENANCE)),
    }
    let labels = if whole { image_labels(bundle).await } else { Labels::new() };
    for (name, make) in [(CYCLONEDX, cyclonedx as fn(&_, &_) -> String), (SPDX, spdx)] {
        match text(name) {
            Some(found) if whole && !same_facts(&found, &make(bundle.manifest(), &labels)) => {
                problems.push(format!("{name} does not say what bundle.json gives"));
            }
            Some(_) => {}
            None => problems.push(missing(name)),
        }
    }
    problems
}
