//! `provision status`

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use super::args::Global;
use super::survey::{connect_some, load};
use crate::error::Result;
use crate::facts::gather;
use crate::inventory::Role;
use crate::report::Format;
use crate::resource::Membership;

/// Shows each host of the inventory: reachable, member, Ready, version, etcd. Exit 1 when something is not well.
pub(super) async fn status(path: &Path, global: &Global) -> Result<ExitCode> {
    let inv = load(path)?;
    let (hosts, errors) = connect_some(&inv.machines(), global).await;
    let facts = gather(&inv, &hosts, global.concurrency).await?;
    let object = |name: &str| facts.nodes.iter().flatten().find(|n| n.name == name);
    let member = |name: &str| facts.etcd.iter().flatten().find(|m| m.name == name);
    let mut well = errors.is_empty() && facts.voice.is_some();
    let mut rows = Vec::new();
    for node in inv.machines() {
        let state = if hosts.contains_key(&node.name) {
            match facts.membership(&inv, &node) {
                // A host of etcd alone is no member of anything that Kubernetes knows.
                Membership::Absent if node.role == Role::Etcd && member(&node.name).is_some() => "etcd".to_owned(),
                Membership::Absent => "bare".to_owned(),
                Membership::Partial(why) => format!("partial: {why}"),
                Membership::Member => "member".into(),
                Membership::Down(why) => format!("down: {why}"),
                Membership::Foreign(why) => format!("foreign: {why}"),
            }
        } else {
            "unreachable".into()
        };
        let ready = object(&node.name).map(|n| n.ready);
        well &= if node.role == Role::Etcd { state == "etcd" } else { state == "member" && ready == Some(true) };
        let etcd = member(&node.name).map(|m| if m.learner { "learner" } else { "member" });
        rows.push(json!({
            "name": node.name, "address": node.address, "role": node.role, "state": state, "ready": ready,
            "kubelet": object(&node.name).map(|n| n.kubelet_version.clone()), "etcd": etcd,
            "cordoned": object(&node.name).map(|n| n.unschedulable),
        }));
    }
    let names: Vec<&str> = inv.hosts.iter().map(|h| h.name.as_str()).collect();
    let strangers: Vec<&str> =
        facts.nodes.iter().flatten().map(|n| n.name.as_str()).filter(|n| !names.contains(n)).collect();
    if global.format == Format::Json {
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        let report = json!({
            "cluster": inv.cluster.name, "endpoint": inv.api_endpoint().authority(), "well": well,
            "answers": facts.voice, "hosts": rows, "not_in_inventory": strangers, "errors": errors,
        });
        println!("{report:#}");
    } else {
        println!(
            "cluster {}  API {}  inventory version {}",
            inv.cluster.name,
            inv.api_endpoint().authority(),
            inv.cluster.version
        );
        println!(
            "{:<14} {:<16} {:<14} {:<7} {:<10} {:<8} state",
            "host", "address", "role", "ready", "kubelet", "etcd"
        );
        for row in &rows {
            let text = |key: &str| match &row[key] {
                serde_json::Value::String(s) => s.clone(),
                serde_json::Value::Bool(b) => if *b { "yes" } else { "no" }.into(),
                _ => "-".into(),
            };
            println!(
                "{:<14} {:<16} {:<14} {:<7} {:<10} {:<8} {}",
                text("name"),
                text("address"),
                text("role"),
                text("ready"),
                text("kubelet"),
                text("etcd"),
                text("state")
            );
        }
        for name in strangers {
            println!("{name:<14} is in the cluster, not in the inventory");
        }
        for error in &errors {
            eprintln!("Warning: {error}");
        }
    }
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
