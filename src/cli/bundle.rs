//! `provision bundle`

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::sync::Arc;

use super::args::{BundleCommand, Global};
use super::bundle_verify::Asked;
use super::survey::load;
use super::{bundle_sign, bundle_verify};
use crate::bundle::{self, Lock, Maker, closure};
use crate::error::{Context as _, Error, Result};
use crate::exec::Sink;
use crate::report::reporter;

pub(super) fn sink(global: &Global) -> Arc<dyn Sink> {
    reporter(global.format, global.verbose, std::io::stderr().is_terminal())
}

pub(super) async fn bundle(command: BundleCommand, global: &Global) -> Result<ExitCode> {
    match command {
        BundleCommand::Lock { inventory, lock } => {
            let inv = load(&inventory.inventory)?;
            let made = bundle::lock(&inv, sink(global)).await?;
            std::fs::write(&lock, made.to_toml()?).context(|| format!("failed to write {}", lock.display()))?;
            println!("{}: {} files, {} images", lock.display(), made.files.len(), made.images.len());
        }
        BundleCommand::Build { inventory, lock, out, builder } => {
            let inv = load(&inventory.inventory)?;
            let locked = Lock::load(&lock)?;
            let maker = Maker { sources: &inv.sources, builder: &builder };
            let made = bundle::build(&locked, &maker, &out, global.concurrency, sink(global)).await?;
            let missing = closure(&inv, &made);
            if !missing.is_empty() {
                return Err(Error::invalid(format!(
                    "the lock lacks what the inventory asks for:\n  {}",
                    missing.join("\n  ")
                ))
                .hint("`provision bundle lock` makes it anew"));
            }
            let bytes: u64 = made.artifacts.iter().map(|a| a.size).sum();
            println!("{}: {} artifacts, {} MB", out.display(), made.artifacts.len(), bytes.div_ceil(1_000_000));
        }
        BundleCommand::Verify { bundle, inventory, strict, keys } => {
            let asked = Asked { inventory: inventory.as_deref(), strict, keys: &keys };
            bundle_verify::verify(&bundle, &asked, global).await?;
        }
        BundleCommand::Keygen { out, password } => bundle_sign::keygen(&out, &password).await?,
        BundleCommand::Sign { bundle, key, password, expires } => {
            bundle_sign::sign(&bundle, &key, &password, expires, global).await?;
        }
        BundleCommand::Inspect { bundle, html } => {
            super::bundle_inspect::inspect(&bundle, html.as_deref(), global.format).await?;
        }
        BundleCommand::Sbom { bundle, form, out } => super::bundle_inspect::sbom(&bundle, form, out.as_deref()).await?,
    }
    Ok(ExitCode::SUCCESS)
}
