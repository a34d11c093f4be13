//! What differs between two locks or bundles. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::known::Known;
use super::layout::is_of_image;
use super::lockfile::Lock;
use super::manifest::{ArtifactKind, BundleManifest, Digest, arch_name};
use super::packages::{index_name, package_name};
use super::upstream::signature_tag;
use crate::inventory::PackageKind;

/// What identifies an artifact over versions: kind, name (an image's without its tag) and architecture.
type Key = (ArtifactKind, String, String);

/// An artifact on one side.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Entry {
    /// Its version; an image's tag.
    pub version: String,
    /// Its digest; an image's is that of the manifest of its architecture.
    pub digest: Digest,
    /// Its size in bytes; a lock says none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

/// A difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The artifact's kind.
    pub kind: ArtifactKind,
    /// Its name; an image's without its tag.
    pub name: String,
    /// Its architecture.
    pub arch: String,
    /// What was; none when it is added.
    pub old: Option<Entry>,
    /// What is; none when it is removed.
    pub new: Option<Entry>,
}

/// Everything that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// The Kubernetes versions, old and new.
    pub kubernetes: [String; 2],
    /// What only the new one has.
    pub added: Vec<Change>,
    /// What only the old one has.
    pub removed: Vec<Change>,
    /// What both have in different versions, or with different bytes.
    pub changed: Vec<Change>,
}

impl Diff {
    /// Whether nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let [old, new] = &self.kubernetes;
        old == new && self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

/// Compares two locks, manifests or bundles, in any mixture.
#[must_use]
pub fn diff(old: &Known, new: &Known) -> Diff {
    compare(kubernetes(old), entries(old), kubernetes(new), entries(new))
}

fn compare(from: &str, mut olds: BTreeMap<Key, Vec<Entry>>, to: &str, mut news: BTreeMap<Key, Vec<Entry>>) -> Diff {
    let mut diff =
        Diff { kubernetes: [from.into(), to.into()], added: Vec::new(), removed: Vec::new(), changed: Vec::new() };
    let mut keys: Vec<Key> = olds.keys().chain(news.keys()).cloned().collect();
    keys.sort();
    keys.dedup();
    for key in keys {
        let (mut old, mut new) = (olds.remove(&key).unwrap_or_default(), news.remove(&key).unwrap_or_default());
        let same = |a: &Entry, b: &Entry| a.version == b.version && a.digest == b.digest;
        let kept: Vec<Entry> = old.iter().filter(|o| new.iter().any(|n| same(o, n))).cloned().collect();
        old.retain(|e| !kept.iter().any(|k| same(k, e)));
        new.retain(|e| !kept.iter().any(|k| same(k, e)));
        old.sort();
        new.sort();
        let change = |old: Option<Entry>, new: Option<Entry>| {
            let (kind, name, arch) = key.clone();
            Change { kind, name, arch, old, new }
        };
        // Several versions of one image may be inside: those whose version stays are pairs, and what is left over then
        // when it is one on each side.
        for entry in old.clone() {
            if let Some(at) = new.iter().position(|n| n.version == entry.version) {
                old.retain(|o| *o != entry);
                diff.changed.push(change(Some(entry), Some(new.remove(at))));
            }
        }
        if old.len() == 1 && new.len() == 1 {
            diff.changed.push(change(old.pop(), new.pop()));
        }
        diff.removed.extend(old.into_iter().map(|e| change(Some(e), None)));
        diff.added.extend(new.into_iter().map(|e| change(None, Some(e))));
    }
    diff
}

fn kubernetes(known: &Known) -> &str {
    match known {
        Known::Lock(lock) => &lock.kubernetes,
        Known::Manifest(manifest) => &manifest.kubernetes,
        Known::Bundle(bundle) => &bundle.manifest().kubernetes,
    }
}

fn entries(known: &Known) -> BTreeMap<Key, Vec<Entry>> {
    let all = match known {
        Known::Lock(lock) => of_lock(lock),
        Known::Manifest(manifest) => of_manifest(manifest),
        Known::Bundle(bundle) => of_manifest(bundle.manifest()),
    };
    let mut by_key: BTreeMap<Key, Vec<Entry>> = BTreeMap::new();
    for (key, entry) in all {
        by_key.entry(key).or_default().push(entry);
    }
    by_key
}

fn of_lock(lock: &Lock) -> Vec<(Key, Entry)> {
    let files = lock.files.iter().map(|f| {
        let entry = Entry { version: f.version.clone(), digest: f.sha256.clone(), size: None };
        ((f.kind, f.name.clone(), f.arch.as_str().to_owned()), entry)
    });
    let images = lock.images.iter().flat_map(|image| {
        let (name, tag) = tagged(&image.name).unwrap_or((&image.name, ""));
        image.manifests.iter().map(move |(arch, digest)| {
            let entry = Entry { version: tag.into(), digest: digest.clone(), size: None };
            ((ArtifactKind::Image, name.to_owned(), arch.clone()), entry)
        })
    });
    let pinned = |kind, name: &str, version: &str, digest: &Digest| {
        let entry = Entry { version: version.into(), digest: digest.clone(), size: None };
        ((kind, name.to_owned(), arch_name(None).to_owned()), entry)
    };
    // A chart that several releases use stands in the bundle once.
    let mut seen = BTreeSet::new();
    let charts = lock.charts.iter().filter(|c| seen.insert((&c.chart, &c.version, &c.sha256)));
    let charts: Vec<_> = charts.map(|c| pinned(ArtifactKind::Chart, &c.chart, &c.version, &c.sha256)).collect();
    let manifests = lock.manifests.iter().map(|m| pinned(ArtifactKind::Manifest, &m.name, m.sha256.short(), &m.sha256));
    let packages = lock.packages.iter().map(|p| {
        let entry = Entry { version: p.version.clone(), digest: p.sha256.clone(), size: None };
        ((ArtifactKind::Package, package_name(p.kind, &p.name), p.arch.as_str().to_owned()), entry)
    });
    // An image that has two tags has one signature.
    let mut once = BTreeSet::new();
    let signatures = lock.signatures.iter().filter(|s| once.insert((&s.sha256, &s.signed, s.arch))).map(|s| {
        let file = lock.files.iter().find(|f| f.name == s.name && Some(f.arch) == s.arch);
        let (name, version, arch) = match file {
            Some(file) => (file.name.as_str(), file.version.clone(), Some(file.arch)),
            None => (tagged(&s.name).map_or(s.name.as_str(), |(name, _)| name), signature_tag(&s.signed), None),
        };
        let entry = Entry { version, digest: s.sha256.clone(), size: None };
        ((ArtifactKind::Signature, name.to_owned(), arch_name(arch).to_owned()), entry)
    });
    let signatures: Vec<_> = signatures.collect();
    files.chain(images).chain(charts).chain(manifests).chain(packages).chain(signatures).collect()
}

/// Name and tag of an image, or name and digest.
pub(super) fn tagged(image: &str) -> Option<(&str, &str)> {
    image.split_once('@').or_else(|| image.rsplit_once(':'))
}

fn of_manifest(manifest: &BundleManifest) -> Vec<(Key, Entry)> {
    // The index of the packages is made from them when a bundle is built: no lock names it.
    let indices = [PackageKind::Deb, PackageKind::Rpm].map(index_name);
    let artifacts = manifest.artifacts.iter().filter(|a| !indices.contains(&a.name.as_str())).map(|a| {
        let image = (a.kind == ArtifactKind::Image || is_of_image(a)).then(|| tagged(&a.name)).flatten();
        let name = image.map_or(a.name.as_str(), |(name, _)| name);
        let entry = Entry { version: a.version.clone(), digest: a.digest.clone(), size: Some(a.size) };
        // Charts and manifests once were written down with an architecture, which they never had.
        let any = matches!(a.kind, ArtifactKind::Chart | ArtifactKind::Manifest);
        let arch = if any { arch_name(None) } else { a.arch_name() };
        ((a.kind, name.to_owned(), arch.to_owned()), entry)
    });
    artifacts.collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn side() -> impl Strategy<Value = Vec<(Key, Entry)>> {
        let key = "[a-c]".prop_map(|name| (ArtifactKind::Image, name, "amd64".to_owned()));
        let entry = ("[1-4]", "[xy]").prop_map(|(version, body)| Entry {
            digest: Digest::of(body.as_bytes()),
            version,
            size: None,
        });
        proptest::collection::vec((key, entry), 0..8)
    }

    fn grouped(all: &[(Key, Entry)]) -> BTreeMap<Key, Vec<Entry>> {
        let mut by_key: BTreeMap<Key, Vec<Entry>> = BTreeMap::new();
        for (key, entry) in all {
            let entries = by_key.entry(key.clone()).or_default();
            if !entries.contains(entry) {
                entries.push(entry.clone());
            }
        }
        by_key
    }

    #[test]
    fn a_chart_once_written_down_with_an_architecture_is_the_same_chart() {
        let new = crate::bundle::sample::manifest();
        let mut old = new.clone();
        old.artifacts.iter_mut().for_each(|a| a.arch = Some(crate::inventory::Arch::Amd64));
        let diff = diff(&Known::Manifest(old), &Known::Manifest(new));
        assert!(diff.is_empty(), "{diff:?}");
    }

    proptest! {
        /// The old side, less what is removed and changed, plus what is added and changed, is the new side.
        #[test]
        fn a_diff_leads_from_old_to_new(old in side(), new in side()) {
            let diff = compare("1", grouped(&old), "1", grouped(&new));
            let mut state = grouped(&old);
            for change in diff.removed.iter().chain(&diff.changed).chain(&diff.added) {
                let entries = state.entry((change.kind, change.name.clone(), change.arch.clone())).or_default();
                if let Some(gone) = &change.old {
                    prop_assert!(entries.contains(gone));
                    entries.retain(|e| e != gone);
                }
                entries.extend(change.new.clone());
            }
            let sorted = |mut side: BTreeMap<Key, Vec<Entry>>| {
                side.retain(|_, entries| !entries.is_empty());
                side.values_mut().for_each(|entries| entries.sort());
                side
            };
            prop_assert_eq!(sorted(state), sorted(grouped(&new)));
            prop_assert_eq!(diff.is_empty(), sorted(grouped(&old)) == sorted(grouped(&new)));
        }
    }
}
