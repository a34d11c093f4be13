//! `provision preflight`

use std::path::Path;
use std::process::ExitCode;

use super::args::Global;
use super::survey::{connect, load, refuse};
use crate::error::Result;
use crate::facts::{gather, preflight as check};
use crate::inventory::CHECKS;
use crate::report::Format;

pub(super) async fn preflight(path: &Path, global: &Global) -> Result<ExitCode> {
    let inv = load(path)?;
    let hosts = connect(&inv.machines(), global).await?;
    let facts = gather(&inv, &hosts, global.concurrency).await?;
    let findings = check(&inv, &facts);
    if global.format == Format::Json {
        println!("{:#}", serde_json::json!({ "checks": CHECKS, "findings": findings, "facts": facts.hosts }));
    } else {
        for f in &findings {
            println!(
                "{:<8} {:<12} {:<13} {}\n         remedy: {}",
                format!("{:?}", f.severity).to_lowercase(),
                f.host,
                f.check,
                f.message,
                f.remedy
            );
        }
        println!("{} checks on {} hosts, {} findings", CHECKS.len(), facts.hosts.len(), findings.len());
    }
    refuse(&findings)?;
    Ok(ExitCode::SUCCESS)
}
