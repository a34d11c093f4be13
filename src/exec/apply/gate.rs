//! What has to hold after a wave of workers before the next one.

use std::time::Duration;

use tokio::time::Instant;

use super::cluster::{UPGRADE_PAUSE, node_object};
use super::context::Context;
use super::{drain, upgrade};
use crate::error::{Context as _, Error, FailedCommand, Result};
use crate::exec::StepNote;
use crate::host::Command;
use crate::inventory::{Gate, GateCheck};
use crate::kubeadm::UPGRADING_TO;
use crate::resource::{kept_path, nodes_probe, plain_version};

/// How long one gate may take to answer.
const ANSWER: Duration = Duration::from_secs(30);

/// A wave to be judged.
pub(super) struct Wave<'a> {
    pub(super) nodes: &'a [String],
    pub(super) version: &'a str,
    pub(super) soak_s: u64,
    pub(super) timeout_s: u64,
    pub(super) gates: &'a [Gate],
}

pub(super) async fn pass(
    ctx: &Context,
    host: &str,
    wave: &Wave<'_>,
    notes: &(dyn Fn(StepNote) + Send + Sync),
) -> Result<()> {
    // A node that was left out has no mark any more, and is none of this wave.
    let answers = ctx.host(host)?.probe(&[nodes_probe()]).await?;
    let marked = |name: &&String| node_object(&answers, name).is_some_and(|n| n.marks.contains_key(UPGRADING_TO));
    let nodes: Vec<&str> = wave.nodes.iter().filter(marked).map(String::as_str).collect();
    let begun = Instant::now();
    let (limit, soak) = (Duration::from_secs(wave.timeout_s), Duration::from_secs(wave.soak_s));
    let mut well_since: Option<Instant> = None;
    let mut told = String::new();
    loop {
        match check(ctx, host, &nodes, wave).await {
            Ok(()) => {
                let since = *well_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= soak {
                    break;
                }
            }
            Err(error) if begun.elapsed() >= limit => return Err(all_back(ctx, host, &nodes, wave, error).await),
            Err(error) => {
                well_since = None;
                let why = error.to_string();
                if why != told {
                    notes(StepNote::Text(why.clone()));
                    told = why;
                }
            }
        }
        tokio::time::sleep(UPGRADE_PAUSE).await;
    }
    for node in nodes {
        // There is no way back any more, and a later change of something else must not find one.
        let kept = Command::new(["rm", "-f", "--", &kept_path(wave.version)]);
        ctx.must(node, kept, "forget what the way back would take").await?;
        drain::uncordon(ctx, host, node, true).await?;
    }
    Ok(())
}

async fn all_back(ctx: &Context, host: &str, nodes: &[&str], wave: &Wave<'_>, error: Error) -> Error {
    let mut error =
        Error::failed(format!("{} was not well within {} s of its upgrade: {error}", nodes.join(", "), wave.timeout_s))
            .on(host)
            .source(error);
    for node in nodes {
        error = upgrade::back(ctx, host, node, wave.version, error).await;
    }
    error
}

async fn check(ctx: &Context, host: &str, nodes: &[&str], wave: &Wave<'_>) -> Result<()> {
    let answers = ctx.host(host)?.probe(&[nodes_probe()]).await?;
    for name in nodes {
        let well =
            node_object(&answers, name).is_some_and(|n| n.ready && plain_version(&n.kubelet_version) == wave.version);
        if !well {
            return Err(Error::failed(format!("{name} is not Ready at {}", wave.version)));
        }
        system_pods(ctx, host, name).await?;
    }
    for gate in wave.gates {
        let named = |e: Error| Error::failed(format!("gate {} is closed", gate.name)).source(e);
        match gate.check() {
            Some(GateCheck::Command(line)) => command(ctx, host, line).await.map_err(named)?,
            Some(GateCheck::Http { url, status }) => http(url, status).await.map_err(named)?,
            None => return Err(Error::invalid(format!("gate {} has neither a command nor a URL", gate.name))),
        }
    }
    Ok(())
}

/// The system's own pods on the node run and are ready.
async fn system_pods(ctx: &Context, host: &str, node: &str) -> Result<()> {
    const TEXT: &str = r#"# apply:system-pods
all=$(kubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout=10s -n kube-system get pods --field-selector "spec.nodeName=$1" \
    -o 'jsonpath={range .items[*]}{.metadata.name} {.status.phase} {.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}') || exit 1
bad=$(printf %s "$all" | grep -v -e ' Succeeded' -e ' Running True$')
[ -z "$bad" ] || { printf '%s\n' "$bad" >&2; exit 1; }
"#;
    ctx.script(host, "system-pods", TEXT, &[node], ANSWER, &format!("find all system pods of {node} ready"))
        .await
        .map(drop)
}

async fn command(ctx: &Context, host: &str, line: &str) -> Result<()> {
    const TEXT: &str = "# apply:gate\nexport KUBECONFIG=/etc/kubernetes/admin.conf PATH=$PATH:/usr/local/bin\nexec sh -c \"$1\" </dev/null\n";
    ctx.script(host, "gate", TEXT, &[line], ANSWER, "run its command").await.map(drop)
}

async fn http(url: &str, wanted: u16) -> Result<()> {
    crate::bundle::tls_init();
    let client = reqwest::Client::builder().timeout(ANSWER).build().context(|| "failed to set up HTTP".into())?;
    let status = client.get(url).send().await.context(|| format!("failed to ask {url}"))?.status().as_u16();
    if status == wanted {
        return Ok(());
    }
    Err(Error::failed(format!("{url} answers {status}, {wanted} is wanted")).command(FailedCommand::new(
        format!("GET {url}"),
        status.to_string(),
        "",
    )))
}
