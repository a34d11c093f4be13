//! What a phase asks of the cluster as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::run::{Wish, Workloads};
use super::stage::GROUP;
use crate::error::{Error, Result};
use crate::exec::apply::write;
use crate::exec::older_pods::{older_pods, restart_owners};
use crate::exec::{Context, etcd};
use crate::rotation::{Behind, Family, Phase, Seen};

/// How long pods that were told to end may take.
const ENDING: Duration = Duration::from_secs(300);
/// Between two looks at them.
const PAUSE: Duration = Duration::from_secs(1);

/// Joining hosts, service accounts, aggregated API servers and the pods of kube-system follow; then the mark.
pub(super) async fn follow(
    ctx: &Context,
    wish: &Wish,
    host: &str,
    phase: Phase,
    seen: &BTreeMap<String, Seen>,
) -> Result<()> {
    let dir = wish.family.dir();
    let timeout = ctx.inventory.verify.timeout_s.max(120).to_string();
    let args = [wish.family.name(), wish.family.cert(), if phase == Phase::Drop { "alone" } else { "both" }, &timeout];
    let limit = Duration::from_secs(ctx.inventory.verify.timeout_s + 300);
    let text = include_str!("publish.sh");
    let publish = async {
        ctx.script(host, "rotation-publish", text, &args, limit, "tell the cluster of its CAs").await.map(|o| o.text())
    };
    let now = etcd::step(ctx, GROUP, host, "joining hosts and service accounts learn the CAs", publish).await?;
    if wish.family == Family::Kubernetes && phase != Phase::Switch {
        // Kept of the first time: pods that were made since are not restarted again when this goes on after a stop.
        let kept = seen.get(host).and_then(|s| s.since.clone()).filter(|_| phase == Phase::Trust);
        let since = kept.unwrap_or_else(|| now.trim().to_owned());
        if phase == Phase::Trust {
            write(ctx, host, &format!("{dir}/since"), &format!("{since}\n"), 0o600).await?;
        }
        restart_behind(ctx, wish, host, phase, &since).await?;
    }
    write(ctx, host, &format!("{dir}/cluster"), &format!("{}\n", phase.word()), 0o600).await
}

/// Pods that were made before `since` are made anew: those of kube-system always, the others as is wished.
async fn restart_behind(ctx: &Context, wish: &Wish, host: &str, phase: Phase, since: &str) -> Result<()> {
    let ours = |b: &Behind| b.namespace == "kube-system" || wish.workloads == Workloads::Restart;
    let pods = older_pods(ctx, host, since).await?;
    // One that does not come through is among those that are left.
    restart_owners(ctx, GROUP, host, pods.into_iter().filter(ours)).await?;
    let until = Instant::now() + ENDING;
    let left = loop {
        let left = older_pods(ctx, host, since).await?;
        // A rollout is through before the last of the old pods is gone.
        if !left.iter().any(|b| b.ends) || Instant::now() >= until {
            break left;
        }
        tokio::time::sleep(PAUSE).await;
    };
    if phase == Phase::Drop || left.is_empty() || wish.workloads == Workloads::Leave {
        return Ok(());
    }
    let names: BTreeSet<String> = left.iter().map(Behind::words).collect();
    let names: String = names.iter().map(|n| format!("\n  {n}")).collect();
    Err(Error::refused(format!(
        "every node trusts both CAs, but these have pods that were made before {since} and trust the old one alone:{names}"
    ))
    .on(host)
    .hint("restart them (`kubectl rollout restart`) and run the same command again: it goes on")
    .hint("`--workloads restart` restarts them for you; `--workloads leave` is for those that never ask the API"))
}
