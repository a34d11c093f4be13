//! `provision plan`

use std::path::Path;
use std::process::ExitCode;

use super::args::{Global, Inputs};
use super::survey::{bundle_of, connect, load, open_bundle, survey};
use crate::error::{Context as _, Result};
use crate::plan::render;
use crate::report::Format;

/// The exit code for "changes are pending".
const PENDING: u8 = 2;

pub(super) async fn plan(inputs: &Inputs, out: Option<&Path>, detailed: bool, global: &Global) -> Result<ExitCode> {
    let inv = load(&inputs.inventory.inventory)?;
    let bundle = open_bundle(&bundle_of(inputs)?, &inv)?;
    let hosts = connect(&inv.machines(), global).await?;
    let found = survey(&inv, &bundle, &hosts, global.concurrency).await?;
    let json = || serde_json::to_string_pretty(&found).context(|| "failed to write the plan".into());
    if let Some(out) = out {
        std::fs::write(out, json()? + "\n").context(|| format!("failed to write {}", out.display()))?;
    }
    match global.format {
        Format::Json => println!("{}", json()?),
        Format::Text => print!("{}", render(&found, global.verbose)),
    }
    if global.verbose {
        for (name, host) in &hosts {
            eprintln!("{name}: {} round trips", host.round_trips());
        }
    }
    Ok(if detailed && !found.steps.is_empty() { ExitCode::from(PENDING) } else { ExitCode::SUCCESS })
}
