//! A snapshot of a stacked etcd, with what else a cluster is rebuilt from, off the node into a backup.

use std::io::Write;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::step;
use super::transfer::{fetch, secret};
use super::util::{script, with_util};
use crate::backup::{
    BACKUP_FORMAT, BackupManifest, ENCRYPTION_CONFIG, KUBEADM_CONFIG, Kept, PKI_FILES, SNAPSHOT, Snapshot, Writer,
    entry_name,
};
use crate::bundle::Digest;
use crate::error::{Error, Kind, Result};
use crate::exec::apply::kubectl;
use crate::exec::{Cancel, Context};
use crate::host::{Answer, Command, Probe};
use crate::inventory::Node;
use crate::kubeadm::etcd_health;
use crate::resource::etcd_probe;
use crate::rotation::ROTATIONS;

/// Where the snapshot lies on the node until it is copied off; nobody but root sees into it.
const DIR: &str = "/var/lib/provision/etcd-snapshot";
const GROUP: &str = "snapshot";
const TAKE: &str = with_util!("etcd-snapshot", "snapshot.sh");
/// etcd's limit is 8 GiB; a slow disk writes that in this time.
const TIMEOUT: Duration = Duration::from_secs(600);

/// The first of these control planes whose etcd member is healthy, and the endpoints of the members that are not.
pub async fn healthy_member(ctx: &Context, control_planes: &[Node]) -> Result<Option<(Node, Vec<String>)>> {
    for node in control_planes {
        if !ctx.hosts.contains_key(&node.name) {
            continue;
        }
        let Answer::Shell { code: 0, stdout, .. } = ctx.ask(&node.name, etcd_probe()).await? else { continue };
        let health = stdout.lines().nth(1).and_then(|l| etcd_health(l).ok()).unwrap_or_default();
        let own = std::net::SocketAddr::new(node.address, 2379).to_string();
        if health.iter().any(|h| h.healthy && h.endpoint.ends_with(&format!("//{own}"))) {
            let ill = health.into_iter().filter(|h| !h.healthy).map(|h| h.endpoint).collect();
            return Ok(Some((node.clone(), ill)));
        }
    }
    Ok(None)
}

/// Takes a snapshot on `node` and writes the backup. What it left on the node is removed, whether all went well, failed
/// or was interrupted.
pub async fn take<W: Write>(
    ctx: &Context,
    node: &str,
    at: DateTime<Utc>,
    writer: &mut Writer<W>,
    cancel: &Cancel,
) -> Result<BackupManifest> {
    let result = tokio::select! {
        biased;
        () = cancel.requested() => Err(Error::new(Kind::Interrupted, "interrupted; no backup was written")),
        result = taken(ctx, node, at, writer) => result,
    };
    let clean = Command::new(["rm", "-rf", "--", DIR]);
    let cleaned = ctx.must(node, clean, "remove the snapshot from the node").await;
    let manifest = result?;
    cleaned?;
    Ok(manifest)
}

async fn taken<W: Write>(
    ctx: &Context,
    node: &str,
    at: DateTime<Utc>,
    writer: &mut Writer<W>,
) -> Result<BackupManifest> {
    let (dir, begun) = ROTATIONS.rsplit_once('/').unwrap_or_default();
    if let Answer::Dir(names) = ctx.ask(node, Probe::Dir(dir.into())).await?
        && names.iter().any(|n| n.starts_with(begun))
    {
        // No controller manager starts with two CAs where it looks for one.
        return Err(Error::refused("the rotation of a CA is not done: a backup would hold both, and not be restored")
            .on(node)
            .hint("`provision certs rotate-ca` goes on with it; then this"));
    }
    let taking = script(ctx, node, ("etcd-snapshot", TAKE), &[DIR], TIMEOUT, "take a snapshot of etcd");
    let said = step(ctx, GROUP, node, "take a snapshot and prove it", taking).await?;
    let snapshot = status(&said.text()).map_err(|e| e.on(node))?;
    let mut paths: Vec<String> = PKI_FILES.map(str::to_owned).into();
    paths.extend(ctx.inventory.apiserver.extra_args.get(ENCRYPTION_CONFIG).cloned());
    let files = step(ctx, GROUP, node, "read the CAs", files(ctx, node, &paths)).await?;
    let config = step(ctx, GROUP, node, "read kubeadm's configuration", kubeadm_config(ctx, node)).await?;

    let manifest = BackupManifest {
        format_version: BACKUP_FORMAT,
        cluster: ctx.inventory.cluster.name.clone(),
        kubernetes: ctx.inventory.cluster.version.clone(),
        taken_at: at.to_rfc3339_opts(SecondsFormat::Secs, true),
        node: node.to_owned(),
        snapshot,
        files: files.iter().map(|(path, content)| Kept { path: path.clone(), digest: Digest::of(content) }).collect(),
    };
    let mtime = u64::try_from(at.timestamp()).unwrap_or(0);
    writer.manifest(&manifest, mtime)?;
    for (path, content) in &files {
        writer.whole(&entry_name(path), content, mtime)?;
    }
    writer.whole(KUBEADM_CONFIG, &config, mtime)?;
    writer.entry(SNAPSHOT, manifest.snapshot.size, mtime)?;
    let mut hash = Sha256::new();
    let path = format!("{DIR}/snapshot.db");
    let copying = fetch(ctx, node, &path, manifest.snapshot.size, |piece| {
        hash.update(piece);
        writer.data(piece)
    });
    step(ctx, GROUP, node, "copy the snapshot off the node", copying).await?;
    if Digest::from_hash(hash.finalize().as_ref()) != manifest.snapshot.digest {
        return Err(Error::failed("the snapshot changed in flight")
            .on(node)
            .hint("run it again; if it happens twice, suspect the link"));
    }
    Ok(manifest)
}

async fn kubeadm_config(ctx: &Context, node: &str) -> Result<Vec<u8>> {
    let command =
        kubectl(["-n", "kube-system", "get", "configmap", "kubeadm-config", "-o", "json", "--request-timeout=20s"]);
    secret(ctx.run(node, &command).await?, node, &command, "read kubeadm's configuration")
}

/// Files of the node, all in one round trip. The node hashed each as well.
async fn files(ctx: &Context, node: &str, paths: &[String]) -> Result<Vec<(String, Vec<u8>)>> {
    let probes: Vec<Probe> = paths.iter().cloned().map(Probe::Content).collect();
    let answers = ctx.host(node)?.probe(&probes).await?;
    let mut all = Vec::new();
    for (path, answer) in paths.iter().zip(answers) {
        let Answer::File(file) = answer else {
            return Err(Error::failed(format!("there is no {path}"))
                .on(node)
                .hint("a cluster whose CA keys are kept elsewhere cannot be rebuilt from a backup alone"));
        };
        let content = file.content.unwrap_or_default();
        if file.digest != Some(Digest::of(&content)) {
            return Err(Error::failed(format!("{path} changed in flight")).on(node));
        }
        all.push((path.clone(), content));
    }
    Ok(all)
}

/// Reads what the node's script printed.
fn status(text: &str) -> Result<Snapshot> {
    let bad = || {
        let first: String = text.lines().next().unwrap_or_default().chars().take(200).collect();
        Error::failed(format!("failed to read the answer of `snapshot status`: {first:?}"))
    };
    let mut lines = text.lines();
    let json: Value = lines.next().and_then(|l| serde_json::from_str(l).ok()).ok_or_else(bad)?;
    let number = |key: &str| json.get(key).and_then(Value::as_u64).ok_or_else(bad);
    let size = lines.next().and_then(|l| l.parse().ok()).ok_or_else(bad)?;
    let digest = lines.next().and_then(|l| format!("sha256:{l}").parse().ok()).ok_or_else(bad)?;
    Ok(Snapshot { digest, size, revision: number("revision")?, keys: number("totalKey")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_node_prints_is_read() -> Result<()> {
        let hex = Digest::of(b"x").hex().to_owned();
        let json = r#"{"hash":3375338965,"revision":685,"totalKey":697,"totalSize":1331200}"#;
        let found = status(&format!("{json}\n1331232\n{hex}\n"))?;
        assert_eq!((found.revision, found.keys, found.size, found.digest.hex()), (685, 697, 1_331_232, hex.as_str()));
        for bad in ["", json, "{}\n1\n", &format!("{json}\n1331232\n{}\n", &hex[1..]), &format!("{json}\nx\n{hex}\n")] {
            assert!(status(bad).is_err(), "{bad:?}");
        }
        Ok(())
    }
}
