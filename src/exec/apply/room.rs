//! Whether the cluster can do without one more node: a worker of its pool, or a control plane.

use std::collections::HashSet;

use tokio::sync::Mutex;

use super::context::Context;
use super::drain;
use crate::error::{Error, Result};
use crate::host::Answer;
use crate::inventory::{CniPlugin, EtcdMode, Inventory, Node};
use crate::kubeadm::{NodeObject, etcd_health, nodes};
use crate::plan::Action;
use crate::resource::{etcd_probe, nodes_probe, probes, satisfied};

/// Two that look at the same time would both find room for one.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// Cordons a node for its upgrade, unless that left its pool with fewer workers than it must have. The plan counted
/// before it began; workers may have failed since.
pub(super) async fn take(ctx: &Context, through: &str, node: &str, version: &str) -> Result<()> {
    let _turn = ONE_AT_A_TIME.lock().await;
    let answer = ctx.ask(through, nodes_probe()).await?;
    if let Answer::Shell { code: 0, stdout, .. } = &answer {
        let objects = nodes(stdout)?;
        if let Some(other) = other_plane_away(&ctx.inventory, &objects, node) {
            return Err(Error::refused(format!("{node} is not emptied: the control plane {other} is not Ready"))
                .on(node)
                .hint(format!("mend {other} first, then run apply again, which goes on here")));
        }
        if let Some(away) = missing(&ctx.inventory, &objects, node) {
            return Err(Error::failed(format!("{node} is not taken out of its pool, which lacks {away} already"))
                .hint("the upgrade pauses here: upgrade.max_unavailable allows no more; see why they are not Ready or who cordoned them, then run apply again"));
        }
    }
    drain::cordon(ctx, through, node, version).await
}

/// A control plane beside this one that is not Ready. Where others bring the pod network, nodes may not be Ready yet.
fn other_plane_away(inv: &Inventory, objects: &[NodeObject], node: &str) -> Option<String> {
    let planes: HashSet<String> = inv.control_planes().into_iter().map(|n| n.name).collect();
    if !planes.contains(node) || inv.cni.plugin == CniPlugin::None {
        return None;
    }
    objects.iter().find(|o| !o.ready && o.name != node && planes.contains(&o.name)).map(|o| o.name.clone())
}

/// The workers that the node's pool lacks, when it can lack no more. A node that serves nothing costs its pool nothing.
fn missing(inv: &Inventory, objects: &[NodeObject], node: &str) -> Option<String> {
    let host = inv.hosts.iter().find(|h| h.name == node && !h.role.is_control_plane())?;
    let mates = inv.hosts.iter().filter(|h| h.pool == host.pool && !h.role.is_control_plane());
    let mates: HashSet<&str> = mates.map(|h| h.name.as_str()).collect();
    let pool: Vec<&NodeObject> = objects.iter().filter(|o| mates.contains(o.name.as_str())).collect();
    let away: Vec<&str> = pool.iter().filter(|o| !o.ready || o.unschedulable).map(|o| o.name.as_str()).collect();
    let full = away.len() >= inv.upgrade.max_unavailable.of(pool.len()) && !away.contains(&node);
    full.then(|| away.join(", "))
}

/// Refuses to take a control plane down while another one is: etcd's quorum hangs on the others. What is wrong with the
/// control plane itself does not count, for the work on it may be the cure.
pub(super) async fn others_are_well(ctx: &Context, host: &str) -> Result<()> {
    let planes = ctx.inventory.control_planes();
    let Some(own) = planes.iter().find(|n| n.name == host).filter(|_| planes.len() > 1) else { return Ok(()) };
    let mut objects = None;
    for plane in &planes {
        if let Answer::Shell { code: 0, stdout, .. } = ctx.ask(&plane.name, nodes_probe()).await? {
            objects = Some(nodes(&stdout)?);
            break;
        }
    }
    let objects = objects.ok_or_else(|| Error::unreachable("the API does not answer on any control plane"))?;
    let members = planes.iter().filter(|n| n.name != host && objects.iter().any(|o| o.name == n.name));
    for plane in members {
        if let Some(why) = unwell(ctx, plane, own).await? {
            return Err(Error::refused(format!("{host} is not taken down: {why}"))
                .on(host)
                .hint(format!("mend {} first, then run apply again, which goes on here", plane.name)));
        }
    }
    Ok(())
}

/// What is wrong with a control plane, or with etcd as it sees it: `own` may be missing there.
async fn unwell(ctx: &Context, plane: &Node, own: &Node) -> Result<Option<String>> {
    let (node, address) = (plane.name.clone(), plane.address.to_string());
    let health = Action::WaitControlPlane { node, address, timeout_s: 0 };
    if !satisfied(&health, &ctx.host(&plane.name)?.probe(&probes(&health)).await?) {
        return Ok(Some(format!("the control plane on {} is not healthy", plane.name)));
    }
    if ctx.inventory.etcd.mode != EtcdMode::Stacked {
        return Ok(None);
    }
    let Answer::Shell { code: 0, stdout, .. } = ctx.ask(&plane.name, etcd_probe()).await? else {
        return Ok(Some(format!("etcd does not answer on {}", plane.name)));
    };
    let mine = std::net::SocketAddr::new(own.address, 2379).to_string();
    let all = stdout.lines().filter(|l| !l.trim().is_empty()).nth(1).map(etcd_health).transpose()?.unwrap_or_default();
    let bad = all.iter().find(|e| !e.healthy && !e.endpoint.ends_with(&mine));
    Ok(bad.map(|e| format!("etcd's member {} is not healthy", e.endpoint)))
}
