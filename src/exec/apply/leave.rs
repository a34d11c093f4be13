//! A node out of etcd and out of the cluster.

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::cluster::kubectl;
use super::context::Context;
use crate::error::{Error, Kind, Result};
use crate::host::{Answer, Command};
use crate::inventory::EtcdMode;
use crate::kubeadm::{Members, without_endpoint};
use crate::plan::Action;
use crate::resource::{etcd_probe, kubeadm_status, kubeadm_status_probe, probes, satisfied};

/// Between two looks at etcd.
const PAUSE: Duration = Duration::from_secs(1);
/// How long pods that are deleted by force may take.
const PODS: Duration = Duration::from_secs(120);

/// Takes the node's member out of etcd and waits until it is gone and the others are as `action` wants them.
pub(super) async fn etcd(
    ctx: &Context,
    through: &str,
    node: &str,
    address: Option<IpAddr>,
    action: &Action,
) -> Result<()> {
    let Action::LeaveEtcd { timeout_s, healthy, .. } = action else { return Ok(()) };
    let until = Instant::now() + Duration::from_secs(*timeout_s);
    others_are_healthy(ctx, through, node, healthy, until).await?;
    remove_member(ctx, through, node, address).await?;
    let questions = probes(action);
    loop {
        // etcd may be without a leader for a moment: then it does not answer, which is one more reason to wait.
        if satisfied(action, &ctx.host(through)?.probe(&questions).await?) {
            return Ok(());
        }
        if Instant::now() >= until {
            return Err(Error::failed(format!(
                "etcd is not well {timeout_s} s after {node} was taken out of it: see `etcdctl member list` and `etcdctl endpoint health --cluster`"
            ))
            .on(through)
            .hint("run the command again: it goes on from what it finds"));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Waits until all members that were healthy in the plan, and stay, are: a member that became unhealthy since, and one
/// that is removed, are two voters lost.
///
/// Errors: one of them is not healthy at `until`; the member was not removed.
async fn others_are_healthy(ctx: &Context, through: &str, node: &str, wanted: &[String], until: Instant) -> Result<()> {
    loop {
        let members = match ctx.ask(through, etcd_probe()).await? {
            Answer::Shell { code: 0, stdout, .. } => Members::read(&stdout).map_err(|e| e.on(through))?,
            _ => Members::default(),
        };
        let is_healthy = |name: &&String| members.names(true).any(|n| n == name.as_str());
        let bad: Vec<&str> = wanted.iter().filter(|name| !is_healthy(name)).map(String::as_str).collect();
        if bad.is_empty() {
            return Ok(());
        }
        if Instant::now() >= until {
            return Err(Error::failed(format!(
                "etcd member {node} was not removed: {} is not healthy any more",
                bad.join(", ")
            ))
            .on(through)
            .hint("`provision status` shows etcd's members; run the command again when the others are healthy"));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Removes the node's member, when there is one, unless that would lose quorum.
///
/// Errors: `Refused` when it would.
pub(super) async fn remove_member(ctx: &Context, through: &str, node: &str, address: Option<IpAddr>) -> Result<()> {
    let Answer::Shell { code: 0, stdout, .. } = ctx.ask(through, etcd_probe()).await? else {
        return Err(Error::new(Kind::Failed, format!("etcd does not answer, so {node} cannot be taken out of it"))
            .on(through)
            .hint("`provision status` shows which members are healthy; a majority that is gone for good takes `provision etcd restore`"));
    };
    let members = Members::read(&stdout).map_err(|e| e.on(through))?;
    let Some(member) = members.of(node, address) else { return Ok(()) };
    let left = members.without(member.id);
    if !left.has_quorum() {
        return Err(Error::refused(format!(
            "removing etcd member {node} would lose quorum: {} of the {} others are healthy",
            left.healthy, left.voters
        ))
        .on(through)
        .hint("bring the other members back first"));
    }
    if ctx.inventory.etcd.mode == EtcdMode::External {
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

/// Takes the node's endpoint, its object and its pods away. Pods of a node that is gone would be listed for a minute, and
/// the annotations of etcd's lead kubeadm to an etcd that is no more.
pub(in crate::exec) async fn forget(ctx: &Context, through: &str, node: &str) -> Result<()> {
    let answer = ctx.ask(through, kubeadm_status_probe()).await?;
    let status = kubeadm_status(&answer).unwrap_or_default();
    let without = without_endpoint(status, node);
    if without != status {
        let patch = serde_json::json!({ "data": { "ClusterStatus": without } }).to_string();
        let args = ["-n", "kube-system", "patch", "configmap", "kubeadm-config", "--type", "merge", "-p", &patch];
        ctx.must(through, kubectl(args), &format!("take {node} out of kubeadm's ClusterStatus")).await?;
    }
    let object = kubectl(["delete", "node", node, "--ignore-not-found", "--timeout=30s"]);
    ctx.must(through, object, &format!("delete the node object {node}")).await?;
    let field = format!("spec.nodeName={node}");
    let args = ["delete", "pods", "--all-namespaces", "--field-selector", &field, "--force", "--grace-period=0"];
    ctx.must(through, kubectl(args).timeout(PODS), &format!("delete the pods of {node}")).await.map(drop)
}
