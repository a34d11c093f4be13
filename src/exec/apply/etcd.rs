//! The etcd that runs as units beside Kubernetes: its certificates, and a host's way into it.

use std::time::Duration;

use rcgen::ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};

use super::ca::{Authority, Leaf};
use super::context::Context;
use super::files::write;
use crate::bundle::Digest;
use crate::error::{Error, Result};
use crate::host::Answer;
use crate::inventory::ETCD_CLIENT_DIR;
use crate::kubeadm::{EtcdMember, etcd_health, etcd_members};
use crate::resource::{ETCD_CLIENT, ETCD_DIR, ETCD_INITIAL, etcd_probe, template};

const TIMEOUT: Duration = Duration::from_secs(150);

fn authority<'a>(ctx: &Context, peers: &'a [String]) -> Authority<'a> {
    let name = format!("provision etcd CA of {}", ctx.inventory.cluster.name);
    Authority { title: "etcd's CA", name, dir: ETCD_DIR, peers }
}

/// Gives a host of etcd its certificates for `names`, from the CA that one of `peers` has, or else from a new one.
pub(super) async fn identity(
    ctx: &Context,
    host: &str,
    names: &[String],
    peers: &[String],
    wanted: Option<&Digest>,
) -> Result<()> {
    let ca = authority(ctx, peers).obtain(ctx, host, wanted).await?;
    ca.put(ctx, host, ETCD_DIR).await?;
    // etcd calls itself and its peers with what it serves with.
    let leaf = Leaf { name: host, sans: names, usages: &[ServerAuth, ClientAuth] };
    ca.put_leaf(ctx, host, ETCD_DIR, "peer", &leaf).await?;
    ca.put_leaf(ctx, host, ETCD_DIR, "server", &leaf).await
}

/// Gives a control plane what its API server calls etcd with. The CA's key stays on the hosts of etcd.
pub(super) async fn client(ctx: &Context, host: &str, peers: &[String], wanted: Option<&Digest>) -> Result<()> {
    let ca = authority(ctx, peers).of_hosts(ctx, host, wanted).await?;
    write(ctx, host, &format!("{ETCD_CLIENT_DIR}/ca.crt"), &ca.cert, 0o644).await?;
    let name = format!("kube-{ETCD_CLIENT}-{host}");
    let leaf = Leaf { name: &name, sans: &[], usages: &[ClientAuth] };
    ca.put_leaf(ctx, host, ETCD_CLIENT_DIR, ETCD_CLIENT, &leaf).await
}

/// Enters a host without data into the etcd that `peers` run. A member that had the same address lost its data, and goes
/// first; never when that would lose quorum.
pub(super) async fn enter(ctx: &Context, host: &str, member: &str, peer_url: &str, peers: &[String]) -> Result<()> {
    let mut found = None;
    for peer in peers {
        if let Answer::Shell { code: 0, stdout, .. } = ctx.ask(peer, etcd_probe()).await? {
            found = Some((peer.as_str(), stdout));
            break;
        }
    }
    let Some((through, said)) = found else {
        return Err(Error::failed(format!("no member of etcd on {} answers", peers.join(", ")))
            .on(host)
            .hint("on them: `systemctl status provision-etcd` and `journalctl -u provision-etcd`"));
    };
    let mut lines = said.lines().filter(|l| !l.trim().is_empty());
    let mut members = etcd_members(lines.next().unwrap_or_default()).map_err(|e| e.on(through))?;
    let health = lines.next().and_then(|l| etcd_health(l).ok()).unwrap_or_default();
    let is_it = |m: &EtcdMember| m.name == member || m.peer_urls.iter().any(|u| u == peer_url);
    let before = members.iter().find(|m| is_it(m)).cloned();
    // One without a name was added and has not started yet: it is waited for.
    if let Some(old) = before.as_ref().filter(|m| !m.name.is_empty()) {
        let client = peer_url.replace(":2380", ":2379");
        let others = health.iter().filter(|h| h.healthy && h.endpoint != client).count();
        let left = members.len() - 1;
        if others < left / 2 + 1 {
            return Err(Error::refused(format!(
                "taking {member} out of etcd would lose quorum: {others} of the {left} others are healthy"
            ))
            .on(host)
            .hint("bring the other members back first"));
        }
        change(ctx, through, &["member", "remove", &format!("{:x}", old.id)], &format!("remove etcd member {member}"))
            .await?;
        members.retain(|m| m.id != old.id);
    }
    if before.as_ref().is_none_or(|m| !m.name.is_empty()) {
        let url = format!("--peer-urls={peer_url}");
        change(ctx, through, &["member", "add", member, &url], &format!("add etcd member {member}")).await?;
    }
    let others = members.iter().filter(|m| !is_it(m)).flat_map(|m| {
        let name = if m.name.is_empty() { format!("{:x}", m.id) } else { m.name.clone() };
        m.peer_urls.iter().map(move |url| (name.clone(), url.clone()))
    });
    let all: Vec<(String, String)> = others.chain([(member.to_owned(), peer_url.to_owned())]).collect();
    let initial = template::etcd_initial(&ctx.inventory.cluster.name, &all, "existing");
    write(ctx, host, ETCD_INITIAL, &initial, 0o644).await
}

/// Has a member that `through` reaches change who the members are.
pub(super) async fn change(ctx: &Context, through: &str, args: &[&str], attempted: &str) -> Result<()> {
    // etcd takes no member in while an earlier one has not yet started.
    const TEXT: &str = concat!(
        "# apply:etcd-member\n",
        include_str!("../../resource/etcd_access.sh"),
        "n=0\nuntil etcdctl $a \"$@\"; do n=$((n + 1)); [ $n -lt 20 ] || exit 1; sleep 1; done\n"
    );
    ctx.script(through, "etcd-member", TEXT, args, TIMEOUT, attempted).await.map(drop)
}
