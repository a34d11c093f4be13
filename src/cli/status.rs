//! `provision status`

use std::path::Path;
use std::process::ExitCode;

use chrono::{SecondsFormat, Utc};

use super::args::Global;
use super::bundle_inspect::write_whole;
use super::survey::{Hosts, connect_some, inventory_digest, load};
use crate::error::{Context as _, Error, Result};
use crate::exec::{Event, list_journals, verify_journal};
use crate::facts::{Facts, gather, observe};
use crate::inventory::Inventory;
use crate::plan::Observations;
use crate::report::Format;
use crate::resource::{cluster_status_probe, control_plane_probe};
use crate::status::{LastOperation, Seen, Status, html, text};

/// Shows the cluster at one look. Exit 1 when a host is not reached, no member, or not Ready.
pub(super) async fn status(path: &Path, page: Option<&Path>, global: &Global) -> Result<ExitCode> {
    let inv = load(path)?;
    let (hosts, mut errors) = connect_some(&inv.machines(), global).await;
    let facts = gather(&inv, &hosts, global.concurrency).await?;
    let answers = health(&inv, &hosts, &facts, global.concurrency).await.unwrap_or_else(|e| {
        errors.push(e);
        Observations::new()
    });
    let last = last_operation(&inv.cluster.name).unwrap_or_else(|e| {
        // That a cluster is well does not hang on a file of the operator's machine.
        eprintln!("Warning: {e}");
        None
    });
    let status = Status::new(Seen {
        inv: &inv,
        facts: &facts,
        answers: &answers,
        errors: errors.iter().map(Error::to_string).collect(),
        inventory: inventory_digest(&inv)?.to_string(),
        last,
        checked_at: Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true),
    });
    if let Some(page) = page {
        write_whole(page, &html(&status)?)?;
        eprintln!("{}: written", page.display());
    }
    match global.format {
        Format::Json => {
            let json = serde_json::to_string_pretty(&status).context(|| "failed to write the status as JSON".into())?;
            println!("{json}");
        }
        Format::Text => {
            print!("{}", text(&status, global.verbose));
            errors.iter().for_each(|error| eprintln!("Warning: {error}"));
        }
    }
    Ok(if status.well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Asks each control plane how it is, and the one that speaks for the cluster also how the endpoint and etcd are.
async fn health(inv: &Inventory, hosts: &Hosts, facts: &Facts, concurrency: usize) -> Result<Observations> {
    let mut asked: std::collections::BTreeMap<String, Vec<_>> = std::collections::BTreeMap::new();
    for node in inv.control_planes() {
        asked.entry(node.name).or_default().push(control_plane_probe(&node.address.to_string()));
    }
    if let Some(voice) = &facts.voice {
        asked.entry(voice.clone()).or_default().push(cluster_status_probe());
    }
    observe(hosts, &asked, concurrency).await
}

/// What the newest journal of the cluster on this machine says.
fn last_operation(cluster: &str) -> Result<Option<LastOperation>> {
    let Some(path) = list_journals(cluster)?.pop() else { return Ok(None) };
    let journal = verify_journal(&path)?;
    let (ok, error) = match journal.entries.last().map(|e| &e.event) {
        Some(Event::Ended { ok, error, .. }) => (Some(*ok), error.clone()),
        _ => (None, None),
    };
    let header = journal.header;
    Ok(Some(LastOperation {
        operation: header.operation,
        command: header.command,
        user: header.user,
        host: header.host,
        started: header.started,
        ok,
        error,
    }))
}
