//! The peak memory of a run of `provision bundle`.

use std::process::Stdio;

use crate::site::Site;

/// Runs `provision bundle ARGS` and watches its memory: the peak in MiB.
pub fn peak_mib(site: &Site, args: &[&str]) -> u64 {
    let mut child = site.command("cache", args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    let ended = loop {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or_default();
        peak = line.trim().trim_end_matches(" kB").parse().unwrap_or(peak);
        if let Some(ended) = child.try_wait().unwrap() {
            break ended;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    };
    assert!(ended.success(), "{args:?}");
    assert!(peak > 0, "never seen running");
    peak / 1024
}
