//! `provision certs install`

use std::path::Path;
use std::process::ExitCode;

use chrono::Utc;
use serde_json::json;

use super::args::Global;
use super::certs_csr::{refuse_others, refuse_ours};
use super::confirm;
use super::operation::Operation;
use super::survey::{connect, load};
use crate::error::{Error, Result};
use crate::exec::pki::{Installed, install, roll};
use crate::exec::{Cancel, Lease};
use crate::facts::{Facts, gather};
use crate::inventory::{Inventory, Node};
use crate::kubeadm::days_left;
use crate::report::Format;
use crate::resource::Membership;

pub(super) async fn run(path: &Path, from: &Path, yes: bool, global: &Global) -> Result<ExitCode> {
    let inv = load(path)?;
    refuse_ours(&inv)?;
    let chosen: Vec<Node> = inv.nodes().into_iter().filter(|n| from.join(&n.name).is_dir()).collect();
    if chosen.is_empty() {
        return Err(Error::invalid(format!("there is no directory of a node in {}", from.display()))
            .hint("`provision certs csr --out DIR` makes it; the certificates go beside the requests"));
    }
    let _lease = Lease::acquire(&inv.cluster.name, "certs install")?;
    let mut asked = chosen.clone();
    asked.extend(inv.control_planes().into_iter().filter(|n| chosen.iter().all(|c| c.name != n.name)));
    let hosts = connect(&asked, global).await?;
    let facts = gather(&inv, &hosts, global.concurrency).await?;
    refuse_others(&inv, &facts)?;
    let living = living(&inv, &facts, &chosen)?;
    if living && !yes {
        let question = format!(
            "Give cluster {} these certificates and restart one control plane after the other?",
            inv.cluster.name
        );
        confirm::yes("certs install", "restarts control planes", "`provision certs check`", &question)?;
    }
    let cancel = Cancel::new();
    cancel.on_signals()?;
    let member = |n: &Node| facts.membership(&inv, n) == Membership::Member;
    let given: Vec<Node> = chosen.iter().filter(|n| member(n)).cloned().collect();
    let operation = Operation::begin("certs install", inv.clone(), hosts, global)?;
    let work = async {
        let done = install(&operation.context, &chosen, from, Utc::now().timestamp()).await?;
        if living {
            roll(&operation.context, &given, &cancel).await?;
        }
        Ok(done)
    };
    let result = work.await;
    let done = operation.end(result)?;
    tell(&inv, &done, living, global);
    Ok(ExitCode::SUCCESS)
}

/// Whether control planes run with what they had before.
///
/// Errors (`Refused`): only some of them are to get new certificates, or are in the cluster.
fn living(inv: &Inventory, facts: &Facts, chosen: &[Node]) -> Result<bool> {
    let member = |n: &Node| facts.membership(inv, n) == Membership::Member;
    // New nodes alone: the cluster goes on as it is, and apply joins them.
    if !chosen.iter().any(member) {
        return Ok(false);
    }
    let planes = inv.control_planes();
    match planes.iter().find(|n| !member(n)) {
        None => Ok(true),
        Some(out) => Err(Error::refused("it is no member of the cluster, and a living cluster gets new certificates only when all control planes are well")
            .on(&out.name)
            .hint("for nodes that are to join, leave the folders of the others out of DIR; `provision status` shows more")),
    }
}

fn tell(inv: &Inventory, done: &[Installed], living: bool, global: &Global) {
    let now = Utc::now().timestamp();
    if global.format == Format::Json {
        let hosts: Vec<_> = done
            .iter()
            .map(|i| json!({ "host": i.host, "certificates": i.certificates, "days_left": days_left(i.first_ends, now) }))
            .collect();
        println!("{:#}", json!({ "cluster": inv.cluster.name, "hosts": hosts, "in_use": living }));
        return;
    }
    for one in done {
        let days = days_left(one.first_ends, now);
        println!(
            "{}: {} certificates are what was asked for, the first ends in {days} days",
            one.host, one.certificates
        );
    }
    if living {
        println!("they are in use; a kubelet reads its own within 5 minutes");
    }
}
