//! `provision bundle`

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::sync::Arc;

use super::args::{BundleCommand, Global};
use super::bundle_verify::Asked;
use super::survey::load;
use super::{bundle_sign, bundle_verify};
use crate::bundle::{self, Lock, Maker, addon_gaps, closure};
use crate::error::{Context as _, Error, Result};
use crate::exec::Sink;
use crate::report::reporter;

pub(super) fn sink(global: &Global) -> Arc<dyn Sink> {
    reporter(global.format, global.verbose, std::io::stderr().is_terminal())
}

pub(super) async fn bundle(command: BundleCommand, global: &Global) -> Result<ExitCode> {
    match command {
        BundleCommand::Lock { inventory, lock, allow_expired } => {
            let inv = load(&inventory.inventory)?;
            let mut made = bundle::lock(&inv, sink(global)).await?;
            made.packages = bundle::lock_packages(&inv, allow_expired, sink(global)).await?;
            bundle::lock_signatures(&inv, &mut made, sink(global)).await?;
            std::fs::write(&lock, made.to_toml()?).context(|| format!("failed to write {}", lock.display()))?;
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
            println!("{}: {} files, {} images{more}", lock.display(), made.files.len(), made.images.len());
        }
        BundleCommand::Build { inventory, lock, out, builder } => {
            let inv = load(&inventory.inventory)?;
            let locked = Lock::load(&lock)?;
            bundle::keep_local(&inv, &locked).await?;
            let out = super::bundle_pack::output(&out)?;
            let maker = Maker { sources: &inv.sources, builder: &builder };
            let made = bundle::build(&locked, &maker, &out, global.concurrency, sink(global)).await?;
            let mut missing = closure(&inv, &made);
            missing.extend(addon_gaps(&inv, &made, &made.addons));
            if !missing.is_empty() {
                return Err(Error::invalid(format!(
                    "the lock lacks what the inventory asks for:\n  {}",
                    missing.join("\n  ")
                ))
                .hint("`provision bundle lock` makes it anew"));
            }
            let bytes: u64 = made.artifacts.iter().map(|a| a.size).sum();
            println!("{}: {} artifacts, {} MB", out.place.display(), made.artifacts.len(), bytes.div_ceil(1_000_000));
        }
        BundleCommand::Pack { bundle, out, split } => super::bundle_pack::pack(&bundle, out, split, global).await?,
        BundleCommand::Unpack { bundle, out } => super::bundle_pack::unpack(&bundle, out, global).await?,
        BundleCommand::Delta { have, bundle, out } => super::bundle_delta::delta(&have, &bundle, &out, global).await?,
        BundleCommand::Merge { bundles, out } => super::bundle_delta::merge(&bundles, &out, global).await?,
        BundleCommand::Prune { dir } => super::bundle_delta::prune(&dir)?,
        BundleCommand::Diff { old, new, detailed_exitcode } => {
            return super::bundle_diff::diff(&old, &new, detailed_exitcode, global);
        }
        BundleCommand::Verify { bundle, inventory, strict, keys } => {
            let asked = Asked { inventory: inventory.as_deref(), strict, keys: &keys };
            bundle_verify::verify(&bundle, &asked, global).await?;
        }
        BundleCommand::Keygen { out, password } => bundle_sign::keygen(&out, &password).await?,
        BundleCommand::Sign { bundle, key, password, expires } => {
            bundle_sign::sign(&bundle, &key, &password, expires, global).await?;
        }
        BundleCommand::Push(args) => return super::bundle_push::push(&args, global).await,
        BundleCommand::Inspect { bundle, html } => {
            super::bundle_inspect::inspect(&bundle, html.as_deref(), global.format).await?;
        }
        BundleCommand::Sbom { bundle, form, out } => super::bundle_inspect::sbom(&bundle, form, out.as_deref()).await?,
    }
    Ok(ExitCode::SUCCESS)
}
