//! What ran on through a restore and knows later revisions than etcd has now. A watch from such a revision is shown nothing
//! before etcd comes there again: kubelets would start no pod, kube-proxy would know no new address (kubernetes.io,
//! "Operating etcd clusters for Kubernetes", on restoring: restart the components).

use std::collections::BTreeSet;

use super::restore::GROUP;
use super::step;
use crate::error::{Error, FailedCommand, Result};
use crate::exec::Context;
use crate::exec::apply::{bring, rollout};
use crate::host::Answer;
use crate::resource::shell_probe;
use crate::rotation::{Behind, behind};

/// The kubelets of `hosts` begin with what the cluster is now.
///
/// # Errors
/// One does not start, or its host cannot be reached.
pub async fn kubelets_anew(ctx: &Context, hosts: &[String]) -> Result<()> {
    let all = hosts.iter().map(|host| {
        let anew = bring(ctx, host, "kubelet.service", true, Some(true));
        step(ctx, GROUP, host, "restart the kubelet: it knows later revisions than etcd has now", anew)
    });
    futures::future::try_join_all(all)
        .await
        .map(drop)
        .map_err(|e| e.hint("restart the kubelet of every host that ran on, then run `provision apply`"))
}

/// The pods of kube-system that were made before `since` (RFC 3339 in UTC) and may ask the API are made anew, as their
/// owners allow. Returns, in words, those that were not, and those of other people: it is theirs to say when.
///
/// # Errors
/// The pods cannot be listed.
pub async fn pods_anew(ctx: &Context, node: &str, since: &str) -> Result<Vec<String>> {
    let answer = ctx.ask(node, shell_probe("token-pods", &[])).await?;
    let Answer::Shell { code: 0, stdout, .. } = &answer else {
        let error = Error::failed("failed to list the pods").on(node);
        return Err(match &answer {
            Answer::Shell { stderr, .. } => error.command(FailedCommand::new("kubectl get pods", "failed", stderr)),
            _ => error,
        });
    };
    let (ours, others): (Vec<Behind>, Vec<Behind>) =
        behind(stdout, since).into_iter().partition(|b| b.namespace == "kube-system" && b.owner.is_some());
    let mut left: BTreeSet<String> = others.iter().map(Behind::words).collect();
    let owners: BTreeSet<String> = ours.into_iter().filter_map(|b| b.owner).collect();
    for owner in owners {
        let anew = rollout(ctx, node, "kube-system", &owner, ctx.inventory.verify.timeout_s);
        if !step(ctx, GROUP, node, &format!("restart kube-system/{owner}"), anew).await? {
            left.insert(format!("kube-system/{owner}"));
        }
    }
    Ok(left.into_iter().collect())
}
