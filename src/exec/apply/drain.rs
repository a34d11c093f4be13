//! Pods off a node, and onto it again.

use std::time::Duration;

use tokio::time::Instant;

use super::cluster::kubectl;
use super::context::Context;
use super::network;
use crate::error::{Error, FailedCommand, Result};
use crate::host::Answer;
use crate::inventory::{LostPods, Unfinished};
use crate::resource::{VERIFY_NAMESPACE, movable_pods, pods_probe};

const SHORT: Duration = Duration::from_secs(60);
/// What kubectl may take beyond the time its drain is given.
const SLACK: Duration = Duration::from_secs(60);

/// Marks the node and keeps pods off it. One that others keep pods off stays theirs.
pub(super) async fn cordon(ctx: &Context, through: &str, node: &str, version: &str) -> Result<()> {
    // The cordon and the mark that it is ours are one patch: killed before or after it, the next run knows whose it is.
    const TEXT: &str = r#"# apply:cordon
k="kubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout=20s"
off=$($k get node "$1" -o 'jsonpath={.spec.unschedulable}') || exit 1
if [ "$off" = true ]; then
    $k annotate node "$1" --overwrite "provision.dev/upgrading-to=$2" >/dev/null
else
    $k patch node "$1" --type merge -p "{\"metadata\":{\"annotations\":{\"provision.dev/upgrading-to\":\"$2\",\"provision.dev/cordoned-by\":\"upgrade\"}},\"spec\":{\"unschedulable\":true}}" >/dev/null
fi
"#;
    ctx.script(through, "cordon", TEXT, &[node, version], SHORT, &format!("cordon {node}")).await.map(drop)
}

/// Lets pods onto the node if it was us who kept them off.
pub(super) async fn uncordon(ctx: &Context, through: &str, node: &str, ends: bool) -> Result<()> {
    const TEXT: &str = r#"# apply:uncordon
k="kubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout=20s"
by=$($k get node "$1" -o 'jsonpath={.metadata.annotations.provision\.dev/cordoned-by}') || exit 1
if [ -n "$by" ]; then
    $k patch node "$1" --type merge -p '{"metadata":{"annotations":{"provision.dev/cordoned-by":null}},"spec":{"unschedulable":null}}' >/dev/null || exit 1
fi
if [ "$2" = ends ]; then $k annotate node "$1" provision.dev/upgrading-to- >/dev/null; fi
"#;
    let ends = if ends { "ends" } else { "goes-on" };
    ctx.script(through, "uncordon", TEXT, &[node, ends], SHORT, &format!("uncordon {node}")).await.map(drop)
}

/// Moves the node's pods elsewhere, as long as that takes and their disruption budgets allow.
pub(super) async fn drain(
    ctx: &Context,
    through: &str,
    node: &str,
    timeout_s: u64,
    grace_s: Option<u32>,
    unfinished: Unfinished,
) -> Result<()> {
    let force = unfinished == Unfinished::Force;
    let Some(error) = empty(ctx, through, node, timeout_s, grace_s, force).await? else { return Ok(()) };
    // Nothing that runs was changed on the node yet: it serves until the cause is gone.
    uncordon(ctx, through, node, true).await.map_err(|e| {
        Error::unreachable("the API does not answer")
            .source(e)
            .hint(format!("{node} stays cordoned: run apply again when the API answers, or `kubectl uncordon {node}`"))
    })?;
    if unfinished == Unfinished::Skip {
        return Err(error.hint(format!("upgrade.drain.unfinished is `skip`: {node} is schedulable again and stays at its version; run apply again for it")));
    }
    Err(error
        .hint(format!("the upgrade pauses here: {node} is schedulable again and runs what it ran before; run apply again when the pods can move"))
        .hint("more replicas, a budget that allows one disruption, or moving a pod without a controller by hand; or upgrade.drain.unfinished = \"skip\" or \"force\""))
}

/// Moves the pods of a node that leaves elsewhere. A node that does not get empty stays, and takes pods again.
pub(super) async fn evacuate(
    ctx: &Context,
    through: &str,
    node: &str,
    timeout_s: u64,
    grace_s: Option<u32>,
    unfinished: Unfinished,
) -> Result<()> {
    // As with an upgrade: the cordon and whose it is are one patch. A mark of an earlier run stays as it is.
    const CORDON: &str = r#"# apply:leave-cordon
k="kubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout=20s"
off=$($k get node "$1" -o 'jsonpath={.spec.unschedulable}') && by=$($k get node "$1" -o 'jsonpath={.metadata.annotations.provision\.dev/leaving}') || exit 1
if [ -z "$by" ]; then if [ "$off" = true ]; then by=others; else by=us; fi; fi
$k patch node "$1" --type merge -p "{\"metadata\":{\"annotations\":{\"provision.dev/leaving\":\"$by\"}},\"spec\":{\"unschedulable\":true}}" >/dev/null
"#;
    ctx.script(through, "leave-cordon", CORDON, &[node], SHORT, &format!("cordon {node}")).await?;
    let force = unfinished == Unfinished::Force;
    let Some(error) = empty(ctx, through, node, timeout_s, grace_s, force).await? else { return Ok(()) };
    stay(ctx, through, node).await.map_err(|e| Error::unreachable("the API does not answer").source(e))?;
    Err(error
        .hint(format!("{node} stays in the cluster and takes pods again; what was moved off it runs elsewhere"))
        .hint("more replicas, a budget that allows one disruption, or moving a pod without a controller by hand, then run the command again; or upgrade.drain.unfinished = \"force\""))
}

/// Takes back what [`evacuate`] began.
async fn stay(ctx: &Context, through: &str, node: &str) -> Result<()> {
    const TEXT: &str = r#"# apply:leave-uncordon
k="kubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout=20s"
by=$($k get node "$1" -o 'jsonpath={.metadata.annotations.provision\.dev/leaving}') || exit 1
case $by in
us) $k patch node "$1" --type merge -p '{"metadata":{"annotations":{"provision.dev/leaving":null}},"spec":{"unschedulable":null}}' >/dev/null ;;
?*) $k annotate node "$1" provision.dev/leaving- >/dev/null ;;
esac
"#;
    ctx.script(through, "leave-uncordon", TEXT, &[node], SHORT, &format!("uncordon {node}")).await.map(drop)
}

/// Drains the node. The error that is returned, not raised, says which pods are left and which budgets allow nothing.
async fn empty(
    ctx: &Context,
    through: &str,
    node: &str,
    timeout_s: u64,
    grace_s: Option<u32>,
    force: bool,
) -> Result<Option<Error>> {
    // Test pods that an earlier run left for a look are bare, and this program's own.
    let own = format!("{VERIFY_NAMESPACE}/");
    if left(ctx, through, node).await.unwrap_or_default().iter().any(|pod| pod.starts_with(&own)) {
        network::remove(ctx, through).await?;
    }
    let timeout = format!("--timeout={timeout_s}s");
    let grace = grace_s.map(|s| format!("--grace-period={s}"));
    let policy = &ctx.inventory.upgrade.drain;
    let mut words = vec!["drain", node, "--ignore-daemonsets", timeout.as_str()];
    words.extend(grace.as_deref());
    if policy.local_data == LostPods::Delete {
        words.push("--delete-emptydir-data");
    }
    // What forces here lets pods go that no controller starts again; their budgets hold all the same.
    let bare = (policy.bare_pods == LostPods::Delete).then_some("--force");
    let limit = Duration::from_secs(timeout_s) + SLACK;
    let command = kubectl(words.iter().copied().chain(bare)).timeout(limit);
    let begun = Instant::now();
    let output = ctx.run(through, &command).await?;
    if output.ok() {
        return Ok(None);
    }
    let left = left(ctx, through, node).await?;
    if left.is_empty() {
        return Ok(None);
    }
    if force {
        let command = kubectl(words.into_iter().chain(["--force", "--disable-eviction"])).timeout(limit);
        let attempted = format!("delete the pods that are left on {node}: {}", left.join(", "));
        return ctx.must(through, command, &attempted).await.map(|_| None);
    }
    let budgets = blocking(ctx, through).await.unwrap_or_default();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // kubectl refuses some pods at once, and others when its time is over.
    let after = begun.elapsed().as_secs();
    let error = Error::failed(format!("{node} is not empty after {after} s: {} left", left.join(", ")))
        .command(FailedCommand::new(command.line(), output.exit.to_string(), &format!("{said}{budgets}")));
    Ok(Some(error))
}

/// The pods that are left on the node.
async fn left(ctx: &Context, through: &str, node: &str) -> Result<Vec<String>> {
    let answer = ctx.ask(through, pods_probe(node)).await?;
    movable_pods(&answer).ok_or_else(|| {
        let stderr = if let Answer::Shell { stderr, .. } = &answer { stderr.as_str() } else { "" };
        Error::failed(format!("failed to list the pods of {node}")).on(through).command(FailedCommand::new(
            "kubectl get pods",
            "failed",
            stderr,
        ))
    })
}

/// The disruption budgets that allow nothing at the moment, one a line.
async fn blocking(ctx: &Context, through: &str) -> Result<String> {
    let format = "jsonpath={range .items[?(@.status.disruptionsAllowed==0)]}budget {.metadata.namespace}/{.metadata.name} allows no disruption: {.status.currentHealthy} healthy, {.status.desiredHealthy} wanted{\"\\n\"}{end}";
    let command = kubectl(["get", "poddisruptionbudgets", "--all-namespaces", "-o", format, "--request-timeout=10s"]);
    Ok(ctx.run(through, &command).await?.text())
}
