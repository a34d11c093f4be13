//! A delta: a bundle without the blobs that the far side has already. `delta.json` says what was left out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::form::{Contents, Hashing, Item, Output, Written, blob_name, write};
use super::known::Known;
use super::lockfile::Lock;
use super::manifest::{BundleManifest, Digest};
use super::store::Bundle;
use crate::error::{Error, Result};
use crate::exec::Sink;

/// The file that marks a delta.
pub(super) const DELTA: &str = "delta.json";
/// The version of `delta.json` this program writes and the newest it reads.
pub const DELTA_FORMAT: u32 = 1;

/// The whole of `delta.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delta {
    /// [`DELTA_FORMAT`] when written.
    pub format_version: u32,
    /// Who has what was left out.
    pub bases: Vec<Base>,
    /// The blobs left out, with their sizes in bytes.
    pub left_out: BTreeMap<Digest, u64>,
}

/// A bundle that the far side has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Base {
    /// The digest of its `bundle.json`.
    Bundle(Digest),
    /// The digest of the lock it was built from.
    Lock(Digest),
}

impl Base {
    /// Whether this bundle is the one.
    pub(super) fn is(&self, bundle: &Bundle) -> bool {
        match self {
            Self::Bundle(digest) => *digest == bundle.digest(),
            Self::Lock(digest) => *digest == bundle.manifest().lock,
        }
    }
}

impl std::fmt::Display for Base {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bundle(digest) => write!(f, "the bundle whose bundle.json is {digest}"),
            Self::Lock(digest) => write!(f, "the bundle built from the lock {digest}"),
        }
    }
}

impl Delta {
    pub(super) fn parse(bytes: &[u8], place: &Path) -> Result<Self> {
        let broken = || Error::invalid(format!("{} in {} is broken", DELTA, place.display()));
        let delta: Self = serde_json::from_slice(bytes).map_err(|e| broken().source(e))?;
        if delta.format_version > DELTA_FORMAT {
            return Err(Error::invalid(format!("{DELTA} in {} has format {}", place.display(), delta.format_version))
                .hint("it was made by a newer provision: use that one"));
        }
        if delta.bases.is_empty() { Err(broken()) } else { Ok(delta) }
    }

    fn to_json(&self) -> Vec<u8> {
        // Serialising plain structs has no failing path.
        let mut text = serde_json::to_vec_pretty(self).unwrap_or_default();
        text.push(b'\n');
        text
    }

    /// The bytes left out.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.left_out.values().fold(0, |sum, n| sum.saturating_add(*n))
    }

    /// Why a delta cannot be used as it is.
    pub(super) fn partial(&self, place: &Path) -> Error {
        let bases: Vec<String> = self.bases.iter().map(ToString::to_string).collect();
        Error::invalid(format!(
            "{} is a delta: {} blobs ({} bytes) are not in it, but in {}",
            place.display(),
            self.left_out.len(),
            self.bytes(),
            bases.join(" and in ")
        ))
        .hint(format!("make it whole: provision bundle merge BASE {} --out BUNDLE", place.display()))
    }
}

/// Writes `bundle` to `out` without the blobs that the bundles, manifests or locks in `have` name. Returns the delta
/// too; none when nothing could be left out and the whole was written.
pub async fn delta(
    have: &[PathBuf],
    bundle: &Path,
    out: &Output,
    sink: Arc<dyn Sink>,
) -> Result<(Option<Delta>, Written)> {
    let whole = Bundle::open(bundle)?;
    let mut delta = Delta { format_version: DELTA_FORMAT, bases: Vec::new(), left_out: BTreeMap::new() };
    for path in have {
        let (base, known) = match Known::load(path)? {
            Known::Lock(lock) => (Base::Lock(lock.digest()?), of_lock(&lock, whole.manifest())),
            Known::Manifest(manifest) => (Base::Bundle(manifest.digest()), of_manifest(&manifest)),
            Known::Bundle(bundle) => (Base::Bundle(bundle.digest()), of_manifest(bundle.manifest())),
        };
        let before = delta.left_out.len();
        for digest in known {
            if let Some(blob) = whole.contents.blob(&digest) {
                delta.left_out.insert(digest, blob.size());
            }
        }
        if delta.left_out.len() > before {
            delta.bases.push(base);
        }
    }
    delta.bases.sort();
    delta.bases.dedup();
    let mut contents: Contents = whole.contents;
    contents.files.retain(|name, _| !super::form::promised(name).is_some_and(|d| delta.left_out.contains_key(&d)));
    let delta = Some(delta).filter(|d| !d.left_out.is_empty());
    if let Some(delta) = &delta {
        contents.files.insert(DELTA.into(), Item::Made(delta.to_json()));
    }
    let written = write(contents, out, Hashing::All, sink).await?;
    Ok((delta, written))
}

/// The blobs that a bundle with this manifest has.
fn of_manifest(manifest: &BundleManifest) -> BTreeSet<Digest> {
    let blobs = manifest.artifacts.iter().flat_map(|a| a.blobs.iter().map(|b| &b.digest));
    blobs.chain(manifest.artifacts.iter().map(|a| &a.manifest)).cloned().collect()
}

/// The blobs of `manifest` that a bundle of this lock has: those of the artifacts that the lock pins too.
fn of_lock(lock: &Lock, manifest: &BundleManifest) -> BTreeSet<Digest> {
    let files = lock.files.iter().map(|f| &f.sha256).chain(lock.packages.iter().map(|p| &p.sha256));
    let addons = lock.charts.iter().map(|c| &c.sha256).chain(lock.manifests.iter().map(|m| &m.sha256));
    let signatures = lock.signatures.iter().map(|s| &s.sha256);
    let pinned: BTreeSet<&Digest> =
        files.chain(addons).chain(signatures).chain(lock.images.iter().flat_map(|i| i.manifests.values())).collect();
    let shared = manifest.artifacts.iter().filter(|a| pinned.contains(&a.digest));
    shared.flat_map(|a| a.blobs.iter().map(|b| b.digest.clone())).collect()
}

/// Puts deltas and what they were made against together. The order of `inputs` does not matter: what is made is what
/// the one delta is of that no other was made against. It is verified as if it had come in one piece, then written.
///
/// Errors (`Invalid`): no delta, several that lead to different bundles, a base that is missing (named), damage.
pub async fn merge(inputs: &[PathBuf], out: &Output, sink: Arc<dyn Sink>) -> Result<(BundleManifest, Written)> {
    out.check()?;
    let all: Vec<Bundle> = inputs.iter().map(|path| Bundle::open_any(path)).collect::<Result<_>>()?;
    let goal = goal(&all)?;
    let parts = || all.iter().filter(|b| b.delta.is_some() && b.digest() == goal);
    let (mut files, mut missing) = (BTreeMap::new(), BTreeMap::new());
    for part in parts() {
        for (name, item) in part.contents.files.iter().filter(|(name, _)| *name != DELTA) {
            files.entry(name.clone()).or_insert_with(|| item.clone());
        }
    }
    for (digest, size) in parts().filter_map(|p| p.delta.as_ref()).flat_map(|d| &d.left_out) {
        let name = blob_name(digest);
        if files.contains_key(&name) {
            continue;
        }
        match all.iter().find_map(|b| b.contents.files.get(&name)) {
            Some(item) => drop(files.insert(name, item.clone())),
            None => drop(missing.insert(digest, *size)),
        }
    }
    if !missing.is_empty() {
        return Err(lacking(&all, &goal, &missing));
    }
    let Some(first) = parts().next() else {
        return Err(Error::invalid("none of these bundles is a delta"));
    };
    let contents = Contents { place: first.place().clone(), volumes: None, files };
    let whole = Bundle { contents, manifest: first.manifest.clone(), delta: None };
    whole.verify(sink.as_ref()).await?;
    let written = write(whole.contents, out, Hashing::Copies, sink).await?;
    Ok((whole.manifest, written))
}

/// The digest of the bundle that the deltas lead to.
fn goal(all: &[Bundle]) -> Result<Digest> {
    let deltas: Vec<&Bundle> = all.iter().filter(|b| b.delta.is_some()).collect();
    let made_from = |o: &Bundle, b: &Bundle| {
        // What was made against the very same bundle leads to it and not away from it.
        o.digest() != b.digest() && o.delta.as_ref().is_some_and(|d| d.bases.iter().any(|base| base.is(b)))
    };
    let is_base = |b: &Bundle| all.iter().any(|o| made_from(o, b));
    let heads: BTreeMap<Digest, &Bundle> = deltas.iter().filter(|b| !is_base(b)).map(|b| (b.digest(), *b)).collect();
    let mut digests = heads.keys();
    match (digests.next(), digests.next()) {
        (Some(only), None) => Ok(only.clone()),
        (None, _) if deltas.is_empty() => {
            Err(Error::invalid("none of these bundles is a delta: there is nothing to merge")
                .hint("`provision bundle delta` makes one"))
        }
        (None, _) => Err(Error::invalid("each of these deltas was made against another of them")
            .hint("name the deltas up to the bundle you want, not those back")),
        _ => {
            let lines: String =
                heads.values().map(|b| format!("\n  {}: {}", b.place().display(), b.digest())).collect();
            Err(Error::invalid(format!("these deltas lead to different bundles:{lines}"))
                .hint("name only those that lead to the bundle you want"))
        }
    }
}

/// Names the bases that are not among `all`, however many deltas lie between.
fn lacking(all: &[Bundle], goal: &Digest, missing: &BTreeMap<&Digest, u64>) -> Error {
    let (mut unknown, mut seen) = (BTreeSet::new(), BTreeSet::new());
    let mut open = vec![goal.clone()];
    while let Some(digest) = open.pop() {
        if !seen.insert(digest.clone()) {
            continue;
        }
        let deltas = all.iter().filter(|b| b.digest() == digest).filter_map(|b| b.delta.as_ref());
        for base in deltas.flat_map(|d| &d.bases) {
            let found: Vec<Digest> = all.iter().filter(|b| base.is(b)).map(Bundle::digest).collect();
            if found.is_empty() {
                unknown.insert(base.to_string());
            }
            open.extend(found);
        }
    }
    let bytes = missing.values().fold(0_u64, |sum, n| sum.saturating_add(*n));
    let what = format!("{} blobs ({bytes} bytes) of the bundle {goal} are in none of these bundles", missing.len());
    if unknown.is_empty() {
        let first = missing.keys().map(ToString::to_string).next().unwrap_or_default();
        return Error::invalid(format!("{what}, {first} among them"))
            .hint("a base was pruned or is damaged: `provision bundle verify` tells");
    }
    let given: String = all.iter().map(|b| format!("\n  {}: {}", b.place().display(), b.digest())).collect();
    let unknown: Vec<String> = unknown.into_iter().collect();
    Error::invalid(format!("{what}; missing is {}; given were:{given}", unknown.join(" and ")))
        .hint("name the base that is missing too, whole or as a delta with its own base")
}
