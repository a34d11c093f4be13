//! The pods of CoreDNS to more than one node.

use std::time::Duration;

use super::cluster::kubectl;
use super::context::Context;
use crate::error::{Error, Result};
use crate::exec::StepNote;
use crate::kubeadm::MARK_PREFIX;
use crate::plan::Action;
use crate::resource::{Crowded, DNS, DNS_MARK, crowded, probes};

const NAMESPACE: &str = "kube-system";
/// For a pod's end: its grace of 30 s, and CoreDNS waits 5 s for those that still ask it.
const END: Duration = Duration::from_secs(90);

/// Deletes one of the pods, so that the scheduler places another, while the rest go on answering. The scheduler prefers a
/// node without one. Where it does not take another node, that is noted on the Deployment, and left so until the nodes
/// change.
pub(super) async fn spread(
    ctx: &Context,
    host: &str,
    action: &Action,
    timeout_s: u64,
    notes: &(dyn Fn(StepNote) + Send + Sync),
) -> Result<()> {
    available(ctx, host, timeout_s).await?;
    let Some(before) = look(ctx, host, action).await? else { return Ok(()) };
    let delete = kubectl(["-n", NAMESPACE, "delete", "pod", &before.pod, "--ignore-not-found", "--timeout=60s"]);
    ctx.must(host, delete.timeout(END), &format!("delete the pod {}", before.pod)).await?;
    available(ctx, host, timeout_s).await?;
    let Some(after) = look(ctx, host, action).await? else { return Ok(()) };
    notes(StepNote::Text(format!("the scheduler keeps CoreDNS on {} alone", after.node.escape_debug())));
    let mark = format!("{MARK_PREFIX}{DNS_MARK}={}", after.mark);
    let annotate = kubectl(["-n", NAMESPACE, "annotate", "deployment", DNS, "--overwrite", &mark]);
    ctx.must(host, annotate, "annotate the Deployment of CoreDNS").await.map(drop)
}

async fn look(ctx: &Context, host: &str, action: &Action) -> Result<Option<Crowded>> {
    let answers = ctx.host(host)?.probe(&probes(action)).await?;
    crowded(&answers).ok_or_else(|| {
        Error::failed("failed to read the nodes and the pods of CoreDNS")
            .on(host)
            .hint("`provision status` shows whether the API answers")
    })
}

/// Waits until all pods of the Deployment are available.
async fn available(ctx: &Context, host: &str, timeout_s: u64) -> Result<()> {
    let limit = format!("--timeout={}s", timeout_s.max(1));
    let status = kubectl(["-n", NAMESPACE, "rollout", "status", "deployment/coredns", &limit]);
    let room = Duration::from_secs(timeout_s + 30);
    ctx.must(host, status.timeout(room), "wait until the pods of CoreDNS are available")
        .await
        .map(drop)
        .map_err(|e| e.hint("`kubectl -n kube-system describe pods -l k8s-app=kube-dns` shows what they wait for"))
}
