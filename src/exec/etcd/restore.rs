//! A snapshot becomes the data of a new etcd with one member.

use std::io::Read;
use std::net::SocketAddr;
use std::time::Duration;

use super::step;
use super::transfer::send;
use super::util::{script, with_util};
use crate::backup::{Backup, BackupManifest, is_key};
use crate::error::Result;
use crate::exec::Context;
use crate::exec::apply::{CLEAR, forget, kubectl};
use crate::host::{Command, FileSpec};
use crate::inventory::Node;
use crate::kubeadm::NodeObject;

/// Where the snapshot and what is made of it lie until they are put into place.
const DIR: &str = "/var/lib/provision/etcd-restore";
const STAGE: &str = with_util!("etcd-stage", "stage.sh");
const SET_ASIDE: &str = include_str!("set_aside.sh");
const CLUSTER_INFO: &str = include_str!("cluster_info.sh");
const PLACE: &str = include_str!("place.sh");
const TIMEOUT: Duration = Duration::from_secs(600);
pub(super) const GROUP: &str = "restore";

/// Sends the snapshot to the node and makes etcd's data of it there, without touching anything that runs: a snapshot
/// that cannot be restored is known before the old state is gone.
pub async fn stage(ctx: &Context, node: &Node, manifest: &BackupManifest, snapshot: impl Read) -> Result<()> {
    let name = node.name.as_str();
    let make = Command::new(["mkdir", "-p", "-m", "0700", "--", DIR]);
    ctx.must(name, make, "make a directory for the snapshot").await?;
    let path = format!("{DIR}/snapshot.db");
    let sending = send(ctx, name, &path, snapshot);
    step(ctx, GROUP, name, "send the snapshot", sending).await?;
    let peer = format!("https://{}", SocketAddr::new(node.address, 2380));
    let args = [DIR, name, &peer, manifest.snapshot.digest.hex()];
    let making = script(ctx, name, ("etcd-stage", STAGE), &args, TIMEOUT, "restore the snapshot");
    step(ctx, GROUP, name, "make etcd's data of the snapshot", making).await.map(drop)
}

/// Stops what is left of the old control planes, keeping their etcd data and keys aside in `aside` on each, and puts the
/// staged data and the backup's keys into place on `node`. Then `kubeadm init` may run there.
pub async fn start_over(
    ctx: &Context,
    control_planes: &[Node],
    node: &str,
    backup: &Backup,
    aside: &str,
) -> Result<()> {
    // The chosen one last: should another fail, it stands as it was.
    let others = control_planes.iter().map(|n| n.name.as_str()).filter(|n| *n != node);
    for host in others.chain([node]) {
        let clear = async {
            ctx.script(host, "etcd-set-aside", SET_ASIDE, &[aside], TIMEOUT, "set the old state aside").await?;
            ctx.script(host, "clear", CLEAR, &[], TIMEOUT, "clear the control plane").await
        };
        step(ctx, GROUP, host, "set the old control plane aside", clear).await?;
    }
    let place = async {
        for (path, content) in &backup.files {
            let mode = if is_key(path) { 0o600 } else { 0o644 };
            ctx.host(node)?.write_file(&FileSpec { path: path.clone(), content: content.clone(), mode }).await?;
        }
        ctx.script(node, "etcd-place", PLACE, &[DIR], TIMEOUT, "put etcd's data into place").await
    };
    step(ctx, GROUP, node, "put the data and the CAs into place", place).await.map(drop)
}

/// Takes what is no more out of the restored cluster: the node objects of the snapshot's other control planes, and their
/// pods, whose annotations would lead kubeadm to an etcd that is gone; and those of the hosts that were `bare`: kubeadm
/// joins none while a node of its name seems to be there. And the endpoint that joins are told is the inventory's again.
/// Returns the names that were forgotten.
pub async fn forget_others(ctx: &Context, node: &str, bare: &[String]) -> Result<Vec<String>> {
    let listed =
        ctx.must(node, kubectl(["get", "nodes", "-o", "json", "--request-timeout=20s"]), "list the nodes").await?;
    let gone = stale(&crate::kubeadm::nodes(&listed.text())?, node, bare);
    for name in &gone {
        step(ctx, GROUP, node, &format!("forget the old node {name}"), forget(ctx, node, name)).await?;
    }
    let url = format!("https://{}", ctx.inventory.api_endpoint().authority());
    let (what, args) = ("tell joining hosts where the API is", [url.as_str()]);
    let telling = ctx.script(node, "cluster-info", CLUSTER_INFO, &args, TIMEOUT, what);
    step(ctx, GROUP, node, what, telling).await?;
    Ok(gone)
}

/// The nodes of the snapshot that cannot be what stands now under their name.
fn stale(nodes: &[NodeObject], node: &str, bare: &[String]) -> Vec<String> {
    let roles = ["node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"];
    let plane = |n: &NodeObject| roles.iter().any(|role| n.labels.contains_key(*role));
    nodes.iter().filter(|n| n.name != node && (plane(n) || bare.contains(&n.name))).map(|n| n.name.clone()).collect()
}
