//! Changed settings of a node's containerd, and the way back.

use std::time::Duration;

use super::context::Context;
use super::settings::{STAGE, ready, ready_again, unit};
use super::{files, room};
use crate::error::{Error, Kind, Result};
use crate::exec::StepNote;
use crate::plan::Action;
use crate::resource::RUNTIME_BEFORE;

/// containerd once, on a slow disk.
const TIMEOUT: Duration = Duration::from_secs(400);

/// Gives containerd its settings. Its containers run on while it restarts: the node counts as well when all that was ready
/// on it is so again. When not, containerd gets back what it had.
pub(super) async fn settings(
    ctx: &Context,
    host: &str,
    action: &Action,
    notes: &(dyn Fn(StepNote) + Send + Sync),
) -> Result<()> {
    let Action::RuntimeSettings { node, through, config, unit, timeout_s } = action else { return Ok(()) };
    room::others_are_well(ctx, host).await?;
    let served = ready(ctx, through, node).await?;
    let [new_config, new_unit] = ["containerd.toml", "containerd.service"].map(|f| format!("{STAGE}/{f}"));
    files::write(ctx, host, &new_config, config, 0o600).await?;
    files::write(ctx, host, &new_unit, unit, 0o600).await?;
    let well = |after: &'static str| {
        let served = &served;
        async move { ready_again(ctx, (through, node), served, *timeout_s, after, notes).await }
    };
    let done = async {
        script(ctx, host, &["try", &new_config, &new_unit]).await?;
        well("containerd was given new settings").await
    };
    let Err(error) = done.await else { return script(ctx, host, &["done"]).await };
    // Unreachable is not unwell, and a run that was lost goes on here.
    if error.kind() == Kind::Unreachable {
        return Err(error);
    }
    let again = async {
        script(ctx, host, &["back"]).await?;
        well("containerd was given back what it had").await
    };
    Err(match again.await {
        Ok(()) => error.hint(format!(
            "containerd on {node} was given back what it had, and the node is well; no other node was begun; mend the inventory's [runtime] and run apply again"
        )),
        Err(failed) => error
            .hint(format!("containerd on {node} could not be put back: {}", failed.in_short()))
            .hint("no other node was begun; look at `journalctl -u containerd` there, then run apply again"),
    })
}

async fn script(ctx: &Context, host: &str, words: &[&str]) -> Result<()> {
    let kept = RUNTIME_BEFORE.rsplit_once('/').map_or(RUNTIME_BEFORE, |(dir, _)| dir);
    let (mode, rest) = words.split_first().ok_or_else(|| Error::failed("no mode"))?;
    let args: Vec<&str> = [*mode, kept].into_iter().chain(rest.iter().copied()).collect();
    unit(ctx, host, "runtime-settings", include_str!("settings_runtime.sh"), &args, TIMEOUT).await
}
