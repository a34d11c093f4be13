//! This very program as a part of the bundle: the hosts of a built-in registry run it, and control planes that take
//! backups by themselves.

use std::path::{Path, PathBuf};

use super::fetch::{cached, into_cache};
use super::hash::hash_file;
use super::lockfile::Lock;
use super::manifest::Digest;
use crate::error::{Context as _, Error, Result};
use crate::inventory::Arch;

/// How the lock names the running program as a source.
pub(super) const PROGRAM: &str = "program:";

/// The digest of the running program, for hosts of this architecture.
///
/// Errors (`Invalid`): the program is for another one.
pub(super) async fn lock_program(arch: Arch) -> Result<Digest> {
    if Arch::from_uname(std::env::consts::ARCH) != Some(arch) {
        return Err(Error::invalid(format!(
            "this program is for {}, and the cluster has hosts of {}",
            std::env::consts::ARCH,
            arch.as_str()
        ))
        .hint("set sources.provision to where provision-linux-ARCH of each architecture is published"));
    }
    keep(&running()?).await
}

/// Puts the running program into the cache of a build, when the lock pins it and it is not there.
///
/// Errors (`Invalid`): the lock pins another build of it.
pub async fn keep_program(lock: &Lock) -> Result<()> {
    for file in lock.files.iter().filter(|f| f.url.starts_with(PROGRAM)) {
        if cached(&file.sha256).exists() {
            continue;
        }
        let found = keep(&running()?).await?;
        if found != file.sha256 {
            return Err(Error::invalid(format!(
                "this program is provision {} ({found}), the lock pins provision {} ({})",
                env!("CARGO_PKG_VERSION"),
                file.version,
                file.sha256
            ))
            .hint("build with the program that made the lock, or pin this one with `provision bundle lock`"));
        }
    }
    Ok(())
}

fn running() -> Result<PathBuf> {
    std::env::current_exe().context(|| "failed to find the running program".into())
}

async fn keep(program: &Path) -> Result<Digest> {
    let digest = hash_file(program).await?;
    if !cached(&digest).exists() {
        let copy = async |partial: PathBuf| tokio::fs::copy(program, partial).await.map(drop);
        into_cache(&digest, None, copy).await?;
    }
    Ok(digest)
}
