//! Everything in a bundle into a registry: blobs first, manifests when all their blobs are there, tags at the very end.
//!
//! So nobody ever pulls half of an image, and a push that was killed is taken up by pushing again: what the registry has
//! is not sent twice.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};
use secrecy::SecretString;

use super::catalog::{Catalog, Manifest, read_manifest};
use super::names::is_repository;
use super::remote::Remote;
use super::upload::Came;
use crate::bundle::{Bundle, Digest, base64_basic, told};
use crate::error::{Error, Kind, Result};
use crate::exec::{Event, Outcome, Sink};

/// Where to push, and how.
#[derive(Debug, Clone)]
pub struct PushOptions {
    /// `registry.example:5000/prefix`; the prefix goes before every repository and may be left out.
    pub target: String,
    /// Without encryption.
    pub plain_http: bool,
    /// A PEM file of a CA to trust beside the system's.
    pub ca: Option<PathBuf>,
    /// User and password.
    pub login: Option<(String, SecretString)>,
    /// How many blobs at once.
    pub concurrency: usize,
    /// Whether tags that name something else are moved.
    pub overwrite_tags: bool,
}

/// What a push did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pushed {
    /// Blobs that were sent.
    pub sent: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Blobs that the registry took from another repository of its own.
    pub mounted: usize,
    /// Blobs that were there.
    pub present: usize,
    /// Manifests and tags that were sent.
    pub manifests: usize,
}

/// Pushes a bundle.
///
/// Errors: the bundle is damaged or lacks a part (`Invalid`), the target is no registry's address (`Usage`), a tag names
/// something else there (`Refused`), or the registry does not take it.
pub async fn push(bundle: &Bundle, options: &PushOptions, sink: Arc<dyn Sink>) -> Result<Pushed> {
    let (host, prefix) = options.target.trim_end_matches('/').split_once('/').unwrap_or((&options.target, ""));
    let host = host.trim_end_matches('/');
    if host.is_empty() || host.contains('@') || !(prefix.is_empty() || is_repository(prefix)) {
        return Err(Error::new(Kind::Usage, format!("`{}` is not a registry to push to", options.target))
            .hint("write its host, its port when it has one, and a prefix, like harbor.example/k8s"));
    }
    let catalog = Catalog::read(bundle).await?;
    let own = options.login.as_ref().map(|(user, password)| base64_basic(user, password));
    let remote = Remote::new(host, options.plain_http, options.ca.as_deref(), own)?;
    remote.check().await?;
    let work = Work { catalog: &catalog, remote: &remote, prefix, sink: sink.as_ref() };
    let concurrency = options.concurrency.max(1);
    if !options.overwrite_tags {
        work.refuse_moves(concurrency).await?;
    }
    let mut done = Pushed::default();
    let mut each: BTreeMap<&Digest, Vec<&str>> = BTreeMap::new();
    for (name, repository) in &catalog.repositories {
        for digest in repository.blobs.keys() {
            each.entry(digest).or_default().push(name);
        }
    }
    let blobs = futures::stream::iter(each.into_iter().map(|(digest, names)| work.blob(digest, names)));
    let mut blobs = blobs.buffer_unordered(concurrency);
    while let Some((size, came)) = blobs.try_next().await? {
        for came in came {
            match came {
                Came::Present => done.present += 1,
                Came::Mounted => done.mounted += 1,
                Came::Sent => (done.sent, done.bytes) = (done.sent + 1, done.bytes + size),
            }
        }
    }
    // An index after the manifests it names, and a tag after everything.
    for made in [false, true] {
        let manifests = catalog.repositories.iter().flat_map(|(name, repository)| {
            repository.manifests.iter().filter(move |(_, m)| m.made.is_some() == made).map(move |(d, m)| (name, d, m))
        });
        done.manifests += work.manifests(manifests.map(|(n, d, m)| (n, d.to_string(), d, m)), concurrency).await?;
    }
    let tags = catalog.repositories.iter().flat_map(|(name, repository)| {
        repository.tags.iter().filter_map(move |(tag, d)| Some((name, tag.clone(), d, repository.manifests.get(d)?)))
    });
    done.manifests += work.manifests(tags, concurrency).await?;
    Ok(done)
}

struct Work<'a> {
    catalog: &'a Catalog,
    remote: &'a Remote,
    prefix: &'a str,
    sink: &'a dyn Sink,
}

impl Work<'_> {
    /// An error when a tag of the bundle names something else in the registry: whoever pulls by it would get other bytes
    /// from one moment to the next. Asked before anything is sent.
    async fn refuse_moves(&self, concurrency: usize) -> Result<()> {
        let tags = self.catalog.repositories.iter().flat_map(|(name, r)| r.tags.iter().map(move |(t, d)| (name, t, d)));
        let asked = tags.map(|(name, tag, digest)| async move {
            let full = self.full(name);
            let there = self.remote.manifest_digest(&full, tag).await?;
            Ok::<_, Error>(there.filter(|there| *there != digest.to_string()).map(|there| {
                let there = if there.is_empty() { "something that it does not say" } else { &there };
                format!("{full}:{tag} is {there}, the bundle has {digest}")
            }))
        });
        let moved = futures::stream::iter(asked).buffer_unordered(concurrency).try_collect::<Vec<_>>().await?;
        let mut moved: Vec<String> = moved.into_iter().flatten().collect();
        moved.sort();
        if moved.is_empty() {
            return Ok(());
        }
        Err(Error::refused(format!(
            "{} tags name something else in the registry; nothing was pushed:\n  {}",
            moved.len(),
            moved.join("\n  ")
        ))
        .hint("push to another prefix, or say --overwrite-tags: whoever pulls by these tags then gets what the bundle has"))
    }

    fn full(&self, repository: &str) -> String {
        if self.prefix.is_empty() { repository.to_owned() } else { format!("{}/{repository}", self.prefix) }
    }

    /// A blob into all repositories that need it: sent once at the most where the registry can mount.
    async fn blob(&self, digest: &Digest, names: Vec<&str>) -> Result<(u64, Vec<Came>)> {
        let blob = self
            .catalog
            .blobs
            .get(digest)
            .ok_or_else(|| Error::invalid(format!("the bundle lacks the blob {digest}")))?;
        let (step, total) = (format!("push/-/{}", digest.short()), blob.size());
        let title = format!("{} of {}", digest.short(), names.join(", "));
        told(self.sink, &step, title, async {
            let progress = |done| self.sink.event(&Event::Progress { step: step.clone(), done, total });
            let (mut holder, mut lacking, mut came) = (None, Vec::new(), Vec::new());
            for name in names {
                let full = self.full(name);
                if self.remote.has_blob(&full, digest).await? {
                    came.push(Came::Present);
                    holder = Some(full);
                } else {
                    lacking.push(full);
                }
            }
            for full in lacking {
                came.push(self.remote.put_blob(&full, holder.as_deref(), digest, blob, &progress).await?);
                holder = Some(full);
            }
            let outcome = if came.iter().all(|c| *c == Came::Present) { Outcome::Unchanged } else { Outcome::Changed };
            Ok(((total, came), outcome))
        })
        .await
    }

    /// Puts manifests under their references; how many were not there before.
    async fn manifests<'m>(
        &self,
        all: impl Iterator<Item = (&'m String, String, &'m Digest, &'m Manifest)>,
        concurrency: usize,
    ) -> Result<usize> {
        let puts = all.map(|(name, reference, digest, manifest)| async move {
            let full = self.full(name);
            let step = format!("push/-/{full}:{reference}");
            told(self.sink, &step, format!("{full} {reference}"), async {
                let there = self.remote.manifest_digest(&full, &reference).await?;
                if there.as_deref() == Some(&digest.to_string()) {
                    return Ok((0, Outcome::Unchanged));
                }
                let bytes = match (&manifest.made, self.catalog.blobs.get(digest)) {
                    (Some(made), _) => made.clone(),
                    (None, Some(blob)) => read_manifest(blob, digest).await?,
                    (None, None) => return Err(Error::invalid(format!("the bundle lacks the manifest {digest}"))),
                };
                self.remote.put_manifest(&full, &reference, &bytes, &manifest.media_type).await?;
                Ok((1, Outcome::Changed))
            })
            .await
        });
        futures::stream::iter(puts).buffer_unordered(concurrency).try_fold(0, |sum, n| async move { Ok(sum + n) }).await
    }
}
