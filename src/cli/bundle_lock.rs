//! `provision bundle lock`

use std::path::Path;

use super::args::Global;
use super::bundle::sink;
use super::bundle_diff::text;
use super::bundle_inspect::write_whole;
use crate::bundle::{self, Known, Lock};
use crate::error::{Context as _, Result};
use crate::inventory::Inventory;
use crate::report::Format;

/// Makes the lock at `path`; with names in `update` only what they name is made anew in it.
pub(super) async fn lock(
    inv: &Inventory,
    path: &Path,
    update: &[String],
    allow_expired: bool,
    global: &Global,
) -> Result<()> {
    if !update.is_empty() {
        return relock(inv, path, update, allow_expired, global).await;
    }
    let mut made = bundle::lock(inv, sink(global)).await?;
    made.packages = bundle::lock_packages(inv, allow_expired, sink(global)).await?;
    bundle::lock_signatures(inv, &mut made, sink(global)).await?;
    write_whole(path, &made.to_toml()?)?;
    let more: String = [
        ("charts", made.charts.len()),
        ("manifests", made.manifests.len()),
        ("packages", made.packages.len()),
        ("upstream signatures", made.signatures.len()),
    ]
    .into_iter()
    .filter(|(_, n)| *n > 0)
    .map(|(what, n)| format!(", {n} {what}"))
    .collect();
    println!("{}: {} files, {} images{more}", path.display(), made.files.len(), made.images.len());
    Ok(())
}

async fn relock(inv: &Inventory, path: &Path, names: &[String], allow_expired: bool, global: &Global) -> Result<()> {
    let old = Lock::load(path)?;
    let new = bundle::relock(inv, &old, names, allow_expired, sink(global)).await?;
    let changed = new != old;
    if changed {
        write_whole(path, &new.to_toml()?)?;
    }
    let diff = bundle::diff(&Known::Lock(old), &Known::Lock(new));
    if global.format == Format::Json {
        println!("{}", serde_json::to_string_pretty(&diff).context(|| "failed to write the difference".into())?);
    } else if !changed {
        println!("{}: unchanged, upstream has what is locked", path.display());
    } else if diff.is_empty() {
        // An image's index may name new manifests of other architectures; a source may have moved.
        println!("{}: updated; what a bundle of it holds is the same", path.display());
    } else {
        print!("{}: updated\n{}", path.display(), text(&diff));
    }
    Ok(())
}
