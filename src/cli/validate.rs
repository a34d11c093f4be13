//! `provision validate`: what an inventory says and what is wrong with it.

use std::io::Write;
use std::path::Path;

use serde::Serialize;

use crate::error::{Context, Error, Result};
use crate::inventory::{self, Diagnostic, Inventory, Node, Role, SudoMethod};

/// What `--format json` prints.
#[derive(Debug, Serialize)]
struct Report<'a> {
    file: String,
    ok: bool,
    diagnostics: &'a [Diagnostic],
    /// Null when the inventory is wrong.
    inventory: Option<InventoryView>,
}

#[derive(Debug, Serialize)]
struct InventoryView {
    cluster: ClusterView,
    nodes: Vec<NodeView>,
}

#[derive(Debug, Serialize)]
struct ClusterView {
    name: String,
    version: String,
    /// `host:port`
    endpoint: String,
}

/// A host with defaults and pool merged in. Names of files and variables that hold secrets are not repeated here.
#[derive(Debug, Serialize)]
struct NodeView {
    name: String,
    address: String,
    role: Role,
    pool: Option<String>,
    user: String,
    ssh_address: String,
    port: u16,
    sudo: SudoMethod,
    labels: std::collections::BTreeMap<String, String>,
    taints: Vec<String>,
}

impl From<&Inventory> for InventoryView {
    fn from(inventory: &Inventory) -> Self {
        Self {
            cluster: ClusterView {
                name: inventory.cluster.name.clone(),
                version: inventory.cluster.version.clone(),
                endpoint: inventory.api_endpoint().authority(),
            },
            nodes: inventory.machines().into_iter().map(Into::into).collect(),
        }
    }
}

impl From<Node> for NodeView {
    fn from(node: Node) -> Self {
        Self {
            name: node.name,
            address: node.address.to_string(),
            role: node.role,
            pool: node.pool,
            user: node.ssh.user,
            ssh_address: node.ssh.address,
            port: node.ssh.port,
            sudo: node.ssh.sudo.method,
            labels: node.labels,
            taints: node.taints,
        }
    }
}

/// Checks the inventory at `path`. For people, warnings go to stderr and a summary to stdout; with `json`, one object
/// goes to stdout whether the inventory is good or not.
///
/// # Errors
/// [`crate::error::Kind::Invalid`] when the inventory is wrong.
pub fn validate(path: &Path, json: bool) -> Result<()> {
    if !json {
        let loaded = inventory::load(path)?;
        let shown = inventory::render_for_stderr(&path.display().to_string(), &loaded.text, &loaded.warnings);
        std::io::stderr().write_all(shown.as_bytes()).context(|| "failed to write to stderr".into())?;
        return print(&summary(path, &loaded.inventory));
    }
    let text = inventory::read(path)?;
    let (diagnostics, inventory) = match inventory::parse(&text) {
        Ok(loaded) => (loaded.warnings, Some(loaded.inventory)),
        Err(diagnostics) => (diagnostics, None),
    };
    let report = Report {
        file: path.display().to_string(),
        ok: inventory.is_some(),
        diagnostics: &diagnostics,
        inventory: inventory.as_ref().map(Into::into),
    };
    let mut out = serde_json::to_string_pretty(&report).context(|| "failed to write JSON".into())?;
    out.push('\n');
    print(&out)?;
    match inventory {
        Some(_) => Ok(()),
        None => Err(Error::invalid(format!("the inventory {} is not valid", path.display()))
            .hint("the diagnostics are in the JSON on stdout")),
    }
}

fn summary(path: &Path, inventory: &Inventory) -> String {
    let control_planes = inventory.control_planes().len();
    format!(
        "{} is valid: cluster {}, Kubernetes {}, {control_planes} control plane{}, {} worker{}, API at {}\n",
        path.display(),
        inventory.cluster.name,
        inventory.cluster.version,
        plural(control_planes),
        inventory.workers().len(),
        plural(inventory.workers().len()),
        inventory.api_endpoint().authority(),
    )
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

fn print(text: &str) -> Result<()> {
    std::io::stdout().write_all(text.as_bytes()).context(|| "failed to write to stdout".into())
}
