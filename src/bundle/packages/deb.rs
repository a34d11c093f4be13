//! Reading a deb repository: signature, Release, index.

use super::fetch::{get_small, unpack};
use super::lock::Origin;
use crate::bundle::fetch::fetch;
use crate::bundle::http::client;
use crate::error::{Context as _, Error, Result};
use crate::inventory::{Arch, PackageRepository};
use crate::packages::{Catalog, Keyring, Release, parse_release, read_index};

/// A Release file whose signature was checked.
pub(super) struct Signed {
    release: Release,
    /// The directory that its paths are in.
    dir: String,
    origin: Origin,
}

/// Fetches InRelease (or Release and Release.gpg) and checks signature and date. `now` in seconds since 1970; `None`
/// lets what is expired count.
pub(super) async fn read_release(
    repository: &PackageRepository,
    arch: Arch,
    keyring: &Keyring,
    now: Option<i64>,
) -> Result<Signed> {
    let base = repository.url.replace("{arch}", arch.as_str()).trim_end_matches('/').to_owned();
    let suite = repository.suite.as_deref().unwrap_or_default();
    let dir = match suite.strip_suffix('/') {
        Some(flat) => join(&base, flat.trim_start_matches("./").trim_matches('.')),
        None => format!("{base}/dists/{suite}"),
    };
    let signed = format!("{dir}/InRelease");
    let (url, text, key) = if let Some(bytes) = get_small(&signed).await? {
        let message =
            String::from_utf8(bytes).map_err(|e| Error::invalid(format!("{signed} is not UTF-8 text")).source(e))?;
        let (text, key) = keyring.verify_cleartext(&signed, &message, now)?;
        (signed, text, key)
    } else {
        let url = format!("{dir}/Release");
        let missing = |what: &str| {
            Error::invalid(format!("{what} is not there"))
                .hint("are url and suite right? A repository without a signature is not used")
        };
        let bytes = get_small(&url).await?.ok_or_else(|| missing(&signed))?;
        let detached = format!("{url}.gpg");
        let signature = get_small(&detached).await?.ok_or_else(|| missing(&detached))?;
        let key = keyring.verify_detached(&url, &bytes, &signature, now)?;
        let text =
            String::from_utf8(bytes).map_err(|e| Error::invalid(format!("{url} is not UTF-8 text")).source(e))?;
        (url, text, key)
    };
    let release = parse_release(&url, &text)?;
    if let Some(now) = now {
        release.refuse_expired(&url, now)?;
    }
    let origin = Origin { repository: repository.name.clone(), base, release: url, key };
    Ok(Signed { release, dir, origin })
}

fn join(base: &str, path: &str) -> String {
    if path.is_empty() { base.to_owned() } else { format!("{base}/{path}") }
}

/// Adds the packages of the repository to the catalog and says where they come from.
pub(super) async fn read_packages(
    signed: &Signed,
    repository: &PackageRepository,
    index: usize,
    arch: Arch,
    mut catalog: Catalog,
) -> Result<(Catalog, Origin)> {
    let flat = repository.components.is_empty();
    let indices: Vec<String> = if flat {
        vec!["Packages".into()]
    } else {
        repository.components.iter().map(|c| format!("{c}/binary-{}/Packages", arch.as_str())).collect()
    };
    for name in indices {
        let (path, digest, _, unpacked) = signed.release.index(&signed.origin.release, &name)?;
        let url = match path.rsplit_once('/') {
            Some((dir, _)) if signed.release.by_hash => {
                format!("{}/{dir}/by-hash/SHA256/{}", signed.dir, digest.hex())
            }
            None if signed.release.by_hash => format!("{}/by-hash/SHA256/{}", signed.dir, digest.hex()),
            _ => format!("{}/{path}", signed.dir),
        };
        let asked = url.clone();
        let request = move || Ok(client()?.get(&asked));
        let file = fetch(&url, &digest, &request, &|_, _| {}).await?;
        catalog = tokio::task::spawn_blocking(move || {
            unpack(&file, &path, unpacked, |reader| read_index(&url, reader, index, arch.as_str(), &mut catalog))?;
            Ok::<_, Error>(catalog)
        })
        .await
        .context(|| "failed to read an index".into())??;
    }
    let mut origin = signed.origin.clone();
    if flat {
        // The paths of a flat repository are beside its Release file.
        origin.base.clone_from(&signed.dir);
    }
    Ok((catalog, origin))
}
