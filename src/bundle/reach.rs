//! The blobs that a bundle's `bundle.json` and `index.json` lead to.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::form::{BLOBS, Contents, blob_name};
use super::manifest::{BundleManifest, Digest};

/// The largest OCI manifest or index that is read, in bytes: what registries take.
const MAX_MANIFEST: u64 = 4 << 20;

/// What is reached.
pub(super) struct Reached {
    /// The blobs, with their sizes where something says them.
    pub(super) blobs: BTreeMap<Digest, Option<u64>>,
    /// What stood in the way, and artifacts that the index does not list.
    pub(super) problems: Vec<String>,
}

/// Follows `index.json` through its manifests to configs and layers, and takes what `bundle.json` names. Blocking; only
/// small files are read.
pub(super) fn reached(contents: &Contents, manifest: &BundleManifest) -> Reached {
    let mut this = Reached { blobs: BTreeMap::new(), problems: Vec::new() };
    let listed = read(contents, "index.json").map(|index| descriptors(&index)).unwrap_or_else(|problem| {
        this.problems.push(problem);
        Vec::new()
    });
    let digests: BTreeSet<String> = listed.iter().map(|d| text(d, "digest").to_owned()).collect();
    this.follow(contents, listed);
    for artifact in &manifest.artifacts {
        if !digests.contains(&artifact.manifest.to_string()) {
            this.problems.push(format!("index.json does not list {}", artifact.name));
        }
        this.add(&artifact.manifest, None);
        for blob in &artifact.blobs {
            this.add(&blob.digest, Some(blob.size));
        }
    }
    this
}

impl Reached {
    /// Whether it was not known before.
    fn add(&mut self, digest: &Digest, size: Option<u64>) -> bool {
        let new = !self.blobs.contains_key(digest);
        let known = self.blobs.entry(digest.clone()).or_insert(size);
        match (&known, size) {
            (Some(a), Some(b)) if *a != b => {
                self.problems.push(format!("{digest} is said to have {a} bytes and {b} bytes"));
            }
            (None, Some(_)) => *known = size,
            _ => {}
        }
        new
    }

    /// Follows descriptors, those in the manifests they name, and so on.
    fn follow(&mut self, contents: &Contents, mut open: Vec<Value>) {
        while let Some(descriptor) = open.pop() {
            let named = text(&descriptor, "digest");
            let Ok(digest) = named.parse::<Digest>() else {
                self.problems.push(format!("a descriptor names `{}`, which is no digest", named.escape_debug()));
                continue;
            };
            let size = descriptor.get("size").and_then(Value::as_u64);
            let media_type = text(&descriptor, "mediaType");
            let lists = ["manifest.v", "index.v", "manifest.list.v"].iter().any(|k| media_type.contains(k));
            if !self.add(&digest, size) || !lists {
                continue;
            }
            match read(contents, &blob_name(&digest)) {
                Ok(manifest) => open.extend(descriptors(&manifest)),
                Err(problem) => self.problems.push(problem),
            }
        }
    }
}

/// The descriptors in an index or a manifest.
fn descriptors(manifest: &Value) -> Vec<Value> {
    let lists = ["manifests", "layers", "blobs"].into_iter().filter_map(|k| manifest.get(k)?.as_array()).flatten();
    lists.chain(manifest.get("config")).cloned().collect()
}

fn text<'a>(descriptor: &'a Value, key: &str) -> &'a str {
    descriptor.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn read(contents: &Contents, name: &str) -> Result<Value, String> {
    let item = contents.files.get(name).ok_or_else(|| match name.strip_prefix(BLOBS) {
        Some(hex) => format!("sha256:{hex} is missing"),
        None => format!("{name} is missing"),
    })?;
    if item.size() > MAX_MANIFEST && name != "index.json" {
        return Err(format!("{name} has {} bytes, no OCI manifest has", item.size()));
    }
    let bytes = contents.small(name).map_err(|e| e.to_string())?.unwrap_or_default();
    serde_json::from_slice(&bytes).map_err(|e| format!("{name} is broken: {e}"))
}
