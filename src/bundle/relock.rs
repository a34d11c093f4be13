//! Updating a lock: what is named is asked of upstream again, every other pin stays as it is.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::charts::lock_addons;
use super::diff::tagged;
use super::lock::{kubeadm_images, lock_files, lock_images};
use super::lockfile::{Lock, LockedSignature};
use super::packages::lock_packages;
use super::registry::Registries;
use super::upstream::lock_signatures;
use super::wanted::wanted;
use crate::error::{Error, Result};
use crate::exec::Sink;
use crate::inventory::{Inventory, PackageKind, nearest};

const ANEW: &str = "`provision bundle lock` without --update makes the whole lock anew";

/// The words that name everything of a kind.
const KINDS: [&str; 5] = ["files", "images", "charts", "manifests", "packages"];

/// What is asked of upstream again.
#[derive(Default)]
struct Chosen {
    /// Names of files.
    files: BTreeSet<String>,
    /// Full names of images.
    images: BTreeSet<String>,
    /// Namespaces and names of releases.
    charts: BTreeSet<(String, String)>,
    /// Names of raw manifests.
    manifests: BTreeSet<String>,
    /// Types of packages.
    packages: BTreeSet<PackageKind>,
}

impl Chosen {
    /// Adds everything of a kind.
    ///
    /// Errors (`Invalid`): the lock has nothing of this kind.
    fn all_of(&mut self, lock: &Lock, kind: &str) -> Result<()> {
        let some = match kind {
            "files" => {
                self.files.extend(lock.files.iter().map(|f| f.name.clone()));
                !lock.files.is_empty()
            }
            "images" => {
                self.images.extend(lock.images.iter().map(|i| i.name.clone()));
                !lock.images.is_empty()
            }
            "charts" => {
                self.charts.extend(lock.charts.iter().map(|c| (c.namespace.clone(), c.name.clone())));
                !lock.charts.is_empty()
            }
            "manifests" => {
                self.manifests.extend(lock.manifests.iter().map(|m| m.name.clone()));
                !lock.manifests.is_empty()
            }
            _ => {
                self.packages.extend(lock.packages.iter().map(|p| p.kind));
                !lock.packages.is_empty()
            }
        };
        if some { Ok(()) } else { Err(Error::invalid(format!("the lock has no {kind}")).hint(ANEW)) }
    }
}

/// `old` with what `names` name resolved again: a file (of every architecture), an image with its tag or without it, a
/// release of a chart (also as NAMESPACE/NAME), a raw manifest, `deb` or `rpm` for the packages of that type, which are
/// chosen together, or `files`, `images`, `charts`, `manifests` or `packages` for all of a kind. Images that a new kubeadm, chart or manifest needs and `old` does not pin are pinned too; those
/// that nothing needs any more stay until the whole lock is made anew.
///
/// Errors (`Invalid`): a name that the lock has nothing of; an inventory that asks for another Kubernetes, or no longer
/// for what is named.
pub async fn relock(
    inv: &Inventory,
    old: &Lock,
    names: &[String],
    allow_expired: bool,
    sink: Arc<dyn Sink>,
) -> Result<Lock> {
    let version = inv.cluster.version.trim_start_matches('v');
    if old.kubernetes != version {
        return Err(Error::invalid(format!(
            "the lock is for Kubernetes {}, the inventory asks for {version}: no single part can be updated",
            old.kubernetes
        ))
        .hint(ANEW));
    }
    let chosen = choose(old, names)?;
    let asked = narrowed(inv, &chosen);
    let mut lock = old.clone();

    let wants: Vec<_> = wanted(inv)?.files.into_iter().filter(|want| chosen.files.contains(want.name)).collect();
    all_asked(&chosen.files, wants.iter().map(|w| w.name.to_owned()))?;
    lock.files.retain(|f| !chosen.files.contains(&f.name));
    lock.files.extend(lock_files(&wants, sink.as_ref()).await?);

    let mut needed = BTreeSet::new();
    if chosen.files.contains("kubeadm") {
        needed.extend(kubeadm_images(inv, &lock.files, sink.as_ref()).await?);
    }
    let registries = Registries::new(&inv.sources);
    let full = |(namespace, name): &(String, String)| format!("{namespace}/{name}");
    let releases: BTreeSet<String> = chosen.charts.iter().map(full).collect();
    all_asked(&releases, asked.charts.iter().map(|c| full(&(c.namespace.clone(), c.name.clone()))))?;
    all_asked(&chosen.manifests, asked.manifests.iter().map(|m| m.name.clone()))?;
    let addons = lock_addons(&asked, &lock.files, &registries, sink.as_ref()).await?;
    needed.extend(addons.images(&asked));
    lock.charts.retain(|c| !chosen.charts.contains(&(c.namespace.clone(), c.name.clone())));
    lock.charts.extend(addons.charts);
    lock.manifests.retain(|m| !chosen.manifests.contains(&m.name));
    lock.manifests.extend(addons.manifests);

    lock.images.retain(|i| !chosen.images.contains(&i.name));
    needed.extend(chosen.images);
    needed.retain(|name| !lock.images.iter().any(|i| i.name == *name));
    lock.images.extend(lock_images(inv, &registries, &needed, sink.as_ref()).await?);

    let kinds: BTreeSet<String> = chosen.packages.iter().map(|k| k.as_str().to_owned()).collect();
    all_asked(&kinds, asked.packages.repository.iter().map(|r| r.kind.as_str().to_owned()))?;
    lock.packages.retain(|p| !chosen.packages.contains(&p.kind));
    lock.packages.extend(lock_packages(&asked, allow_expired, Arc::clone(&sink)).await?);
    lock_signatures(inv, &mut lock, sink).await?;
    // Upstream may sign the same bytes again: what was pinned for them holds as well, and stays.
    let kept = |new: &LockedSignature| {
        old.signatures
            .iter()
            .find(|s| (&s.name, s.arch, &s.signed, &s.key) == (&new.name, new.arch, &new.signed, &new.key))
    };
    lock.signatures = lock.signatures.iter().map(|s| kept(s).unwrap_or(s).clone()).collect();
    lock.sort();
    Ok(lock)
}

/// The inventory with only those charts, manifests and repositories that are chosen.
fn narrowed(inv: &Inventory, chosen: &Chosen) -> Inventory {
    let mut asked = inv.clone();
    asked.charts.retain(|c| chosen.charts.contains(&(c.namespace.clone(), c.name.clone())));
    asked.manifests.retain(|m| chosen.manifests.contains(&m.name));
    asked.packages.repository.retain(|r| chosen.packages.contains(&r.kind));
    asked
}

/// An error when the inventory no longer asks for one of those that are chosen.
fn all_asked(chosen: &BTreeSet<String>, asked: impl Iterator<Item = String>) -> Result<()> {
    let asked: BTreeSet<String> = asked.collect();
    match chosen.difference(&asked).next() {
        Some(name) => {
            Err(Error::invalid(format!("{name} is in the lock, and the inventory no longer asks for it")).hint(ANEW))
        }
        None => Ok(()),
    }
}

/// What in the lock has these names. Pure.
fn choose(lock: &Lock, names: &[String]) -> Result<Chosen> {
    let mut chosen = Chosen::default();
    for name in names {
        let files: Vec<_> = lock.files.iter().filter(|f| f.name == *name).map(|f| f.name.clone()).collect();
        let is_image = |image: &str| image == name || tagged(image).is_some_and(|(untagged, _)| untagged == name);
        let images: Vec<_> = lock.images.iter().filter(|i| is_image(&i.name)).map(|i| i.name.clone()).collect();
        let charts: Vec<_> = lock
            .charts
            .iter()
            .filter(|c| c.name == *name || name.split_once('/') == Some((&c.namespace, &c.name)))
            .map(|c| (c.namespace.clone(), c.name.clone()))
            .collect();
        let manifests: Vec<_> = lock.manifests.iter().filter(|m| m.name == *name).map(|m| m.name.clone()).collect();
        let packages: Vec<_> = lock.packages.iter().map(|p| p.kind).filter(|k| k.as_str() == name).collect();
        let found = files.len() + images.len() + charts.len() + manifests.len() + packages.len();
        // A part of this very name comes before the kind.
        if found == 0 && KINDS.contains(&name.as_str()) {
            chosen.all_of(lock, name)?;
            continue;
        }
        if found == 0 {
            return Err(unknown(lock, name));
        }
        chosen.files.extend(files);
        chosen.images.extend(images);
        chosen.charts.extend(charts);
        chosen.manifests.extend(manifests);
        chosen.packages.extend(packages);
    }
    Ok(chosen)
}

fn unknown(lock: &Lock, name: &str) -> Error {
    let mut all: BTreeSet<&str> = lock.files.iter().map(|f| f.name.as_str()).collect();
    all.extend(lock.images.iter().map(|i| i.name.as_str()));
    all.extend(lock.charts.iter().map(|c| c.name.as_str()));
    all.extend(lock.manifests.iter().map(|m| m.name.as_str()));
    all.extend(lock.packages.iter().map(|p| p.kind.as_str()));
    let all: Vec<&str> = all.into_iter().collect();
    let mut error = Error::invalid(format!("the lock has no `{name}`; it has:\n  {}", all.join("\n  ")));
    if let Some(package) = lock.packages.iter().find(|p| p.name == name || p.repository == name) {
        let kind = package.kind.as_str();
        error = error.hint(format!("packages of one type are chosen together: --update {kind}"));
    } else if let Some(near) = nearest(name, &all) {
        error = error.hint(format!("did you mean `{near}`?"));
    } else {
        error = error.hint(format!("what the inventory asks for only now is not in the lock: {ANEW}"));
    }
    error
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    const LOCK: &str = r#"
format_version = 1
kubernetes = "1.36.2"
[[file]]
kind = "archive"
name = "containerd"
version = "2.0.0"
arch = "amd64"
sha256 = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
url = "https://mirror.example/containerd.tar.gz"
[[image]]
name = "registry.example:5000/team/web:v1"
digest = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
manifests = {}
[[image]]
name = "registry.example:5000/team/web:v2"
digest = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
manifests = {}
[[package]]
type = "deb"
name = "curl"
version = "1"
arch = "amd64"
sha256 = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
size = 1
url = "https://mirror.example/curl.deb"
repository = "main"
release = "https://mirror.example/InRelease"
key = "00"
control = {}
"#;

    fn chosen(name: &str) -> Result<Chosen> {
        choose(&Lock::from_toml(LOCK, "x").unwrap(), &[name.to_owned()])
    }

    #[test]
    fn names_choose_what_the_lock_calls_so() {
        assert_eq!(chosen("containerd").unwrap().files.len(), 1);
        assert_eq!(chosen("registry.example:5000/team/web").unwrap().images.len(), 2);
        assert_eq!(chosen("registry.example:5000/team/web:v2").unwrap().images.len(), 1);
        assert!(chosen("deb").unwrap().packages.contains(&PackageKind::Deb));
    }

    #[test]
    fn a_kind_names_all_of_it() {
        assert_eq!(chosen("files").unwrap().files.len(), 1);
        assert_eq!(chosen("images").unwrap().images.len(), 2);
        assert_eq!(chosen("packages").unwrap().packages.len(), 1);
        let said = chosen("charts").err().unwrap().report();
        assert!(said.contains("the lock has no charts") && said.contains("without --update"), "{said}");
        let lock = Lock::from_toml(LOCK, "x").unwrap();
        let both = choose(&lock, &["containerd".into(), "images".into(), "images".into()]).unwrap();
        assert_eq!((both.files.len(), both.images.len(), both.packages.len()), (1, 2, 0));
        // A kind of which there is nothing is an error beside others too.
        assert!(choose(&lock, &["images".into(), "charts".into()]).is_err());
    }

    #[test]
    fn an_unknown_name_says_what_there_is() {
        for (name, hint) in [
            ("contanerd", "did you mean `containerd`?"),
            ("curl", "--update deb"),
            ("main", "--update deb"),
            ("postgres", "without --update"),
            ("registry.example", "without --update"),
            ("", "without --update"),
        ] {
            let said = chosen(name).err().unwrap().report();
            assert!(
                said.contains(hint) && said.contains("\n  containerd\n  deb\n  registry.example"),
                "{name}: {said}"
            );
        }
    }
}
