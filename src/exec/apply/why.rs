//! Why kubeadm failed, in the words of those that it waited for.

use std::time::Duration;

use super::context::{Context, script_command};
use crate::error::{FailedCommand, STDERR_TAIL_LINES};
use crate::host::{Command, Output};

/// How many lines of others an error has at most; the rest is kubeadm's own.
const LINES: usize = 14;
const WIDTH: usize = 300;
const TIMEOUT: Duration = Duration::from_secs(60);
const LOGS: &str = "/var/log/pods";
/// The name of the job and of the check, as kubeadm writes them: cmd/kubeadm/app/phases/upgrade/health.go.
const JOB: [&str; 2] = ["upgrade-health-check", "CreateJob"];

const WHY: &str = include_str!("why.sh");
const WHY_JOB: &str = include_str!("why_job.sh");

/// The last lines of the kubelet and of containers of kube-system on the host that do not run.
pub(super) async fn containers(ctx: &Context, host: &str) -> String {
    said(ctx, host, WHY, &[LOGS]).await
}

/// A kubeadm that failed, with what it does not say itself: the pods and events of its health check when that failed,
/// else the last lines of the kubelet and of containers that do not run.
pub(super) async fn kubeadm(ctx: &Context, host: &str, shown: &Command, output: &Output) -> FailedCommand {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let own = if stderr.trim().is_empty() { output.text() } else { stderr };
    let more = if JOB.iter().any(|name| own.contains(name)) {
        said(ctx, host, WHY_JOB, &[]).await
    } else {
        containers(ctx, host).await
    };
    let tail: Vec<&str> = own.trim_end().lines().collect();
    let room = STDERR_TAIL_LINES.saturating_sub(more.lines().count());
    let tail = tail[tail.len().saturating_sub(room)..].join("\n");
    FailedCommand::new(shown.line(), output.exit.to_string(), &format!("{more}{tail}"))
}

async fn said(ctx: &Context, host: &str, text: &str, args: &[&str]) -> String {
    let output = ctx.run(host, &script_command(text, args).timeout(TIMEOUT)).await;
    bounded(&output.map(|o| o.text()).unwrap_or_default())
}

/// At most [`LINES`] lines of at most [`WIDTH`] characters, none of which moves a terminal's cursor.
fn bounded(text: &str) -> String {
    let line = |line: &str| {
        let plain = line.chars().map(|c| if c.is_control() { ' ' } else { c });
        plain.take(WIDTH).chain(std::iter::once('\n')).collect::<String>()
    };
    text.lines().filter(|l| !l.trim().is_empty()).take(LINES).map(line).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_a_node_says_is_bounded_and_moves_no_cursor() {
        let long = format!("\u{1b}[2Jred\r\n\n{}\n", "x".repeat(1000)) + &"more\n".repeat(50);
        let text = bounded(&long);
        assert_eq!(text.lines().count(), LINES);
        assert!(text.lines().all(|l| l.len() <= WIDTH) && !text.contains('\u{1b}') && !text.contains('\r'), "{text}");
        assert!(text.starts_with(" [2Jred"));
    }

    #[test]
    fn a_container_that_does_not_run_is_quoted_and_one_that_runs_is_not() {
        let dir = tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"));
        let logs = dir.path().join("pods");
        for (container, lines) in [("etcd", "a\nb\nc\nd\nunknown flag: --x\u{1b}[1m\n"), ("kube-scheduler", "fine\n")] {
            let pod = logs.join(format!("kube-system_{container}-cp1_uid/{container}"));
            fs::create_dir_all(&pod)
                .and_then(|()| fs::write(pod.join("0.log"), "the first try\n"))
                .unwrap_or_else(|e| panic!("{e}"));
            let last = pod.join("1.log");
            fs::write(&last, lines).unwrap_or_else(|e| panic!("{e}"));
            let old = fs::File::open(pod.join("0.log"));
            let before = std::time::SystemTime::now() - Duration::from_secs(60);
            old.and_then(|f| f.set_modified(before)).unwrap_or_else(|e| panic!("{e}"));
        }
        // containerd with one container of each, of which the scheduler's runs.
        let ctr = "#!/bin/sh\ncase \"$*\" in\n*'tasks ls'*) echo 'id-kube-scheduler 7 RUNNING'; echo 'id-etcd 8 STOPPED' ;;\n\
                   *kube-scheduler*) echo id-kube-scheduler ;;\n*etcd*) echo id-etcd ;;\nesac\n";
        let program = dir.path().join("ctr");
        fs::write(&program, ctr)
            .and_then(|()| fs::set_permissions(&program, fs::Permissions::from_mode(0o755)))
            .unwrap_or_else(|e| panic!("{e}"));
        let path = format!("{}:{}", dir.path().display(), std::env::var("PATH").unwrap_or_default());
        let output = std::process::Command::new("sh").args(["-c", WHY, "sh"]).arg(&logs).env("PATH", path).output();
        let text = String::from_utf8_lossy(&output.unwrap_or_else(|e| panic!("{e}")).stdout).into_owned();
        assert!(
            text.contains("== etcd, which does not run") && text.contains("\nb\nc\nd\nunknown flag: --x[1m\n"),
            "{text}"
        );
        assert!(!text.contains("the first try") && !text.contains("fine"), "{text}");
    }
}
