//! systemd units.

use std::time::Duration;

use super::context::Context;
use crate::error::Result;

/// A slow disk may take a minute to bring containerd up.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Enables the unit or not, and starts it anew or stops it, when `active` says so.
pub(in crate::exec) async fn bring(
    ctx: &Context,
    host: &str,
    unit: &str,
    enabled: bool,
    active: Option<bool>,
) -> Result<()> {
    const TEXT: &str = r#"# apply:systemctl
u=$1
systemctl daemon-reload || exit 1
if [ "$2" = yes ]; then systemctl --quiet enable "$u"; else systemctl --quiet disable "$u"; fi || exit 1
case $3 in
    stop) systemctl stop "$u" ;;
    run)
        systemctl reset-failed "$u" 2>/dev/null
        systemctl restart "$u" || { journalctl --no-pager -n 15 -u "$u" >&2 2>/dev/null; exit 1; }
        # A service that dies right after its start is not started.
        for i in 1 2 3 4 5; do
            sleep 0.2
            systemctl is-active --quiet "$u" || { journalctl --no-pager -n 15 -u "$u" >&2 2>/dev/null; exit 1; }
        done ;;
esac
"#;
    let enabled = if enabled { "yes" } else { "no" };
    let wanted = match active {
        Some(true) => "run",
        Some(false) => "stop",
        None => "leave",
    };
    ctx.script(host, "systemctl", TEXT, &[unit, enabled, wanted], TIMEOUT, &format!("bring {unit} up"))
        .await
        .map(drop)
        .map_err(|e| e.hint(format!("on the host: `systemctl status {unit}` and `journalctl -u {unit}`")))
}
