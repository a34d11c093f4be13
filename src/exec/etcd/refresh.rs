//! What ran on through a restore and knows later revisions than etcd has now. A watch from such a revision is shown nothing
//! before etcd comes there again: kubelets would start no pod, kube-proxy would know no new address (kubernetes.io,
//! "Operating etcd clusters for Kubernetes", on restoring: restart the components).

use std::collections::BTreeSet;

use super::restore::GROUP;
use super::step;
use crate::error::Result;
use crate::exec::Context;
use crate::exec::apply::bring;
use crate::exec::older_pods::{older_pods, restart_owners};
use crate::rotation::Behind;

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
pub async fn pods_anew(ctx: &Context, node: &str, since: &str) -> Result<BTreeSet<String>> {
    let (ours, others): (Vec<_>, Vec<_>) = older_pods(ctx, node, since)
        .await?
        .into_iter()
        .partition(|pod| pod.namespace == "kube-system" && pod.owner.is_some());
    let mut left = restart_owners(ctx, GROUP, node, ours).await?;
    left.extend(others.iter().map(Behind::words));
    Ok(left)
}
