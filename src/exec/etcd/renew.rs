//! The control planes get new certificates, one after the other.

use std::time::Duration;

use super::step;
use crate::error::{Error, Kind, Result};
use crate::exec::apply::{restart_pods, restart_within, wait};
use crate::exec::{Cancel, Context};
use crate::host::{Answer, Command};
use crate::inventory::{EndpointMode, EtcdMode, Node};
use crate::kubeadm::{Certificate, certificates};
use crate::plan::Action;
use crate::resource::{certs_probe, probes, satisfied};

const TIMEOUT: Duration = Duration::from_secs(240);
const USE: &str = include_str!("use_certificates.sh");
const SERVED: &str = include_str!("served.sh");
/// How long the kubelet may take to start the successor of a container that was ended: at once, or 10 s when another one
/// ended a short while ago.
const SUCCESSOR_S: u64 = 20;
/// API servers of 1.20 look at their files once a minute; later ones and every etcd at once.
const SERVED_S: u64 = 75;
/// They hold their certificate in a kubeconfig that they read once.
const READ_ONCE: [&str; 2] = ["kube-controller-manager", "kube-scheduler"];
const GROUP: &str = "renew";

/// Renews what kubeadm made on each control plane (not the CAs), and sees to it that all who use it have read it: the
/// controller manager and the scheduler are restarted, the API server and etcd only if they still serve what they had. Begins
/// only when all control planes are well, and goes on to the next one only when this one is well again.
pub async fn renew(ctx: &Context, cancel: &Cancel) -> Result<()> {
    may_begin(ctx).await?;
    for node in &ctx.inventory.control_planes() {
        not_interrupted(cancel, &node.name)?;
        let name = node.name.as_str();
        step(ctx, GROUP, name, "renew the certificates", certificates_of(ctx, name)).await?;
        // Others of these two lead meanwhile: both may be away at once.
        let both = futures::future::try_join_all(READ_ONCE.map(|component| restarted(ctx, name, component)));
        step(ctx, GROUP, name, &format!("restart {}", READ_ONCE.join(" and ")), both).await?;
        served(ctx, node).await?;
        if ctx.inventory.endpoint.mode == EndpointMode::KubeVip {
            // It too holds its certificate in a kubeconfig that it read once, and its lease is lost when that runs out.
            let vip = ["kube-vip".to_owned()];
            step(ctx, GROUP, name, "restart kube-vip", restart_pods(ctx, name, &vip)).await?;
        }
        is_well(ctx, node).await?;
    }
    Ok(())
}

fn not_interrupted(cancel: &Cancel, host: &str) -> Result<()> {
    if cancel.is_requested() {
        return Err(Error::new(Kind::Interrupted, "interrupted; the control planes before it are renewed").on(host));
    }
    Ok(())
}

/// The container alone, which takes a second or two; the whole pod where the kubelet holds the successor back.
async fn restarted(ctx: &Context, host: &str, component: &str) -> Result<()> {
    if restart_within(ctx, host, component, SUCCESSOR_S).await? {
        Ok(())
    } else {
        made_anew(ctx, host, component).await
    }
}

/// The API server and etcd read their files again by themselves. One that does not is restarted.
async fn served(ctx: &Context, node: &Node) -> Result<()> {
    let name = node.name.as_str();
    let etcd = if ctx.inventory.etcd.mode == EtcdMode::Stacked { "stacked" } else { "" };
    let (address, limit) = (node.address.to_string(), SERVED_S.to_string());
    let look = async {
        let attempted = "see which certificates are served";
        let args = [&*address, &*limit, etcd];
        ctx.script(name, "served-certificates", SERVED, &args, TIMEOUT, attempted).await.map(|o| o.text())
    };
    let old = step(ctx, GROUP, name, "wait until the new certificates are served", look).await?;
    if old.lines().any(|line| line == "etcd") {
        restart_etcd(ctx, name).await?;
    }
    if old.lines().any(|line| line == "kube-apiserver") {
        step(ctx, GROUP, name, "restart kube-apiserver", made_anew(ctx, name, "kube-apiserver")).await?;
    }
    Ok(())
}

async fn restart_etcd(ctx: &Context, name: &str) -> Result<()> {
    let members = ctx.inventory.control_planes().into_iter().map(|n| n.name).collect();
    let whole = Action::WaitEtcdMembers { members, timeout_s: ctx.inventory.verify.timeout_s };
    let restart = async {
        made_anew(ctx, name, "etcd").await?;
        // The API server is of no use before its etcd is back.
        wait(ctx, name, &whole, &|_| {}).await
    };
    step(ctx, GROUP, name, "restart etcd", restart).await
}

async fn is_well(ctx: &Context, node: &Node) -> Result<()> {
    let condition = well(node, ctx.inventory.verify.timeout_s);
    step(ctx, GROUP, &node.name, "wait until it is well", wait(ctx, &node.name, &condition, &|_| {})).await
}

/// Refuses when a control plane or its etcd is not well.
pub(in crate::exec) async fn may_begin(ctx: &Context) -> Result<()> {
    let planes = ctx.inventory.control_planes();
    let stacked = ctx.inventory.etcd.mode == EtcdMode::Stacked;
    let timeout_s = ctx.inventory.verify.timeout_s;
    let members = planes.iter().map(|n| n.name.clone()).collect();
    let etcd = Action::WaitEtcdMembers { members, timeout_s };
    for node in &planes {
        let conditions = std::iter::once(well(node, timeout_s)).chain(stacked.then(|| etcd.clone()));
        for condition in conditions {
            if !holds(ctx, &node.name, &condition).await? {
                return Err(Error::refused("the control plane or its etcd is not well; no certificate was renewed")
                    .on(&node.name)
                    .hint("only when all are well does the cluster stay up while one restarts: `provision status` shows more")
                    .hint("where certificates have run out already, `kubeadm certs renew all` and a restart of the static pods on every control plane brings them back"));
            }
        }
    }
    Ok(())
}

/// Gives one control plane after the other other certificates by `change`, and restarts its static pods.
pub(in crate::exec) async fn each_in_turn(
    ctx: &Context,
    cancel: &Cancel,
    title: &str,
    change: impl AsyncFn(String) -> Result<()>,
) -> Result<()> {
    for node in &ctx.inventory.control_planes() {
        not_interrupted(cancel, &node.name)?;
        let name = node.name.as_str();
        step(ctx, GROUP, name, title, change(node.name.clone())).await?;
        if ctx.inventory.etcd.mode == EtcdMode::Stacked {
            restart_etcd(ctx, name).await?;
        }
        step(ctx, GROUP, name, "restart kube-apiserver", made_anew(ctx, name, "kube-apiserver")).await?;
        let both = futures::future::try_join_all(READ_ONCE.map(|component| made_anew(ctx, name, component)));
        step(ctx, GROUP, name, &format!("restart {}", READ_ONCE.join(" and ")), both).await?;
        is_well(ctx, node).await?;
    }
    Ok(())
}

/// Whether nothing is to be waited for.
pub(in crate::exec) async fn holds(ctx: &Context, host: &str, condition: &Action) -> Result<bool> {
    Ok(satisfied(condition, &ctx.host(host)?.probe(&probes(condition)).await?))
}

pub(in crate::exec) fn well(node: &Node, timeout_s: u64) -> Action {
    Action::WaitControlPlane { node: node.name.clone(), address: node.address.to_string(), timeout_s }
}

async fn made_anew(ctx: &Context, host: &str, component: &str) -> Result<()> {
    made_anew_with(ctx, host, component, &[]).await
}

/// With more arguments for the script: the certificate and the key by which the controller manager signs.
pub(in crate::exec) async fn made_anew_with(ctx: &Context, host: &str, component: &str, more: &[&str]) -> Result<()> {
    let attempted = format!("restart {component}");
    let args = [&[component], more].concat();
    let made = ctx.script(host, "static-pod-anew", USE, &args, TIMEOUT, &attempted).await;
    made.map(drop).map_err(|e| e.hint("`ctr -n k8s.io tasks ls` on the host, and `journalctl -u kubelet`"))
}

async fn certificates_of(ctx: &Context, host: &str) -> Result<()> {
    let before = seen(ctx, host).await?;
    let command = Command::new(["kubeadm", "certs", "renew", "all"]).timeout(TIMEOUT).unit("provision-kubeadm-renew");
    ctx.must(host, command, "renew the certificates").await?;
    let old = not_renewed(&before, &seen(ctx, host).await?);
    if old.is_empty() {
        return Ok(());
    }
    Err(Error::failed(format!("kubeadm did not renew {}", old.join(", "))).on(host))
}

async fn seen(ctx: &Context, host: &str) -> Result<Vec<Certificate>> {
    match ctx.ask(host, certs_probe(&[])).await? {
        Answer::Shell { code: 0, stdout, .. } => certificates(&stdout).map_err(|e| e.on(host)),
        _ => Err(Error::failed("failed to look for certificates").on(host)),
    }
}

/// The files of kubeadm whose certificate holds no longer than it did. CAs stay, and the kubelet renews its own.
fn not_renewed(before: &[Certificate], after: &[Certificate]) -> Vec<String> {
    let kubeadm =
        |c: &&Certificate| !c.ca && c.path.starts_with("/etc/kubernetes/") && c.path != "/etc/kubernetes/kubelet.conf";
    let renewed = |old: &Certificate| after.iter().any(|new| new.path == old.path && new.not_after > old.not_after);
    before.iter().filter(kubeadm).filter(|old| !renewed(old)).map(|old| old.path.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cert(path: &str, ca: bool, not_after: i64) -> Certificate {
        Certificate { path: path.into(), subject: String::new(), issuer: String::new(), ca, not_before: 0, not_after }
    }

    #[test]
    fn what_kubeadm_left_old_is_named() {
        let before = [
            cert("/etc/kubernetes/pki/ca.crt", true, 9),
            cert("/etc/kubernetes/pki/apiserver.crt", false, 5),
            cert("/etc/kubernetes/admin.conf", false, 5),
            cert("/etc/kubernetes/kubelet.conf", false, 5),
            cert("/var/lib/kubelet/pki/kubelet.crt", false, 5),
        ];
        let mut after = before.clone();
        assert_eq!(not_renewed(&before, &after), ["/etc/kubernetes/pki/apiserver.crt", "/etc/kubernetes/admin.conf"]);
        after[1].not_after = 6;
        assert_eq!(not_renewed(&before, &after), ["/etc/kubernetes/admin.conf"]);
        after[2].not_after = 6;
        assert!(not_renewed(&before, &after).is_empty());
        assert_eq!(not_renewed(&before, &after[..1]).len(), 2, "one that is gone is not renewed");
    }
}
