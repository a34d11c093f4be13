//! `provision bundle`

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::sync::Arc;

use super::args::{BundleCommand, Global};
use super::survey::load;
use crate::bundle::{self, Bundle, Lock, closure};
use crate::error::{Context as _, Error, Result};
use crate::exec::Sink;
use crate::report::{Format, reporter};

pub(super) fn sink(global: &Global) -> Arc<dyn Sink> {
    reporter(global.format, global.verbose, std::io::stderr().is_terminal())
}

pub(super) async fn bundle(command: BundleCommand, global: &Global) -> Result<ExitCode> {
    match command {
        BundleCommand::Lock { inventory, lock, allow_expired } => {
            let inv = load(&inventory.inventory)?;
            let mut made = bundle::lock(&inv, sink(global)).await?;
            made.packages = bundle::lock_packages(&inv, allow_expired, sink(global)).await?;
            std::fs::write(&lock, made.to_toml()?).context(|| format!("failed to write {}", lock.display()))?;
            let (files, images) = (made.files.len(), made.images.len());
            let packages = match made.packages.len() {
                0 => String::new(),
                n => format!(", {n} packages"),
            };
            println!("{}: {files} files, {images} images{packages}", lock.display());
        }
        BundleCommand::Build { inventory, lock, out } => {
            let inv = load(&inventory.inventory)?;
            let locked = Lock::load(&lock)?;
            let made = bundle::build(&locked, &inv.sources, &out, global.concurrency, sink(global)).await?;
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
        BundleCommand::Verify { bundle, inventory } => {
            let opened = Bundle::open(&bundle)?;
            opened.verify(sink(global).as_ref()).await?;
            if let Some(path) = inventory {
                super::survey::open_bundle(&bundle, &load(&path)?)?;
                println!("{}: whole, and it holds all that {} asks for", bundle.display(), path.display());
            } else {
                println!("{}: whole", bundle.display());
            }
        }
        BundleCommand::Inspect { bundle } => {
            let opened = Bundle::open(&bundle)?;
            if global.format == Format::Json {
                print!("{}", opened.manifest().to_canonical_json());
            } else {
                println!("Kubernetes {}  bundle.json {}", opened.manifest().kubernetes, opened.digest());
                for a in &opened.manifest().artifacts {
                    let kind = format!("{:?}", a.kind).to_lowercase();
                    println!(
                        "{kind:<8} {:<6} {:>6} MB  {} {}  {}",
                        a.arch.as_str(),
                        a.size.div_ceil(1_000_000),
                        a.name,
                        a.version,
                        a.digest.short()
                    );
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
