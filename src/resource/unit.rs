//! systemd units.

use crate::host::Answer;

/// Whether the unit is as wanted. `files` answer the probes of the files it has to be started after.
pub(super) fn is_as_wanted(unit: &Answer, enabled: bool, active: Option<bool>, files: &[Answer]) -> bool {
    let Answer::Unit(state) = unit else {
        return false;
    };
    let is_enabled = matches!(state.enabled.as_str(), "enabled" | "enabled-runtime" | "static" | "indirect");
    if is_enabled != enabled || state.needs_reload {
        return false;
    }
    match active {
        None => true,
        Some(false) => state.active != "active",
        Some(true) => {
            // A one-shot unit that remains after exit has no main process any more: its start time is the probe's
            // own business (0 would mean it does not run), so a start time is there whenever the unit is active.
            state.active == "active"
                && files.iter().all(|f| !matches!(f, Answer::File(f) if f.mtime_us > state.started_us))
        }
    }
}
