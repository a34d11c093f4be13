//! `provision bundle delta`, `merge` and `prune`

use std::path::{Path, PathBuf};

use super::args::{Global, OutArg};
use super::bundle::sink;
use super::bundle_pack::{output, tell};
use crate::bundle;
use crate::error::Result;

pub(super) async fn delta(have: &[PathBuf], bundle: &Path, out: &OutArg, global: &Global) -> Result<()> {
    let out = output(out)?;
    let (delta, written) = bundle::delta(have, bundle, &out, sink(global)).await?;
    tell(&out, written);
    match delta {
        Some(delta) => {
            println!("left out: {} blobs, {} MB, which are in", delta.left_out.len(), delta.bytes() / 1_000_000);
            for base in &delta.bases {
                println!("  {base}");
            }
        }
        None => println!("nothing could be left out: this is the whole bundle"),
    }
    Ok(())
}

pub(super) async fn merge(bundles: &[PathBuf], out: &OutArg, global: &Global) -> Result<()> {
    let out = output(out)?;
    let (manifest, written) = bundle::merge(bundles, &out, sink(global)).await?;
    tell(&out, written);
    println!("whole: Kubernetes {}, bundle.json {}", manifest.kubernetes, manifest.digest());
    Ok(())
}

pub(super) fn prune(dir: &Path) -> Result<()> {
    let (count, bytes) = bundle::prune(dir)?;
    println!("{}: {count} blobs removed, {bytes} bytes", dir.display());
    Ok(())
}
