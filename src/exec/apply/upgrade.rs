//! A host to another version: kubeadm's part, what is kept for the way back, and the way back.

use std::time::Duration;

use super::cluster::{UPGRADE_PAUSE, kubectl, node_object};
use super::context::{Context, script_command};
use super::{drain, room, settings, why};
use crate::error::{Context as _, Error, FailedCommand, Kind, Result};
use crate::exec::StepNote;
use crate::host::NODE_BLOB_DIR;
use crate::kubeadm::{ImageNames, with_image_names};
use crate::plan::Action;
use crate::resource::{kept_path, probes, satisfied, upgrade_probe, upgrade_state};

use tokio::time::Instant;

/// kubeadm gives each static pod 5 minutes.
const KUBEADM_TIMEOUT: Duration = Duration::from_secs(1800);
/// Hashing and copying a few binaries on a slow disk.
const COPY_TIMEOUT: Duration = Duration::from_secs(300);
/// How long the kubelet of the version before may take to be Ready again.
const BACK_TIMEOUT: Duration = Duration::from_secs(180);

const SHA256: &str = include_str!("../../host/sha256.sh");

pub(super) async fn snapshot(ctx: &Context, host: &str, path: &str) -> Result<()> {
    let text =
        concat!("# apply:snapshot\n", include_str!("../../resource/etcd_access.sh"), include_str!("snapshot.sh"));
    ctx.script(host, "snapshot", text, &[path], COPY_TIMEOUT, "save etcd's data").await.map(drop).map_err(|e| {
        e.hint(
            "nothing was upgraded: etcd has to be healthy and /var/lib/provision on that host needs room for its data",
        )
    })
}

pub(super) async fn keep(ctx: &Context, host: &str, version: &str, runtime: bool) -> Result<()> {
    let text = format!("# apply:keep\n{SHA256}{}", include_str!("keep.sh"));
    let args = [NODE_BLOB_DIR, &kept_path(version), if runtime { "runtime" } else { "" }];
    ctx.script(host, "keep", &text, &args, COPY_TIMEOUT, "keep the version before").await.map(drop)
}

/// Lets the cluster's own configuration name the images that the bundle brought: kubeadm goes by it.
pub(super) async fn images(ctx: &Context, host: &str, images: &ImageNames) -> Result<()> {
    let get =
        kubectl(["-n", "kube-system", "get", "configmap", "kubeadm-config", "-o", "json", "--request-timeout=20s"]);
    let attempted = "read the cluster's kubeadm configuration";
    let object = ctx.must(host, get, attempted).await?.text();
    let object: serde_json::Value = serde_json::from_str(&object).context(|| format!("failed to {attempted}"))?;
    let Some(text) = object.pointer("/data/ClusterConfiguration").and_then(|t| t.as_str()) else {
        return Err(Error::failed("the ConfigMap kubeadm-config has no ClusterConfiguration").on(host));
    };
    let Some(text) = with_image_names(text, images)? else { return Ok(()) };
    let patch = serde_json::json!({ "data": { "ClusterConfiguration": text } }).to_string();
    let patch = ["patch", "configmap", "kubeadm-config", "--type=merge", "-p", &patch, "--request-timeout=20s"];
    let patch = kubectl(["-n", "kube-system"].into_iter().chain(patch));
    ctx.must(host, patch, "write the images' names into the cluster's kubeadm configuration").await.map(drop)
}

pub(super) async fn kubeadm(
    ctx: &Context,
    host: &str,
    version: &str,
    first: bool,
    control_plane: bool,
    ignore: &[String],
) -> Result<()> {
    if control_plane {
        room::others_are_well(ctx, host).await?;
    }
    let text = concat!("# apply:kubeadm-upgrade\n", include_str!("kubeadm_upgrade.sh"));
    let mode = if first { "apply" } else { "node" };
    let ignore = ignore.join(",");
    // Certificates that somebody else signs kubeadm could not renew.
    let renewal = if ctx.inventory.certificates.is_external() { "no" } else { "" };
    let command = script_command(text, &[mode, version, &ignore, renewal])
        .timeout(KUBEADM_TIMEOUT)
        .unit("provision-kubeadm-upgrade");
    let shown = crate::host::Command::new(["kubeadm", "upgrade", mode, version]);
    let output = ctx.run_shown(host, &command, &shown).await?;
    let forward = if control_plane {
        "a control plane only goes forward: kubeadm puts a static pod that does not come up back by itself, and what is upgraded stays; mend the cause and run apply again, which goes on here"
    } else {
        "the kubelet still runs the version before; mend the cause and run apply again, which goes on here"
    };
    let Err(error) = output.clone().check(host, &shown, &format!("upgrade to {version}")) else { return Ok(()) };
    if error.kind() == Kind::Unreachable {
        return Err(error.hint(forward));
    }
    Err(error.command(why::kubeadm(ctx, host, &shown, &output).await).hint(forward))
}

/// Upgrades kube-proxy and CoreDNS with the phases that `kubeadm upgrade` of the last control plane runs.
pub(super) async fn addons(ctx: &Context, host: &str, action: &Action) -> Result<()> {
    let Action::UpgradeAddons { config, proxy_tag, coredns_tag, timeout_s } = action else { return Ok(()) };
    let path = settings::stage(ctx, host, config).await?;
    let word = |wanted: &Option<String>| if wanted.is_some() { "yes" } else { "no" };
    let timeout = timeout_s.to_string();
    let args = [path.as_str(), word(proxy_tag), word(coredns_tag), timeout.as_str()];
    let limit = Duration::from_secs(timeout_s.saturating_mul(2)) + COPY_TIMEOUT;
    let text = concat!("# apply:upgrade-addons\n", include_str!("upgrade_addons.sh"));
    let hint = "see which pod does not start with `kubectl -n kube-system get pods`, then run apply again";
    ctx.script(host, "upgrade-addons", text, &args, limit, "upgrade kube-proxy and CoreDNS")
        .await
        .map_err(|e| e.hint(hint))?;
    let state = upgrade_state(&ctx.ask(host, upgrade_probe()).await?);
    let (Some(have), Some(wanted)) = (&state.coredns, coredns_tag) else { return Ok(()) };
    if have == wanted {
        return Ok(());
    }
    Err(Error::failed(format!(
        "failed to upgrade CoreDNS: CoreDNS is still {} and not {wanted}: kubeadm keeps it where it cannot migrate the Corefile",
        have.escape_debug()
    ))
    .on(host)
    .hint("change the ConfigMap kube-system/coredns to what the new CoreDNS supports, then run apply again"))
}

/// Waits until the node is Ready at the new version; a worker that does not get there goes back.
pub(super) async fn wait(
    ctx: &Context,
    host: &str,
    action: &Action,
    notes: &(dyn Fn(StepNote) + Send + Sync),
) -> Result<()> {
    let Action::WaitNodeVersion { node, version, through, timeout_s, rollback } = action else { return Ok(()) };
    let questions = probes(action);
    let until = Instant::now() + Duration::from_secs(*timeout_s);
    notes(StepNote::Text(format!("waiting for {node} at {version}")));
    let last = loop {
        // The API may be away for a moment while a control plane restarts: that is one more reason to wait.
        let answers = ctx.host(through)?.probe(&questions).await?;
        if satisfied(action, &answers) {
            return Ok(());
        }
        if Instant::now() >= until {
            let seen = node_object(&answers, node);
            break seen.map_or_else(
                || "the API does not answer".to_owned(),
                |n| format!("{} is {} at {}", n.name, if n.ready { "Ready" } else { "not Ready" }, n.kubelet_version),
            );
        }
        tokio::time::sleep(UPGRADE_PAUSE).await;
    };
    let why = why::containers(ctx, host).await;
    let error = Error::failed(format!("{node} is not Ready at {version} after {timeout_s} s"))
        .on(host)
        .command(FailedCommand::new("read-only probe", "last seen", &format!("{why}{last}")));
    if *rollback {
        return Err(back(ctx, through, node, version, error).await);
    }
    Err(error.hint(
        "the upgrade pauses here, the node stays cordoned until apply ends well or `kubectl uncordon`; a control plane goes forward, never half back: repair its kubelet and run apply again",
    ))
}

/// Takes a worker back to the version before and says in the error how that went.
pub(super) async fn back(ctx: &Context, through: &str, node: &str, version: &str, error: Error) -> Error {
    match try_back(ctx, through, node, version).await {
        Ok(before) => error
            .hint(format!(
                "{node} was put back to {before} as it was and is Ready; the upgrade pauses here and no other node was begun"
            ))
            .hint("mend the cause and run apply again: it begins with this node"),
        Err(failed) => error
            .hint(format!("{node} could not be put back either: {}; it stays cordoned", failed.in_short()))
            .hint("look at `journalctl -u kubelet` there, then run apply again"),
    }
}

async fn try_back(ctx: &Context, through: &str, node: &str, version: &str) -> Result<String> {
    // Its pods stay: the kubelet of the version before finds them running and takes them up.
    drain::cordon(ctx, through, node, version).await?;
    let text = format!("# apply:rollback\n{SHA256}{}", include_str!("rollback.sh"));
    let args = [NODE_BLOB_DIR, &kept_path(version)];
    let before = ctx.script(node, "rollback", &text, &args, COPY_TIMEOUT, "put the version before back").await?.text();
    let until = Instant::now() + BACK_TIMEOUT;
    loop {
        let answers = ctx.host(through)?.probe(&[crate::resource::nodes_probe()]).await?;
        if let Some(found) = node_object(&answers, node).filter(|n| n.ready && n.kubelet_version == before.trim()) {
            drain::uncordon(ctx, through, node, true).await?;
            return Ok(found.kubelet_version);
        }
        if Instant::now() >= until {
            return Err(Error::failed(format!(
                "{node} is not Ready {} s after it was put back",
                BACK_TIMEOUT.as_secs()
            )));
        }
        tokio::time::sleep(UPGRADE_PAUSE).await;
    }
}
