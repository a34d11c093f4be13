//! `provision validate`

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use super::args::Global;
use crate::error::{Context as _, Result};
use crate::inventory::{self, Inventory};
use crate::report::Format;

pub(super) fn validate(path: &Path, global: &Global) -> Result<ExitCode> {
    if global.format == Format::Json {
        return json_report(path);
    }
    let loaded = inventory::load(path)?;
    eprint!("{}", loaded.rendered_warnings);
    let inv = &loaded.inventory;
    println!(
        "{}: cluster {}, Kubernetes {}, {} control planes, {} workers, API at {}",
        path.display(),
        inv.cluster.name,
        inv.cluster.version,
        inv.control_planes().len(),
        inv.workers().len(),
        inv.api_endpoint().authority(),
    );
    Ok(ExitCode::SUCCESS)
}

fn json_report(path: &Path) -> Result<ExitCode> {
    let text = std::fs::read_to_string(path).context(|| format!("failed to read the inventory {}", path.display()));
    let text = text.map_err(|e| e.with_kind(crate::error::Kind::Invalid))?;
    let parsed = inventory::parse(&text);
    let ok = parsed.is_ok();
    let (nodes, diagnostics) = match parsed {
        Ok((inventory, warnings)) => (nodes(&inventory), warnings),
        Err(all) => (json!([]), all),
    };
    let report = json!({ "file": path, "ok": ok, "diagnostics": diagnostics, "nodes": nodes });
    println!("{report:#}");
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::from(crate::error::Kind::Invalid.exit_code()) })
}

fn nodes(inventory: &Inventory) -> serde_json::Value {
    inventory
        .nodes()
        .into_iter()
        .map(|n| {
            json!({
                "name": n.name, "address": n.address, "role": n.role, "pool": n.pool, "labels": n.labels, "taints": n.taints,
                "ssh": { "address": n.ssh.address, "port": n.ssh.port, "user": n.ssh.user, "key_file": n.ssh.key_file },
            })
        })
        .collect()
}
