//! Changed settings into a running cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::cluster::{UPGRADE_PAUSE, wait};
use super::context::{Context, script_command};
use super::files;
use crate::bundle::Digest;
use crate::error::{Error, FailedCommand, Result};
use crate::exec::StepNote;
use crate::host::{Answer, Command, Probe};
use crate::inventory::CniPlugin;
use crate::kubeadm::KubeletSettings;
use crate::plan::Action;
use crate::resource::{
    CONTROL_PLANE_KEPT, KUBELET_KEPT, PROXY_KEPT, control_plane_behind, has_uploaded, probes, ready_pods,
    ready_pods_probe, satisfied,
};

pub(super) const STAGE: &str = "/run/provision/settings";
const KEPT: &str = "/var/lib/provision/settings";
const SHORT: Duration = Duration::from_secs(120);
/// Four static pods, each within two minutes.
const PODS_TIMEOUT: Duration = Duration::from_secs(600);
/// A kubelet forth, and back.
const KUBELET_TIMEOUT: Duration = Duration::from_secs(300);

/// kubeadm's file on the host, in memory.
pub(super) async fn stage(ctx: &Context, host: &str, config: &str) -> Result<String> {
    let path = format!("{STAGE}/kubeadm.yaml");
    files::write(ctx, host, &path, config, 0o600).await?;
    Ok(path)
}

/// Runs one of our scripts as a unit that a lost connection does not end.
pub(super) async fn unit(
    ctx: &Context,
    host: &str,
    name: &str,
    text: &str,
    args: &[&str],
    limit: Duration,
) -> Result<()> {
    let command = script_command(text, args).timeout(limit).unit(format!("provision-{name}"));
    let shown = Command::new(std::iter::once(name).chain(args.iter().copied()));
    let attempted = format!("change settings ({name})");
    ctx.run_shown(host, &command, &shown).await?.check(host, &shown, &attempted).map(drop)
}

pub(super) async fn upload(ctx: &Context, host: &str, action: &Action) -> Result<()> {
    let Action::UploadSettings { config, coredns_tag, .. } = action else { return Ok(()) };
    let path = stage(ctx, host, config).await?;
    let seen = ctx.host(host)?.probe(&probes(action)).await?;
    let dns = coredns_tag.is_some() && !seen.first().is_some_and(|a| has_uploaded(action, a));
    let args = [path.as_str(), if dns { "yes" } else { "no" }];
    ctx.script(
        host,
        "upload-settings",
        include_str!("settings_upload.sh"),
        &args,
        SHORT,
        "write the cluster's configuration",
    )
    .await?;
    let seen = ctx.host(host)?.probe(&probes(action)).await?;
    if seen.first().is_some_and(|a| has_uploaded(action, a)) {
        return Ok(());
    }
    Err(Error::failed("the cluster's own configuration is not what was written").on(host).hint(
        "kubeadm leaves out what it does not know: look at the names in the inventory's extra_args and config tables",
    ))
}

pub(super) async fn control_plane(
    ctx: &Context,
    host: &str,
    action: &Action,
    notes: &(dyn Fn(StepNote) + Send + Sync),
) -> Result<()> {
    let Action::ControlPlaneSettings { node, address, others, config, wanted, timeout_s } = action else {
        return Ok(());
    };
    let well = |node: &str, address: &str| Action::WaitControlPlane {
        node: node.to_owned(),
        address: address.to_owned(),
        timeout_s: *timeout_s,
    };
    for (name, address) in others {
        let other = well(name, address);
        let answers = ctx.host(name)?.probe(&probes(&other)).await?;
        if !satisfied(&other, &answers) {
            return Err(Error::refused(format!("the control plane on {name} is not well; {node} is left as it is"))
                .on(host)
                .hint("only when all others are well does the cluster stay up while one restarts: `provision status` shows more"));
        }
    }
    let answers = ctx.host(host)?.probe(&probes(action)).await?;
    let Some((certificate, mut components)) = control_plane_behind(wanted, &answers) else {
        return Err(Error::failed("the plan's settings cannot be read").on(host));
    };
    // One that somebody else signs is there already: without it nothing is planned.
    let certificate = certificate && !ctx.inventory.certificates.is_external();
    if certificate && !components.iter().any(|c| c == "kube-apiserver") {
        components.push("kube-apiserver".into());
    }
    let path = stage(ctx, host, config).await?;
    let all = components.join(" ");
    let args = [path.as_str(), if certificate { "yes" } else { "no" }, &all, KEPT];
    let text = include_str!("settings_control_plane.sh");
    let own = well(node, address);
    let done = async {
        unit(ctx, host, "control-plane-settings", text, &args, PODS_TIMEOUT).await?;
        wait(ctx, host, &own, notes).await
    };
    if let Err(error) = done.await {
        // Unreachable is not unwell, and a run that was lost goes on here.
        if error.kind() == crate::error::Kind::Unreachable {
            return Err(error);
        }
        return Err(back(ctx, host, &own, error, notes).await);
    }
    // First this: what is kept of one change must never be what another goes back to.
    let before = format!("{KEPT}/before");
    let names =
        ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"].map(|c| format!("{before}/{c}.yaml"));
    let pair = ["crt", "key"].map(|f| format!("{before}/apiserver.{f}"));
    let words = ["rm", "-f", "--"].map(str::to_owned).into_iter().chain(names).chain(pair);
    ctx.must(host, Command::new(words), "remove what was kept of before").await?;
    files::write(ctx, host, CONTROL_PLANE_KEPT, wanted, 0o600).await
}

/// Puts a control plane back to what it had, and says in the error how that went.
async fn back(
    ctx: &Context,
    host: &str,
    own: &Action,
    error: Error,
    notes: &(dyn Fn(StepNote) + Send + Sync),
) -> Error {
    let before = format!("{KEPT}/before");
    let text = include_str!("settings_back.sh");
    let again = async {
        ctx.script(host, "settings-back", text, &[&before], SHORT, "put the settings before back").await?;
        wait(ctx, host, own, notes).await
    };
    match again.await {
        Ok(()) => error.hint(format!(
            "{host} was put back to the settings before and is well; no other control plane was begun; mend the inventory and run apply again"
        )),
        Err(failed) => error
            .hint(format!("{host} could not be put back: {}", failed.in_short()))
            .hint("the other control planes serve; look at `journalctl -u kubelet` and /var/log/pods there, then run apply again"),
    }
}

pub(super) async fn kubelet(
    ctx: &Context,
    host: &str,
    action: &Action,
    notes: &(dyn Fn(StepNote) + Send + Sync),
) -> Result<()> {
    let Action::KubeletSettings { node, through, wanted, timeout_s } = action else { return Ok(()) };
    let settings =
        KubeletSettings::read(wanted).ok_or_else(|| Error::failed("the plan's settings cannot be read").on(host))?;
    let mut served = ready(ctx, through, node).await?;
    // Whatever it was before: pods are let onto none that is not Ready, and no other is begun beside it. Where others
    // bring the pod network, nodes may have none yet.
    if ctx.inventory.cni.plugin != CniPlugin::None {
        served.insert("node".into(), true);
    }
    let flags = match ctx.ask(host, Probe::Content("/var/lib/kubelet/kubeadm-flags.env".into())).await? {
        Answer::File(file) => String::from_utf8_lossy(&file.content.unwrap_or_default()).into_owned(),
        _ => String::new(),
    };
    let path = format!("{STAGE}/kubeadm-flags.env");
    files::write(ctx, host, &path, &settings.flags(&flags), 0o600).await?;
    let text =
        concat!("# apply:kubelet-settings\n", include_str!("kubelet_up.sh"), include_str!("settings_kubelet.sh"));
    unit(ctx, host, "kubelet-settings", text, &[node, &path, KEPT], KUBELET_TIMEOUT)
        .await
        .map_err(|e| e.hint("no other node was begun; mend the inventory and run apply again"))?;
    // A kubelet that was started anew takes every pod for not ready until it has asked it.
    ready_again(ctx, (through, node), &served, *timeout_s, "its kubelet was given new settings", notes)
        .await
        .map_err(|e| e.hint("no other node was begun; look at these pods, then run apply again"))?;
    files::write(ctx, host, KUBELET_KEPT, wanted, 0o600).await
}

/// Starts the kubelet of a node anew, and waits until it and the pods that were ready before are ready again.
pub(in crate::exec) async fn kubelet_anew(
    ctx: &Context,
    host: &str,
    through: &str,
    node: &str,
    timeout_s: u64,
) -> Result<()> {
    let text = concat!(
        "# apply:kubelet-anew\nexport PATH=$PATH:/usr/local/bin\nnode=$1\n",
        include_str!("kubelet_up.sh"),
        "up || { journalctl --no-pager -q -n 8 -o cat -u kubelet 2>/dev/null | cut -c1-300 >&2; exit 1; }\n"
    );
    let served = ready(ctx, through, node).await?;
    ctx.script(host, "kubelet-anew", text, &[node], KUBELET_TIMEOUT, "restart the kubelet")
        .await
        .map_err(|e| e.hint("no other node was begun; `journalctl -u kubelet` on the host"))?;
    ready_again(ctx, (through, node), &served, timeout_s, "its kubelet was started anew", &|_| {})
        .await
        .map_err(|e| e.hint("no other node was begun; look at these pods, then run it again"))
}

/// Waits until all of a node that was ready is ready again.
pub(super) async fn ready_again(
    ctx: &Context,
    (through, node): (&str, &str),
    served: &BTreeMap<String, bool>,
    timeout_s: u64,
    after: &str,
    notes: &(dyn Fn(StepNote) + Send + Sync),
) -> Result<()> {
    let until = Instant::now() + Duration::from_secs(timeout_s);
    notes(StepNote::Text(format!("waiting for the pods of {node}")));
    loop {
        let left: Vec<String> = match ready(ctx, through, node).await {
            Ok(now) => still_away(served, &now),
            Err(error) if Instant::now() >= until => return Err(error),
            Err(_) => vec!["unknown".into()],
        };
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() >= until {
            let left = left.join(", ");
            return Err(Error::failed(format!("{left} on {node} not ready {timeout_s} s after {after}")).on(node));
        }
        tokio::time::sleep(UPGRADE_PAUSE).await;
    }
}

/// The pods of a node, and which of them are ready. The node's own readiness stands among them.
pub(super) async fn ready(ctx: &Context, through: &str, node: &str) -> Result<BTreeMap<String, bool>> {
    match ctx.ask(through, ready_pods_probe(node)).await? {
        answer @ Answer::Shell { code: 0, .. } => Ok(ready_pods(&answer)),
        Answer::Shell { stderr, .. } => Err(Error::failed(format!("failed to list the pods of {node}"))
            .on(through)
            .command(FailedCommand::new("kubectl get pods", "failed", &stderr))),
        _ => Err(Error::failed("the host gave no answer").on(through)),
    }
}

/// What was ready before and is not now. A pod that is gone is its owner's business.
fn still_away(before: &BTreeMap<String, bool>, now: &BTreeMap<String, bool>) -> Vec<String> {
    let was: BTreeSet<&String> = before.iter().filter(|(_, ready)| **ready).map(|(name, _)| name).collect();
    now.iter().filter(|(name, ready)| !**ready && was.contains(name)).map(|(name, _)| name.clone()).collect()
}

pub(super) async fn proxy(ctx: &Context, host: &str, action: &Action) -> Result<()> {
    let Action::ProxySettings { config, wanted, timeout_s, .. } = action else { return Ok(()) };
    let path = stage(ctx, host, config).await?;
    let mark = Digest::of(wanted.as_bytes());
    let limit = Duration::from_secs(*timeout_s) + SHORT;
    let args = [path.as_str(), mark.short(), &timeout_s.to_string()];
    unit(ctx, host, "proxy-settings", include_str!("settings_proxy.sh"), &args, limit).await.map_err(|e| {
        e.hint("`kubectl -n kube-system get pods -l k8s-app=kube-proxy` shows which pod does not come up")
    })?;
    files::write(ctx, host, PROXY_KEPT, wanted, 0o600).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pods_that_were_ready_and_are_there_are_waited_for() {
        let map = |all: &[(&str, bool)]| all.iter().map(|(n, r)| ((*n).to_owned(), *r)).collect::<BTreeMap<_, _>>();
        let before = map(&[("a", true), ("b", false), ("gone", true)]);
        assert_eq!(still_away(&before, &map(&[("a", false), ("b", false), ("new", false)])), ["a"]);
        assert!(still_away(&before, &map(&[("a", true)])).is_empty());
    }
}
