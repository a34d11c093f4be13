//! `provision certs rotate-ca`

use std::process::ExitCode;

use super::args::Global;
use super::args_etcd::RotateCa;
use super::confirm;
use super::operation::Operation;
use super::survey::{connect, load};
use crate::error::{Error, Result};
use crate::exec::rotation::{Done, Wish, rotate};
use crate::exec::{Cancel, Lease};
use crate::facts::{Facts, gather};
use crate::inventory::Inventory;
use crate::report::Format;
use crate::rotation::{Family, Phase};

pub(super) async fn rotate_ca(args: &RotateCa, global: &Global) -> Result<ExitCode> {
    let inv = load(&args.inventory.inventory)?;
    if inv.certificates.is_external() {
        return Err(Error::refused("somebody else keeps this cluster's CAs: no new one can be made here").hint(
            "a change of such a CA is not supported yet; certificates of the same CA: `provision certs csr`, then `certs install`",
        ));
    }
    let _lease = Lease::acquire(&inv.cluster.name, "certs rotate-ca")?;
    let hosts = connect(&inv.nodes(), global).await?;
    let facts = gather(&inv, &hosts, global.concurrency).await?;
    refuse(&inv, &facts, args.ca)?;
    let begun = facts.hosts.values().any(|h| h.state.rotation.is_some());
    confirm::typed(&inv.cluster.name, args.confirm.as_deref(), &warning(&inv, args, begun))?;
    let operation = Operation::begin("certs rotate-ca", inv.clone(), hosts, global)?;
    let cancel = Cancel::new();
    cancel.on_signals()?;
    let wish = Wish { family: args.ca, until: args.until, workloads: args.workloads, concurrency: global.concurrency };
    let rotated = rotate(&operation.context, &cancel, &wish).await;
    let done = operation.end(rotated)?;
    tell(&inv, args, &done, global.format);
    Ok(ExitCode::SUCCESS)
}

/// Every node must be one of this cluster, and no other CA may be half rotated.
fn refuse(inv: &Inventory, facts: &Facts, family: Family) -> Result<()> {
    for node in inv.nodes() {
        let state = facts.hosts.get(&node.name).map(|h| &h.state);
        if state.and_then(|s| s.claim.as_ref()) != Some(&inv.cluster.name) || !state.is_some_and(|s| s.kubelet_conf) {
            return Err(Error::refused(format!("it is no node of cluster {}", inv.cluster.name)).on(node.name).hint(
                "every node has to learn the new CA: `provision apply` joins it, or take it out of the inventory",
            ));
        }
        if let Some(other) = state.and_then(|s| s.rotation.as_deref()).filter(|r| *r != family.name()) {
            return Err(Error::refused(format!("the rotation of the CA {other} is not done"))
                .on(node.name)
                .hint(format!("`provision certs rotate-ca --ca {other}` goes on with it")));
        }
    }
    // A node that the inventory does not know would be left with the old CA alone.
    let objects = facts.nodes.iter().flatten();
    let unknown: Vec<&str> =
        objects.map(|n| n.name.as_str()).filter(|name| !inv.nodes().iter().any(|n| n.name == *name)).collect();
    if !unknown.is_empty() {
        return Err(Error::refused(format!("{} in the cluster, but not in the inventory", unknown.join(", ")))
            .hint("every node has to learn the new CA: put it into the inventory, or `provision node remove` it"));
    }
    Ok(())
}

/// What would be done, for whoever is asked.
fn warning(inv: &Inventory, args: &RotateCa, begun: bool) -> String {
    let does = if begun { "goes on with the rotation of" } else { "begins to rotate" };
    format!(
        "This {does} the {} CA of cluster {}: control planes and kubelets restart one after the other, three times. Take an \
         `etcd snapshot` first. Kubeconfigs that people have stop working at the switch: `--until trust` stops before it.",
        args.ca.name(),
        inv.cluster.name
    )
}

fn tell(inv: &Inventory, args: &RotateCa, done: &Done, format: Format) {
    let (old, new) = (done.pair.old.hex(), done.pair.new.hex());
    let reached = if done.whole { Phase::Drop } else { args.until };
    if format == Format::Json {
        let report = serde_json::json!({
            "cluster": inv.cluster.name, "ca": args.ca.name(), "reached": reached.word(), "old": old, "new": new,
        });
        println!("{report:#}");
        return;
    }
    let name = args.ca.name();
    match reached {
        Phase::Trust => println!("every node trusts the new {name} CA beside the old one, which signs"),
        Phase::Switch => {
            println!("the new {name} CA signs, and signed all that is in use; the old one is still trusted")
        }
        Phase::Drop => println!("the old {name} CA is gone"),
    }
    println!("  old: sha256 {old}\n  new: sha256 {new}");
    if args.ca == Family::Kubernetes {
        eprintln!("Kubeconfigs fetched before are behind: `provision kubeconfig` fetches one that fits.");
        if reached == Phase::Drop {
            eprintln!("Pods that were made before trust the old CA too, until they are made anew.");
        }
    }
    if reached == Phase::Drop {
        eprintln!("Backups from before hold the old CA: take an `etcd snapshot` now.");
    } else {
        eprintln!("`apply` and `plan` are refused until the same command without --until is through.");
    }
}
