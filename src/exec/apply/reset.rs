//! Clearing a broken join, and making a host bare.

use std::time::Duration;

use super::cluster::kubectl;
use super::context::Context;
use crate::error::{Error, Result};
use crate::host::{Answer, Command};
use crate::inventory::EtcdMode;
use crate::kubeadm::{EtcdMember, etcd_health, etcd_members};
use crate::resource::etcd_probe;

const TIMEOUT: Duration = Duration::from_secs(240);
pub(in crate::exec) const CLEAR: &str = include_str!("reset.sh");
const BARE: &str = include_str!("bare.sh");

pub(super) async fn partial(ctx: &Context, host: &str, node: &str, control_plane: bool) -> Result<()> {
    // A member that runs as a unit has no part in what broke.
    let member = control_plane && ctx.inventory.etcd.mode == EtcdMode::Stacked;
    leave(ctx, host, node, member).await?;
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
    leave(ctx, host, node, member).await?;
    ctx.script(host, "clear", CLEAR, &[], TIMEOUT, "clear the node").await?;
    let (units, files, dirs) = (units.join(" "), files.join(" "), dirs.join(" "));
    ctx.script(host, "bare", BARE, &[&units, &files, &dirs], TIMEOUT, "make the host bare").await.map(drop)
}

/// Takes the node out of the cluster through a control plane that stays: its etcd member, then its node object. With no
/// such control plane there is nobody to tell. Never removes a member when that would lose quorum.
async fn leave(ctx: &Context, host: &str, node: &str, member: bool) -> Result<()> {
    let others: Vec<_> = ctx
        .inventory
        .control_planes()
        .into_iter()
        .filter(|n| n.name != node && ctx.hosts.contains_key(&n.name))
        .collect();
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
            leave_etcd(ctx, host, node, &other.name).await?;
        }
        if !object.text().trim().is_empty() {
            let delete = kubectl(["delete", "node", node, "--ignore-not-found", "--timeout=30s"]);
            ctx.must(&other.name, delete, &format!("delete the node object {node}")).await?;
        }
        return Ok(());
    }
    Ok(())
}

async fn leave_etcd(ctx: &Context, host: &str, node: &str, through: &str) -> Result<()> {
    let Answer::Shell { code: 0, stdout, .. } = ctx.ask(through, etcd_probe()).await? else {
        return Ok(());
    };
    let mut lines = stdout.lines().filter(|l| !l.trim().is_empty());
    let members = etcd_members(lines.next().unwrap_or_default())?;
    let health = lines.next().and_then(|l| etcd_health(l).ok()).unwrap_or_default();
    let address =
        ctx.inventory.hosts.iter().find(|h| h.name == node).map(|h| h.address.to_string()).unwrap_or_default();
    let is_it = |m: &EtcdMember| m.name == node || m.peer_urls.iter().any(|u| u.contains(&format!("//{address}:")));
    let Some(member) = members.iter().find(|m| is_it(m)) else {
        return Ok(());
    };
    let healthy_others = health.iter().filter(|h| h.healthy && !h.endpoint.contains(&format!("//{address}:"))).count();
    let left = members.len() - 1;
    if left > 0 && healthy_others < left / 2 + 1 {
        return Err(Error::refused(format!(
            "removing etcd member {node} would lose quorum: {healthy_others} of the {left} others are healthy"
        ))
        .on(host)
        .hint("bring the other members back first"));
    }
    if ctx.inventory.etcd.runs_on(node) {
        let args = ["member", "remove", &format!("{:x}", member.id)];
        return super::etcd::change(ctx, through, &args, &format!("remove etcd member {node}")).await;
    }
    let p = "/etc/kubernetes/pki/etcd";
    let argv = [
        "etcdctl".to_owned(),
        "--endpoints=https://127.0.0.1:2379".into(),
        format!("--cacert={p}/ca.crt"),
        format!("--cert={p}/healthcheck-client.crt"),
        format!("--key={p}/healthcheck-client.key"),
        "member".into(),
        "remove".into(),
        format!("{:x}", member.id),
    ];
    ctx.must(through, Command::new(argv).env("ETCDCTL_API", "3"), &format!("remove etcd member {node}")).await.map(drop)
}
