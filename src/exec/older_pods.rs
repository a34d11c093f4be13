//! Pods that are older than a change of something that they read when they start: lists them and restarts their owners.

use std::collections::BTreeSet;
use std::time::Duration;

use super::apply::kubectl;
use super::etcd::step;
use crate::error::{Error, FailedCommand, Result};
use crate::exec::Context;
use crate::host::Answer;
use crate::resource::shell_probe;
use crate::rotation::{Behind, behind};

/// For one rollout.
const ROLLOUT: Duration = Duration::from_secs(1800);

/// The pods that may ask the API and were made before `since` (RFC 3339 in UTC).
///
/// # Errors
/// They cannot be listed.
pub(super) async fn older_pods(ctx: &Context, host: &str, since: &str) -> Result<Vec<Behind>> {
    match ctx.ask(host, shell_probe("token-pods", &[])).await? {
        Answer::Shell { code: 0, stdout, .. } => Ok(behind(&stdout, since)),
        Answer::Shell { stderr, .. } => Err(Error::failed("failed to list the pods")
            .on(host)
            .command(FailedCommand::new("kubectl get pods", "failed", &stderr))),
        _ => Err(Error::failed("the host gave no answer").on(host)),
    }
}

/// Restarts the owners of `pods`, one after the other, as they allow, as steps of `group`. Returns in words those that did
/// not come through: one is restarted by hand alone, or is gone, or takes too long.
pub(super) async fn restart_owners(
    ctx: &Context,
    group: &str,
    host: &str,
    pods: impl IntoIterator<Item = Behind>,
) -> Result<BTreeSet<String>> {
    let owners: BTreeSet<(String, String)> =
        pods.into_iter().filter_map(|pod| Some((pod.namespace, pod.owner?))).collect();
    let mut left = BTreeSet::new();
    for (namespace, owner) in owners {
        let name = format!("{namespace}/{owner}");
        if !step(ctx, group, host, &format!("restart {name}"), rollout(ctx, host, &namespace, &owner)).await? {
            left.insert(name);
        }
    }
    Ok(left)
}

/// Restarts an owner and waits for its rollout. Returns whether the rollout has ended.
async fn rollout(ctx: &Context, host: &str, namespace: &str, owner: &str) -> Result<bool> {
    let timeout = format!("--timeout={}s", ctx.inventory.verify.timeout_s.max(300));
    if !ctx.run(host, &kubectl(["-n", namespace, "rollout", "restart", owner])).await?.ok() {
        return Ok(false);
    }
    let status = kubectl(["-n", namespace, "rollout", "status", owner, &timeout]).timeout(ROLLOUT);
    Ok(ctx.run(host, &status).await?.ok())
}
