//! All that a bundle has, as repositories, tags, manifests and blobs.

use std::collections::{BTreeMap, HashMap};

use serde_json::json;
use tokio::io::AsyncReadExt as _;

use super::names::{Place, place};
use super::routes::order;
use crate::bundle::{Artifact, ArtifactKind, Blob, Bundle, Digest, INDEX_TYPES, OCI_MANIFEST};
use crate::error::{Context as _, Error, Result};

/// The largest manifest taken, in bytes (the protocol asks registries for at least 4 MiB).
const MAX_MANIFEST: u64 = 4 << 20;

/// A bundle as a registry has it.
#[derive(Debug)]
pub struct Catalog {
    /// The repositories by name.
    pub repositories: BTreeMap<String, Repository>,
    /// Where every blob lies, the manifests of the bundle among them.
    pub blobs: HashMap<Digest, Blob>,
    by_upstream: HashMap<String, Vec<(String, String)>>,
}

/// A repository.
#[derive(Debug, Default)]
pub struct Repository {
    /// What each tag names.
    pub tags: BTreeMap<String, Digest>,
    /// The manifests by digest.
    pub manifests: BTreeMap<Digest, Manifest>,
    /// The sizes of the other blobs, by digest.
    pub blobs: BTreeMap<Digest, u64>,
}

/// A manifest or an index.
#[derive(Debug)]
pub struct Manifest {
    /// Its media type.
    pub media_type: String,
    /// Its size in bytes.
    pub size: u64,
    /// What it refers to, when it is a signature or the like.
    pub refers: Option<Refers>,
    /// The bytes of an index that we made of the bundle's manifests; a manifest of the bundle is read from there.
    pub made: Option<Vec<u8>>,
}

/// What a manifest says of itself when it refers to another.
#[derive(Debug)]
pub struct Refers {
    /// The manifest it is about.
    pub subject: Digest,
    /// Its own type: of the artifact, else of its config.
    pub artifact_type: String,
    /// Its annotations.
    pub annotations: serde_json::Value,
}

impl Refers {
    fn read(manifest: &serde_json::Value) -> Option<Self> {
        let text = |at: &str| manifest.pointer(at).and_then(|v| v.as_str());
        Some(Self {
            subject: text("/subject/digest")?.parse().ok()?,
            artifact_type: text("/artifactType").or_else(|| text("/config/mediaType")).unwrap_or_default().to_owned(),
            annotations: manifest.get("annotations").cloned().unwrap_or_default(),
        })
    }
}

impl Catalog {
    /// Reads the manifests of a bundle; no other blob is looked at beyond its place.
    ///
    /// Errors (`Invalid`): a manifest or a blob is missing, or a manifest is not what its digest says.
    pub async fn read(bundle: &Bundle) -> Result<Self> {
        let mut this = Self { repositories: BTreeMap::new(), blobs: HashMap::new(), by_upstream: HashMap::new() };
        let mut tagged: BTreeMap<(String, String), Vec<&Artifact>> = BTreeMap::new();
        for artifact in &bundle.manifest().artifacts {
            let place = place(artifact)?;
            this.add(bundle, artifact, &place).await.context(|| format!("failed to serve {}", artifact.name))?;
            if let Some((host, repository)) = place.upstream {
                let known = this.by_upstream.entry(repository).or_default();
                if !known.iter().any(|(h, _)| *h == host) {
                    known.push((host, place.repository.clone()));
                }
            }
            tagged.entry((place.repository, place.tag)).or_default().push(artifact);
        }
        for ((repository, tag), artifacts) in tagged {
            let repository = this.repositories.entry(repository).or_default();
            let digest = tag_target(repository, &artifacts)?;
            repository.tags.insert(tag, digest);
        }
        Ok(this)
    }

    async fn add(&mut self, bundle: &Bundle, artifact: &Artifact, place: &Place) -> Result<()> {
        let digest = &artifact.manifest;
        let size = self.locate(bundle, digest)?;
        let bytes = read_manifest(&self.blobs[digest], digest).await?;
        let json: serde_json::Value =
            serde_json::from_slice(&bytes).map_err(|e| Error::invalid(format!("{digest} is no manifest")).source(e))?;
        let media_type = artifact
            .blobs
            .iter()
            .find(|b| b.digest == *digest)
            .map(|b| b.media_type.as_str())
            .or_else(|| json.get("mediaType").and_then(|m| m.as_str()))
            .unwrap_or(OCI_MANIFEST)
            .to_owned();
        let layers = json.get("layers").and_then(|l| l.as_array()).into_iter().flatten();
        let mut named = Vec::new();
        for descriptor in json.get("config").into_iter().chain(layers) {
            let text = descriptor.get("digest").and_then(|d| d.as_str()).unwrap_or_default();
            let blob: Digest = text.parse().context(|| format!("failed to read the manifest {digest}"))?;
            let found = self.locate(bundle, &blob)?;
            if descriptor.get("size").and_then(serde_json::Value::as_u64) != Some(found) {
                return Err(Error::invalid(format!("{blob} has {found} bytes, its manifest {digest} says otherwise")));
            }
            named.push((blob, found));
        }
        let repository = self.repositories.entry(place.repository.clone()).or_default();
        repository.blobs.extend(named);
        repository
            .manifests
            .insert(digest.clone(), Manifest { media_type, size, refers: Refers::read(&json), made: None });
        Ok(())
    }

    /// Finds a blob; the bundle knows whether all its bytes are there. Its size.
    fn locate(&mut self, bundle: &Bundle, digest: &Digest) -> Result<u64> {
        if let Some(known) = self.blobs.get(digest) {
            return Ok(known.size());
        }
        let blob = bundle.blob(digest)?;
        let size = blob.size();
        self.blobs.insert(digest.clone(), blob);
        Ok(size)
    }

    /// The repository that is asked for: by its full name, or by its name at its upstream registry when containerd says
    /// which that is (`ns`), or when only one registry has it. An image of one registry is never given for another's.
    #[must_use]
    pub fn find(&self, name: &str, ns: Option<&str>) -> Option<&Repository> {
        let upstream = self.by_upstream.get(name).map(Vec::as_slice).unwrap_or_default();
        let full = match ns {
            Some(ns) => match upstream.iter().find(|(host, _)| host == ns) {
                Some((_, full)) => full,
                // A mirror whose URL carries the registry in its path.
                None => self
                    .by_upstream
                    .values()
                    .flatten()
                    .find(|(host, full)| host == ns && full == name)
                    .map(|(_, f)| f)?,
            },
            None if self.repositories.contains_key(name) => name,
            None => match upstream {
                [(_, only)] => only,
                _ => return None,
            },
        };
        self.repositories.get(full)
    }
}

/// The bytes of a manifest, proven.
///
/// Errors (`Invalid`): larger than a manifest may be, or not what its digest says.
pub(super) async fn read_manifest(blob: &Blob, digest: &Digest) -> Result<Vec<u8>> {
    if blob.size() > MAX_MANIFEST {
        return Err(Error::invalid(format!("{digest} is larger than a manifest may be")));
    }
    let mut bytes = Vec::new();
    blob.read(0, blob.size()).await?.read_to_end(&mut bytes).await.context(|| format!("failed to read {digest}"))?;
    let found = Digest::of(&bytes);
    if found != *digest {
        return Err(Error::invalid(format!("the manifest {digest} in the bundle hashes to {found}"))
            .hint("copy the bundle again from its medium, or build it again"));
    }
    Ok(bytes)
}

/// What a tag names: the manifest, or an index of them when there is one for each architecture. The index is made of
/// nothing but the artifacts, so every host that serves the bundle gives the same.
fn tag_target(repository: &mut Repository, artifacts: &[&Artifact]) -> Result<Digest> {
    let mut each: Vec<&&Artifact> = artifacts.iter().collect();
    each.sort_by_key(|a| (a.arch, &a.manifest));
    each.dedup_by_key(|a| &a.manifest);
    let [first, rest @ ..] = each.as_slice() else {
        return Err(Error::invalid("a tag without an artifact"));
    };
    if rest.is_empty() {
        return Ok(first.manifest.clone());
    }
    if first.kind != ArtifactKind::Image {
        return Err(Error::invalid(format!("the bundle has two artifacts {} {}", first.name, first.version)));
    }
    let entries: Vec<_> = each
        .iter()
        .filter_map(|a| {
            let known = repository.manifests.get(&a.manifest)?;
            let mut entry =
                json!({ "mediaType": known.media_type, "digest": a.manifest.to_string(), "size": known.size });
            if let Some(arch) = a.arch {
                entry["platform"] = json!({ "architecture": arch.as_str(), "os": "linux" });
            }
            Some(entry)
        })
        .collect();
    let index =
        json!({ "schemaVersion": 2, "mediaType": INDEX_TYPES[0], "manifests": entries }).to_string().into_bytes();
    let digest = Digest::of(&index);
    let manifest =
        Manifest { media_type: INDEX_TYPES[0].into(), size: index.len() as u64, refers: None, made: Some(index) };
    repository.manifests.insert(digest.clone(), manifest);
    Ok(digest)
}

impl Repository {
    /// The descriptors of the manifests that refer to this one; only of one type when that is asked for.
    #[must_use]
    pub fn referrers(&self, subject: &Digest, artifact_type: Option<&str>) -> Vec<serde_json::Value> {
        let all = self.manifests.iter().filter_map(|(digest, m)| Some((digest, m, m.refers.as_ref()?)));
        all.filter(|(_, _, r)| r.subject == *subject && artifact_type.is_none_or(|t| t == r.artifact_type))
            .map(|(digest, manifest, refers)| {
                let mut entry = json!({
                    "mediaType": manifest.media_type, "digest": digest.to_string(), "size": manifest.size,
                    "artifactType": refers.artifact_type,
                });
                if !refers.annotations.is_null() {
                    entry["annotations"] = refers.annotations.clone();
                }
                entry
            })
            .collect()
    }

    /// The tags in the specification's order.
    #[must_use]
    pub fn sorted_tags(&self) -> Vec<&str> {
        let mut all: Vec<&str> = self.tags.keys().map(String::as_str).collect();
        all.sort_by_key(|t| order(t));
        all
    }
}
