//! What is done and awaited through a control plane.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::context::Context;
use crate::error::{Error, Result};
use crate::exec::StepNote;
use crate::host::{Answer, Command};
use crate::plan::Action;
use crate::resource::{probes, restless, satisfied};

const KUBECTL: [&str; 3] = ["kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf"];
/// Between two looks; a look is one round trip.
const PAUSE: Duration = Duration::from_millis(700);
/// Between two looks of an upgrade, which take longer and go on for longer.
pub(super) const UPGRADE_PAUSE: Duration = Duration::from_secs(1);

pub(in crate::exec) fn kubectl<'a>(args: impl IntoIterator<Item = &'a str>) -> Command {
    Command::new(KUBECTL.into_iter().chain(args))
}

const RESTART: &str = include_str!("restart.sh");
/// Longer than the kubelet waits before it starts a container that ended twice.
const RESTART_TIMEOUT: Duration = Duration::from_secs(240);

/// Ends the containers of kube-system with these names on the host, all at once, and waits until others run.
pub(in crate::exec) async fn restart_pods(ctx: &Context, host: &str, components: &[String]) -> Result<()> {
    let restarts = components.iter().map(|component| async move {
        let attempted = format!("restart {component}");
        ctx.script(host, "static-pod-restart", RESTART, &[component], RESTART_TIMEOUT, &attempted).await
    });
    futures::future::try_join_all(restarts)
        .await
        .map(drop)
        .map_err(|e| e.hint("`ctr -n k8s.io tasks ls` on the host, and `journalctl -u kubelet`"))
}

/// The same of one container, which has `limit_s` seconds. Whether another runs: the kubelet holds back the successor of
/// one that ended before, a short while ago.
pub(in crate::exec) async fn restart_within(ctx: &Context, host: &str, component: &str, limit_s: u64) -> Result<bool> {
    let attempted = format!("restart {component}");
    let args = [component, &limit_s.to_string()];
    let ended = ctx.script(host, "static-pod-restart", RESTART, &args, RESTART_TIMEOUT, &attempted).await?;
    Ok(ended.text().trim() != "waiting")
}

pub(super) async fn node_meta(
    ctx: &Context,
    host: &str,
    node: &str,
    labels: &BTreeMap<String, String>,
    taints: &[String],
    remove_taints: &[String],
) -> Result<()> {
    if !labels.is_empty() {
        let pairs: Vec<String> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let args = ["label", "node", node, "--overwrite"].into_iter().chain(pairs.iter().map(String::as_str));
        ctx.must(host, kubectl(args), &format!("label node {node}")).await?;
    }
    if !taints.is_empty() {
        let args = ["taint", "node", node, "--overwrite"].into_iter().chain(taints.iter().map(String::as_str));
        ctx.must(host, kubectl(args), &format!("taint node {node}")).await?;
    }
    for taint in remove_taints {
        let command = kubectl(["taint", "node", node, &format!("{taint}-")]);
        let output = ctx.run(host, &command).await?;
        // A taint that is not there is what is wanted.
        if !output.ok() && !String::from_utf8_lossy(&output.stderr).contains("not found") {
            output.check(host, &command, &format!("take a taint off node {node}"))?;
        }
    }
    Ok(())
}

/// Waits until the action's own probes are satisfied.
pub(in crate::exec) async fn wait(
    ctx: &Context,
    host: &str,
    action: &Action,
    notes: &(dyn Fn(StepNote) + Send + Sync),
) -> Result<()> {
    let (what, timeout_s) = match action {
        Action::WaitNodeReady { node, timeout_s } => (format!("node {node} is not Ready"), *timeout_s),
        Action::WaitControlPlane { node, timeout_s, .. } => {
            (format!("the control plane on {node} is not healthy"), *timeout_s)
        }
        Action::WaitStaticPods { node, timeout_s, .. } => {
            (format!("static pods of {node} have not settled"), *timeout_s)
        }
        Action::WaitEtcdMembers { members, timeout_s } => {
            (format!("etcd's members are not {}, all healthy", members.join(", ")), *timeout_s)
        }
        _ => return Ok(()),
    };
    let questions = probes(action);
    let until = Instant::now() + Duration::from_secs(timeout_s);
    let mut told = false;
    loop {
        let answers = ctx.host(host)?.probe(&questions).await?;
        if satisfied(action, &answers) {
            return Ok(());
        }
        if Instant::now() >= until {
            return Err(Error::failed(format!("{what} after {timeout_s} s"))
                .on(host)
                .command(crate::error::FailedCommand::new("read-only probe", "last seen", &last_seen(action, &answers)))
                .hint("`provision status` shows the whole cluster; on the node: `journalctl -u kubelet`"));
        }
        if !told {
            notes(StepNote::Text(what.clone()));
            told = true;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The node object of this name in the first answer, a list of nodes.
pub(super) fn node_object(answers: &[Answer], name: &str) -> Option<crate::kubeadm::NodeObject> {
    crate::resource::node_object(answers.first()?, name)
}

fn last_seen(action: &Action, answers: &[Answer]) -> String {
    if let Action::WaitStaticPods { stable_s, .. } = action {
        return restless(answers, *stable_s).unwrap_or_default();
    }
    match answers.first() {
        Some(Answer::Shell { stdout, stderr, .. }) => {
            // A node list is long JSON: only what is not well is worth a line.
            let nodes = crate::kubeadm::nodes(stdout).map(|nodes| {
                nodes
                    .iter()
                    .map(|n| format!("{} ready={} {}", n.name, n.ready, n.kubelet_version))
                    .collect::<Vec<_>>()
                    .join("\n")
            });
            nodes.unwrap_or_else(|_| format!("{stdout}{stderr}"))
        }
        other => format!("{other:?}"),
    }
}
