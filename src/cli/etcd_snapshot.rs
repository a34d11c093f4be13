//! `provision etcd snapshot`

use std::fs::{DirBuilder, File};
use std::io::{BufWriter, Write};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use chrono::Utc;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::args::Global;
use super::operation::Operation;
use super::survey::{Hosts, connect_some, load};
use crate::backup::{BackupManifest, Writer, file_name, recipient, surplus};
use crate::bundle::{Digest, hash_file};
use crate::error::{Context as _, Error, Result};
use crate::exec::{Cancel, Context, Lease, etcd};
use crate::facts::gather;
use crate::host::{Host, LocalHost};
use crate::inventory::{EtcdMode, Inventory};
use crate::report::Format;

/// Takes a backup by way of the control planes, or of the one that this program runs on.
pub(super) async fn snapshot(path: &Path, out: &Path, here: Option<&str>, global: &Global) -> Result<ExitCode> {
    let inv = match here {
        // Its warnings are about SSH, which nobody uses here.
        Some(_) => crate::inventory::load(path)?.inventory,
        None => load(path)?,
    };
    let recipients = may_write(&inv)?;
    let _lease = Lease::acquire(&inv.cluster.name, "etcd snapshot")?;
    let (mut hosts, errors) = match here {
        Some(name) => (Hosts::from([(name.to_owned(), Arc::new(LocalHost::new(name)) as Arc<dyn Host>)]), Vec::new()),
        None => connect_some(&inv.control_planes(), global).await,
    };
    for error in &errors {
        eprintln!("Warning: {error}");
    }
    // A control plane of another cluster must not be taken for ours.
    let facts = gather(&inv, &hosts, global.concurrency).await?;
    hosts.retain(|name, _| facts.hosts.get(name).and_then(|h| h.state.claim.as_ref()) == Some(&inv.cluster.name));
    let cluster = inv.cluster.name.clone();
    let keep = inv.backup.keep;
    let operation = Operation::begin("etcd snapshot", inv, hosts, global)?;
    let result = write(&operation.context, out, &recipients).await;
    let (file, manifest, size) = match operation.end(result) {
        Ok(done) => done,
        Err(error) => return Err(errors.into_iter().next().filter(|_| error.hints().is_empty()).unwrap_or(error)),
    };
    // Only now, with the new one proved, may an old one go.
    let removed = remove_surplus(out, &cluster, keep)?;
    if global.format == Format::Json {
        let report = json!({ "file": file, "size": size, "encrypted": !recipients.is_empty(), "manifest": manifest, "removed": removed });
        println!("{report:#}");
    } else {
        for old in removed {
            println!("removed {}", out.join(old).display());
        }
        let of = &manifest.snapshot;
        println!(
            "{}: {size} bytes, etcd's revision {}, {} keys, from {}",
            file.display(),
            of.revision,
            of.keys,
            manifest.node
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// What `provision etcd` does not do for an etcd beside Kubernetes.
pub(super) const OF_HOSTS: &str = "`provision etcd` is for etcd on the control planes. On a host of [etcd] hosts, `etcdctl snapshot save` works with --endpoints https://127.0.0.1:2379 and the certificates of /etc/provision/etcd (--cacert ca.crt --cert server.crt --key server.key); of an etcd that somebody else runs, they know";

/// Who will be able to read the backup; refused when nobody was named and nobody said that it is meant so.
fn may_write(inv: &Inventory) -> Result<Vec<age::x25519::Recipient>> {
    if inv.etcd.mode == EtcdMode::External {
        return Err(Error::refused(
            "etcd does not run on this cluster's control planes: its snapshots are taken where it runs",
        )
        .hint(OF_HOSTS));
    }
    if inv.certificates.is_external() {
        return Err(Error::refused(
            "a backup holds the keys of the cluster's CAs, by which it is restored, and somebody else keeps this cluster's",
        )
        .hint("on a control plane `etcdctl snapshot save` works with --endpoints https://127.0.0.1:2379 and the certificates of /etc/kubernetes/pki/etcd (--cacert ca.crt --cert healthcheck-client.crt --key healthcheck-client.key)"));
    }
    if inv.backup.recipients.is_empty() {
        if inv.backup.allow_unencrypted.is_none() {
            return Err(Error::refused(
                "a backup holds every secret of the cluster, and the inventory names nobody to encrypt it to",
            )
            .hint(
                "[backup] recipients = [\"age1...\"]: `age-keygen -o KEYFILE` makes a key and prints the recipient",
            ));
        }
        eprintln!("Warning: the backup is not encrypted: whoever gets hold of the file owns the cluster");
    }
    inv.backup
        .recipients
        .iter()
        .map(|text| recipient(text).ok_or_else(|| Error::invalid("a recipient of backups is not a public key of age")))
        .collect()
}

async fn write(
    ctx: &Context,
    out: &Path,
    recipients: &[age::x25519::Recipient],
) -> Result<(PathBuf, BackupManifest, u64)> {
    let Some((node, ill)) = etcd::healthy_member(ctx, &ctx.inventory.control_planes()).await? else {
        return Err(Error::failed("no control plane has a healthy etcd member: there is nothing to take a snapshot of")
            .hint("`provision status` shows what stands; `provision etcd restore` brings the cluster back from an earlier backup"));
    };
    for endpoint in ill {
        eprintln!("Warning: etcd's member at {endpoint} is not healthy; the snapshot is taken on {}", node.name);
    }
    let attempted = || format!("failed to write a backup into {}", out.display());
    DirBuilder::new().recursive(true).mode(0o700).create(out).context(attempted)?;
    let cancel = Cancel::new();
    cancel.on_signals()?;
    let now = Utc::now();
    let target = out.join(file_name(&ctx.inventory.cluster.name, now, !recipients.is_empty()));
    // Mode 0600 from its first byte; gone again when anything fails.
    let partial = tempfile::Builder::new().prefix(".partial-").tempfile_in(out).context(attempted)?;
    let hashing = Hashing {
        out: BufWriter::new(partial.as_file().try_clone().context(attempted)?),
        hash: Sha256::new(),
        size: 0,
    };
    let mut writer = Writer::new(hashing, recipients)?;
    let manifest = etcd::take(ctx, &node.name, now, &mut writer, &cancel).await?;
    let mut written = writer.finish()?;
    written.out.flush().context(attempted)?;
    let (digest, size) = (Digest::from_hash(written.hash.finalize().as_ref()), written.size);
    drop(written.out);
    partial.as_file().sync_all().context(attempted)?;
    if hash_file(partial.path()).await? != digest {
        return Err(Error::failed(format!("{} does not hold what was written", target.display()))
            .hint("the disk loses data: write the backup elsewhere"));
    }
    partial.persist_noclobber(&target).map_err(|e| e.error).context(attempted)?;
    File::open(out).and_then(|dir| dir.sync_all()).context(attempted)?;
    Ok((target, manifest, size))
}

fn remove_surplus(dir: &Path, cluster: &str, keep: u32) -> Result<Vec<String>> {
    let attempted = || format!("failed to remove old backups from {}", dir.display());
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).context(attempted)? {
        names.push(entry.context(attempted)?.file_name().to_string_lossy().into_owned());
    }
    let removed = surplus(&names, cluster, keep);
    for name in &removed {
        std::fs::remove_file(dir.join(name)).context(attempted)?;
    }
    Ok(removed)
}

struct Hashing<W> {
    out: W,
    hash: Sha256,
    size: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let n = self.out.write(bytes)?;
        self.hash.update(bytes.get(..n).unwrap_or_default());
        self.size += n as u64;
        Ok(n)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}
