//! Scheduled backups: every control plane takes its own, encrypted before it lies on the disk for good. Nobody has to be
//! elected for it, and while one control plane is left, so is a backup. Pure.

use serde_json::json;

use super::action::Action;
use super::desired::HostSteps;
use super::model::{PhaseId, StepId};
use super::planner::Input;
use crate::backup::ENCRYPTION_CONFIG;
use crate::error::{Context as _, Result};
use crate::facts::SNAPSHOT_TIMER_FILE;
use crate::inventory::{Inventory, Node};
use crate::resource::template::{snapshot_service, snapshot_timer};

/// The unit that says when.
pub(super) const SNAPSHOT_TIMER: &str = "provision-etcd-snapshot.timer";
/// The unit that does it.
const SERVICE: &str = "provision-etcd-snapshot.service";
const SERVICE_FILE: &str = "/etc/systemd/system/provision-etcd-snapshot.service";
/// What the unit is told: an inventory of this one host.
const SETTINGS: &str = "/etc/provision/etcd-snapshot.toml";

/// Whether this host takes backups by itself.
pub(super) fn takes_backups(inv: &Inventory, node: &Node) -> bool {
    inv.backup.schedule.is_some() && node.role.is_control_plane()
}

/// The steps of one host, in the phase of its join; `after` an upgrade, so that a backup is never said to be of a version
/// that the cluster did not have yet. What an earlier schedule left goes.
pub(super) fn snapshots(
    input: &Input<'_>,
    node: &Node,
    phase: PhaseId,
    after: Option<StepId>,
    steps: &mut HostSteps<'_>,
) -> Result<()> {
    let Some(schedule) = input.inv.backup.schedule.as_ref().filter(|_| takes_backups(input.inv, node)) else {
        if input.facts.hosts.get(&node.name).is_some_and(|h| h.snapshot_timer) {
            unscheduled(phase, steps);
        }
        return Ok(());
    };
    let file = |path: &str, content: String| Action::WriteFile { path: path.into(), content, mode: 0o644 };
    let why = "what scheduled backups are told";
    steps.add(phase, "backup-settings", file(SETTINGS, settings(input.inv, node)?), why);
    steps.after(after);
    steps.add(phase, "backup-service", file(SERVICE_FILE, snapshot_service(&node.name)?), "how a backup is taken");
    steps.add(phase, "backup-timer", file(SNAPSHOT_TIMER_FILE, snapshot_timer(schedule)?), "when a backup is taken");
    // The timer starts it; systemd only has to have read what it is now.
    let unit =
        |name: &str, active| Action::Unit { name: name.into(), enabled: true, active, started_after: Vec::new() };
    steps.add(phase, "backup-service-read", unit(SERVICE, None), "systemd knows how a backup is taken");
    steps.add(phase, "backup-schedule", unit(SNAPSHOT_TIMER, Some(true)), "backups are taken when the inventory says");
    Ok(())
}

/// The timer's file goes last: while it is there, this is planned.
fn unscheduled(phase: PhaseId, steps: &mut HostSteps<'_>) {
    let stop =
        Action::Unit { name: SNAPSHOT_TIMER.into(), enabled: false, active: Some(false), started_after: Vec::new() };
    let why = "the inventory has no schedule for backups any more; those that were taken stay";
    steps.add(phase, "backup-schedule", stop, why);
    for (what, path) in
        [("backup-settings", SETTINGS), ("backup-service", SERVICE_FILE), ("backup-timer", SNAPSHOT_TIMER_FILE)]
    {
        steps.add(phase, what, Action::RemoveFile { path: path.into() }, why);
    }
}

/// An inventory of this one host, with nothing in it that a backup does not need: it changes only when backups do.
fn settings(inv: &Inventory, node: &Node) -> Result<String> {
    let mut told = json!({
        "cluster": { "name": inv.cluster.name, "version": inv.cluster.version },
        "endpoint": { "mode": "first-node" },
        "backup": { "recipients": inv.backup.recipients, "keep": inv.backup.keep },
        "hosts": [{ "name": node.name, "address": node.address, "role": "control-plane" }],
    });
    if let Some(words) = &inv.backup.allow_unencrypted {
        told["backup"]["allow_unencrypted"] = json!(words);
    }
    if let Some(path) = inv.apiserver.extra_args.get(ENCRYPTION_CONFIG) {
        told["apiserver"] = json!({ "extra_args": { ENCRYPTION_CONFIG: path } });
    }
    let text = toml::to_string(&told).context(|| "failed to write the settings of scheduled backups".into())?;
    Ok(format!("# Written by provision: what scheduled backups of this control plane are told\n{text}"))
}
