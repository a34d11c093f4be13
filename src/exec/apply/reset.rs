//! Clearing a broken join, and making a host bare.

use std::time::Duration;

use super::cluster::kubectl;
use super::context::Context;
use super::leave::remove_member;
use crate::error::{Kind, Result};
use crate::inventory::EtcdMode;

const TIMEOUT: Duration = Duration::from_secs(240);
pub(in crate::exec) const CLEAR: &str = include_str!("reset.sh");
const BARE: &str = include_str!("bare.sh");

pub(super) async fn partial(ctx: &Context, host: &str, node: &str, control_plane: bool) -> Result<()> {
    // A member that runs as a unit has no part in what broke.
    let member = control_plane && ctx.inventory.etcd.mode == EtcdMode::Stacked;
    leave(ctx, node, member).await?;
    ctx.script(host, "clear", CLEAR, &[], TIMEOUT, "clear what a broken join left").await.map(drop)
}

pub(super) async fn host(
    ctx: &Context,
    host: &str,
    node: &str,
    files: &[String],
    units: &[String],
    dirs: &[String],
) -> Result<()> {
    let control_plane = ctx.inventory.control_planes().iter().any(|n| n.name == node);
    let etcd = &ctx.inventory.etcd;
    let member = control_plane && etcd.mode == EtcdMode::Stacked || etcd.runs_on(node);
    leave(ctx, node, member).await?;
    ctx.script(host, "clear", CLEAR, &[], TIMEOUT, "clear the node").await?;
    let (units, files, dirs) = (units.join(" "), files.join(" "), dirs.join(" "));
    ctx.script(host, "bare", BARE, &[&units, &files, &dirs], TIMEOUT, "make the host bare").await.map(drop)
}

/// Takes the node out of the cluster through a control plane that stays: its etcd member, then its node object. With no
/// such control plane there is nobody to tell. Never removes a member when that would lose quorum.
async fn leave(ctx: &Context, node: &str, member: bool) -> Result<()> {
    let others: Vec<_> = ctx
        .inventory
        .control_planes()
        .into_iter()
        .filter(|n| n.name != node && ctx.hosts.contains_key(&n.name))
        .collect();
    let mut silent = None;
    for other in others {
        let object = ctx
            .run(
                &other.name,
                &kubectl(["get", "node", node, "--ignore-not-found", "-o", "name", "--request-timeout=8s"]),
            )
            .await?;
        if !object.ok() {
            continue;
        }
        if member {
            let address = ctx.inventory.hosts.iter().find(|h| h.name == node).map(|h| h.address);
            match remove_member(ctx, &other.name, node, address).await {
                // Its own member may be the one that does not answer, and the API that of another.
                Err(error) if error.kind() == Kind::Failed => {
                    silent = Some(error);
                    continue;
                }
                done => done?,
            }
        }
        if !object.text().trim().is_empty() {
            let delete = kubectl(["delete", "node", node, "--ignore-not-found", "--timeout=30s"]);
            ctx.must(&other.name, delete, &format!("delete the node object {node}")).await?;
        }
        return Ok(());
    }
    silent.map_or(Ok(()), Err)
}
