//! `provision certs csr`

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use super::args::Global;
use super::operation::Operation;
use super::survey::{connect, load};
use crate::error::{Error, Result};
use crate::exec::Lease;
use crate::exec::pki::{Program, ask, write_requests};
use crate::facts::{Facts, gather};
use crate::inventory::Inventory;
use crate::report::Format;
use crate::resource::Membership;

pub(super) async fn csr(path: &Path, out: &Path, global: &Global) -> Result<ExitCode> {
    let inv = load(path)?;
    refuse_ours(&inv)?;
    let _lease = Lease::acquire(&inv.cluster.name, "certs csr")?;
    let nodes = inv.nodes();
    let hosts = connect(&nodes, global).await?;
    let facts = gather(&inv, &hosts, global.concurrency).await?;
    refuse_others(&inv, &facts)?;
    let program = Program::running().await?;
    let operation = Operation::begin("certs csr", inv.clone(), hosts, global)?;
    let asked = ask(&operation.context, &nodes, &facts, &program, global.concurrency).await;
    let (all, made) = operation.end(asked)?;
    write_requests(out, &inv, &all)?;
    if global.format == Format::Json {
        let report = json!({ "directory": out, "hosts": nodes.len(), "requests": all.len(), "keys_made": made });
        println!("{report:#}");
    } else {
        println!(
            "{}: {} requests of {} nodes ({made} keys were made, all stay on the nodes); README.txt says who signs what",
            out.display(),
            all.len(),
            nodes.len()
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Where kubeadm makes the CAs there is nobody to send a request to.
pub(super) fn refuse_ours(inv: &Inventory) -> Result<()> {
    if inv.certificates.is_external() {
        return Ok(());
    }
    Err(Error::refused("kubeadm signs this cluster's certificates by itself").hint(
        "where somebody else keeps the CAs the inventory says so: [certificates] mode = \"external\", with ca, front_proxy_ca and etcd_ca",
    ))
}

/// A host of another cluster is left alone, and so is one whose certificates kubeadm made.
pub(super) fn refuse_others(inv: &Inventory, facts: &Facts) -> Result<()> {
    for node in inv.nodes() {
        match facts.membership(inv, &node) {
            Membership::Foreign(why) => {
                return Err(Error::refused(why).on(node.name).hint("`provision status` shows more"));
            }
            Membership::Member if facts.hosts.get(&node.name).is_some_and(|h| h.keys.keys.is_empty()) => {
                return Err(Error::refused("it is in a cluster whose certificates kubeadm signed; such a cluster is not handed over to CAs that somebody else keeps")
                    .on(node.name)
                    .hint("build a new cluster with them, and move the workloads"));
            }
            _ => {}
        }
    }
    Ok(())
}
