//! Reading an rpm repository: signature, repomd.xml, primary index.

use super::fetch::{get_small, unpack};
use super::lock::Origin;
use crate::bundle::fetch::fetch;
use crate::bundle::http::client;
use crate::error::{Context as _, Error, Result};
use crate::inventory::{Arch, PackageRepository};
use crate::packages::{Catalog, Keyring, parse_repomd, read_primary};

/// As rpm names it.
fn rpm_arch(arch: Arch) -> &'static str {
    match arch {
        Arch::Amd64 => "x86_64",
        Arch::Arm64 => "aarch64",
    }
}

/// Adds the packages of the repository to the catalog and says where they come from. `now` in seconds since 1970;
/// `None` lets what is expired count.
pub(super) async fn read_packages(
    repository: &PackageRepository,
    index: usize,
    arch: Arch,
    keyring: &Keyring,
    now: Option<i64>,
    mut catalog: Catalog,
) -> Result<(Catalog, Origin)> {
    let base = repository.url.replace("{arch}", rpm_arch(arch)).trim_end_matches('/').to_owned();
    let release = format!("{base}/repodata/repomd.xml");
    let missing = |what: &str| {
        Error::invalid(format!("{what} is not there")).hint(
            "is the url right (the directory that `repodata` is in)? A repository without a signature is not used",
        )
    };
    let repomd = get_small(&release).await?.ok_or_else(|| missing(&release))?;
    let detached = format!("{release}.asc");
    let signature = get_small(&detached).await?.ok_or_else(|| missing(&detached))?;
    let key = keyring.verify_detached(&release, &repomd, &signature, now)?;
    let primary = parse_repomd(&release, &repomd)?;
    let url = format!("{base}/{}", primary.path);
    let asked = url.clone();
    let request = move || Ok(client()?.get(&asked));
    let file = fetch(&url, &primary.sha256, &request, &|_, _| {}).await?;
    let catalog = tokio::task::spawn_blocking(move || {
        unpack(&file, &primary.path, primary.unpacked, |reader| {
            read_primary(&url, reader, index, rpm_arch(arch), &mut catalog)
        })?;
        Ok::<_, Error>(catalog)
    })
    .await
    .context(|| "failed to read an index".into())??;
    Ok((catalog, Origin { repository: repository.name.clone(), base, release, key }))
}
