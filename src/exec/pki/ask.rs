//! Has every node make its keys, and brings the requests.

use std::path::Path;
use std::time::Duration;

use futures::StreamExt as _;

use super::make::{KeyOrder, KeysMade};
use crate::bundle::{Blob, Digest, hash_file};
use crate::error::{Context as _, Error, Result};
use crate::exec::Context;
use crate::exec::etcd::step;
use crate::facts::Facts;
use crate::host::{Answer, Command, Probe};
use crate::inventory::{Arch, Node};
use crate::kubeadm::{Request, requests};
use crate::resource::{NODE_KEYS, SERVICE_ACCOUNTS, blob_path};

/// An RSA key on a slow machine takes the longest.
const TIMEOUT: Duration = Duration::from_secs(180);
const GROUP: &str = "keys";
/// `$1` the program as a blob, `$2` the directory, `$3` whether the blob goes again. The order on standard input.
const RUN: &str = r#"# apply:make-keys
umask 077
mkdir -p -- "$2" && chmod 700 "$2" || exit 1
program=$2/.program
cp -- "$1" "$program" && chmod 700 "$program" || exit 1
[ "$3" = keep ] || rm -f -- "$1"
"$program" certs keys
code=$?
rm -f -- "$program"
exit $code
"#;

/// A request of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The host.
    pub host: String,
    /// What is asked for.
    pub request: Request,
    /// The request in PEM.
    pub csr: String,
}

/// This very program, which makes the keys on the nodes: nothing has to be installed there for it.
pub struct Program {
    blob: Blob,
    digest: Digest,
    arch: Option<Arch>,
}

impl Program {
    /// The one that runs.
    ///
    /// Errors: it cannot be read.
    pub async fn running() -> Result<Self> {
        let path = std::env::current_exe().context(|| "failed to find the running program".into())?;
        let path: &Path = &path;
        let arch = Arch::from_uname(std::env::consts::ARCH);
        Ok(Self { blob: Blob::of_file(path)?, digest: hash_file(path).await?, arch })
    }
}

/// Makes the keys that are missing on these nodes and returns all their requests, with the number of keys made.
///
/// Errors (`Refused`): the program does not run on a node of another architecture, or the control planes have different
/// keys for service account tokens.
pub async fn ask(
    ctx: &Context,
    nodes: &[Node],
    facts: &Facts,
    program: &Program,
    concurrency: usize,
) -> Result<(Vec<Asked>, usize)> {
    for node in nodes {
        let found = facts.hosts.get(&node.name);
        if found.and_then(|h| h.arch()) != program.arch {
            let machine = found.map_or("unknown", |h| h.machine.as_str());
            return Err(Error::refused(format!(
                "keys are made on the node by this program, which is for {}, and the node is {machine}",
                std::env::consts::ARCH
            ))
            .on(&node.name)
            .hint("run this command with the provision for that architecture, on a machine of it"));
        }
    }
    let maker = maker(ctx, facts)?;
    let orders: Vec<(String, KeyOrder)> = nodes
        .iter()
        .map(|node| {
            let service_accounts = maker.as_ref() == Some(&node.name);
            let requests = requests(&ctx.inventory, node)?;
            Ok((node.name.clone(), KeyOrder { dir: NODE_KEYS.into(), service_accounts, requests }))
        })
        .collect::<Result<_>>()?;
    let work = orders.iter().map(|(host, order)| async move {
        let made = step(ctx, GROUP, host, "make keys and requests", on(ctx, host, order, program)).await?;
        Ok::<_, Error>((host.clone(), made))
    });
    let results: Vec<Result<(String, KeysMade)>> =
        futures::stream::iter(work).buffered(concurrency.max(1)).collect().await;
    let (mut all, mut count) = (Vec::new(), 0);
    for (result, (_, order)) in results.into_iter().zip(&orders) {
        let (host, mut made) = result?;
        count += made.made.len();
        for request in &order.requests {
            let csr = made
                .requests
                .remove(&request.name)
                .ok_or_else(|| Error::failed(format!("the node made no request for {}", request.name)).on(&host))?;
            all.push(Asked { host: host.clone(), request: request.clone(), csr });
        }
    }
    Ok((all, count))
}

/// The control plane that makes the key for service account tokens; `None` when one has it.
fn maker(ctx: &Context, facts: &Facts) -> Result<Option<String>> {
    let planes = ctx.inventory.control_planes();
    let mut known: Vec<(&str, &str)> = Vec::new();
    for node in &planes {
        if let Some(public) = facts.hosts.get(&node.name).and_then(|h| h.keys.service_accounts.as_deref()) {
            known.push((&node.name, public));
        }
    }
    if let Some(((one, _), (other, _))) = known.first().zip(known.iter().find(|(_, p)| *p != known[0].1)) {
        return Err(Error::refused(format!("{one} and {other} have different keys for service account tokens"))
            .hint(format!(
                "keep those of a control plane whose cluster lives, and remove {NODE_KEYS}/{SERVICE_ACCOUNTS}.key and {SERVICE_ACCOUNTS}.pub on the other"
            )));
    }
    Ok(planes.first().filter(|_| known.is_empty()).map(|n| n.name.clone()))
}

async fn on(ctx: &Context, host: &str, order: &KeyOrder, program: &Program) -> Result<KeysMade> {
    let size = program.blob.size();
    let kept = matches!(ctx.ask(host, Probe::Blob(program.digest.clone())).await?, Answer::Blob(s) if s == size);
    if !kept {
        ctx.host(host)?.put_blob(&program.blob, &program.digest, size, &|_| {}).await?;
    }
    let stdin = serde_json::to_vec(order).context(|| "failed to write what keys are wanted".into())?;
    let blob = blob_path(&program.digest);
    let args = [blob.as_str(), NODE_KEYS, if kept { "keep" } else { "remove" }];
    let words = ["sh", "-c", RUN, "sh"].into_iter().chain(args);
    let command = Command::new(words).stdin(stdin).timeout(TIMEOUT);
    let shown = Command::new(["make-keys", NODE_KEYS]);
    let output = ctx.run_shown(host, &command, &shown).await?;
    let output = output.check(host, &shown, "make the keys").map_err(|e| {
        e.hint(format!(
            "this program is run from {NODE_KEYS}: it has to fit the node's system, and that may not be noexec"
        ))
    })?;
    serde_json::from_slice(&output.stdout)
        .map_err(|e| Error::failed("failed to read the requests that the node made").on(host).source(e))
}
