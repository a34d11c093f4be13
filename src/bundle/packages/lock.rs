//! From names in the inventory to packages in the lock.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::model::LockedPackage;
use super::{deb, rpm};
use crate::bundle::lock::told;
use crate::error::{Context as _, Error, Result};
use crate::exec::{Outcome, Sink};
use crate::inventory::{Arch, Inventory, PackageKind, PackageRepository, expand_home};
use crate::packages::{Catalog, Keyring, resolve};

/// Where a repository's packages come from, and who signed for them.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    pub(super) repository: String,
    /// What the packages' paths go behind.
    pub(super) base: String,
    pub(super) release: String,
    pub(super) key: String,
}

/// Resolves `[packages]` into a closed set: each repository's signature, its index by the digest in what was signed, each
/// package by the digest in the index. `allow_expired` lets keys and metadata count whose time is over.
pub async fn lock_packages(inv: &Inventory, allow_expired: bool, sink: Arc<dyn Sink>) -> Result<Vec<LockedPackage>> {
    let now = (!allow_expired).then(|| chrono::Utc::now().timestamp());
    let mut all = Vec::new();
    for kind in [PackageKind::Deb, PackageKind::Rpm] {
        let names = inv.packages.names(kind);
        if names.is_empty() {
            continue;
        }
        for arch in &inv.cluster.arch {
            let step = format!("lock/-/{}-packages-{}", kind.as_str(), arch.as_str());
            let title = format!("{} packages for {}", kind.as_str(), arch.as_str());
            let found = told(sink.as_ref(), &step, title, async {
                Ok((lock_one(inv, kind, *arch, &names, now).await?, Outcome::Changed))
            })
            .await?;
            all.extend(found);
        }
    }
    Ok(all)
}

async fn lock_one(
    inv: &Inventory,
    kind: PackageKind,
    arch: Arch,
    names: &[&str],
    now: Option<i64>,
) -> Result<Vec<LockedPackage>> {
    let mut catalog = Catalog::new(kind, arch.as_str());
    let mut origins: BTreeMap<usize, Origin> = BTreeMap::new();
    for (index, repository) in inv.packages.repository.iter().enumerate().filter(|(_, r)| r.kind == kind) {
        let keyring = read_keyring(repository)?;
        let reading = || format!("failed to use the repository {}", repository.name);
        let (filled, origin) = match kind {
            PackageKind::Deb => {
                let signed =
                    deb::read_release(repository, arch, &keyring, now).await.map_err(|e| named(reading(), e))?;
                deb::read_packages(&signed, repository, index, arch, catalog).await
            }
            PackageKind::Rpm => rpm::read_packages(repository, index, arch, &keyring, now, catalog).await,
        }
        .map_err(|e| named(reading(), e))?;
        catalog = filled;
        origins.insert(index, origin);
    }
    let chosen = resolve(&catalog, names, inv.packages.exclude_installed_base)?;
    let locked = chosen.into_iter().filter_map(|place| {
        let own = catalog.get(place);
        let origin = origins.get(&own.repository)?;
        Some(LockedPackage {
            kind,
            name: own.name.clone(),
            version: own.version.clone(),
            arch,
            sha256: own.sha256.clone(),
            size: own.size,
            url: format!("{}/{}", origin.base, own.path),
            repository: origin.repository.clone(),
            release: origin.release.clone(),
            key: origin.key.clone(),
            control: own.control(),
        })
    });
    Ok(locked.collect())
}

/// Says which repository it was; the cause's own words and hints stay.
fn named(attempted: String, cause: Error) -> Error {
    Error::new(cause.kind(), attempted).source(cause)
}

fn read_keyring(repository: &PackageRepository) -> Result<Keyring> {
    let path = expand_home(&repository.keyring);
    let shown = path.display().to_string();
    let bytes = std::fs::read(&path)
        .context(|| format!("failed to read the keyring of the repository {}: {shown}", repository.name))
        .map_err(|e| {
            e.with_kind(crate::error::Kind::Invalid)
                .hint("it is a file with the repository's public keys, as `gpg --export` writes it; the distribution's package with its archive keys has one")
        })?;
    Keyring::parse(&shown, &bytes)
}
