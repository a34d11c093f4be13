//! Long commands as transient systemd units, so that a lost connection neither kills nor loses them.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::host::Command;
use crate::host::shell_line;

/// Starts or follows a unit, waits for its end and gives back its output and exit status.
///
/// `$1` unit, `$2` an id of this call, `$3` `start` or `follow`, `$4` the command as a line for the shell. It and what it
/// reads are kept in 0600 files on tmpfs until it ends: a command of several lines among a unit's own settings is no unit
/// any more once systemd reads it again (`daemon-reload`). A call with the id of the last start only follows: that is how
/// a broken connection is taken up again. A unit that an earlier `provision` started and did not live to see the end of is
/// followed too, or its result taken, never started twice: the same kubeadm run twice on one host leaves neither. One
/// whose result was taken is over, though systemd may call it alive for a moment, and knows its name for another: it takes
/// no unit by a name that it knows, so that is waited for. `follow` starts nothing: a host that was rebooted while the
/// command ran knows nothing of it, nor has the files it was to read.
const SCRIPT: &str = r#"u=$1 id=$2 mode=$3
d=/run/provision; umask 077; mkdir -p "$d" || exit 1
f="$d/$u"
alive() { case $(systemctl show -p ActiveState --value "$u.service" 2>/dev/null) in active | activating | deactivating) return 0 ;; *) return 1 ;; esac; }
known() { [ "$(systemctl show -p LoadState --value "$u.service" 2>/dev/null)" != not-found ]; }
unseen() { [ -e "$f.exit" ] && [ ! -e "$f.seen" ]; }
if [ "$(cat "$f.id" 2>/dev/null)" = "$id" ]; then cat >/dev/null
elif { alive && [ ! -e "$f.seen" ]; } || unseen; then cat >/dev/null; echo "$id" >"$f.id"
elif [ "$mode" = follow ]; then
    cat >/dev/null; echo "the connection was lost while $u.service ran, and the host knows nothing of it any more (was it rebooted?)" >&2; exit 125
else
    n=0; while known && [ $n -lt 200 ]; do systemctl reset-failed "$u.service" 2>/dev/null; sleep 0.1; n=$((n + 1)); done
    rm -f "$f.out" "$f.err" "$f.exit" "$f.seen"
    cat >"$f.in" && printf '%s\n' "$4" >"$f.run" || exit 1
    echo "$id" >"$f.id"
    systemd-run --quiet --collect --unit="$u" --service-type=exec --setenv=PATH="$PATH" --setenv=HOME="$HOME" \
        sh -c 'f=$1; sh "$f.run" <"$f.in" >"$f.out" 2>"$f.err"; echo $? >"$f.exit.partial"; rm -f "$f.in" "$f.run"; mv "$f.exit.partial" "$f.exit"' sh "$f" ||
        { rm -f "$f.in" "$f.run" "$f.id"; exit 1; }
fi
while [ ! -e "$f.exit" ]; do
    if ! alive; then sleep 1; [ -e "$f.exit" ] && break; rm -f "$f.id" "$f.in" "$f.run"; echo "the unit $u.service ended without an exit status (was the host rebooted?)" >&2; cat "$f.err" >&2 2>/dev/null; exit 125; fi
    sleep 0.2
done
: >"$f.seen"
cat "$f.out" 2>/dev/null; cat "$f.err" >&2 2>/dev/null
exit "$(cat "$f.exit")"
"#;

/// The id of a call: no other call has it, however soon it comes after.
pub(super) fn new_id() -> String {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let nanoseconds = chrono::Utc::now().format("%f");
    format!("{}-{nanoseconds}-{}", crate::exec::new_operation_id(), CALLS.fetch_add(1, Ordering::Relaxed))
}

/// What a call may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Start the unit, or follow one that is there.
    Start,
    /// Only follow: it was started before the connection was lost.
    Follow,
}

/// The remote command line for a command with a unit.
pub(super) fn line(command: &Command, unit: &str, id: &str, mode: Mode) -> String {
    let mode = match mode {
        Mode::Start => "start",
        Mode::Follow => "follow",
    };
    let words: Vec<String> = env_words(command).iter().chain(&command.argv).cloned().collect();
    // It takes the place of the shell that reads it.
    let run = format!("exec {}", shell_line(&words));
    shell_line(&["sh", "-c", SCRIPT, "sh", unit, id, mode, &run])
}

/// `env K=V ...` when the command sets variables.
pub(super) fn env_words(command: &Command) -> Vec<String> {
    if command.env.is_empty() {
        return Vec::new();
    }
    std::iter::once("env".to_owned()).chain(command.env.iter().map(|(k, v)| format!("{k}={v}"))).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use super::*;

    /// A systemd that calls a unit active for a while after its command has ended, knows it for another, takes none by a
    /// name that it knows, and none whose settings are more than lines.
    const SYSTEMCTL: &str = r#"#!/bin/sh
case "$1 $3" in
"show ActiveState") [ -e "$LAB/alive" ] && echo deactivating || echo inactive ;;
"show LoadState") [ -e "$LAB/known" ] && echo loaded || echo not-found ;;
esac
"#;
    const SYSTEMD_RUN: &str = r#"#!/bin/sh
[ ! -e "$LAB/known" ] || { echo "Unit was already loaded" >&2; exit 1; }
[ "$(printf %s "$*" | wc -l)" = 0 ] || { echo "Missing '='" >&2; exit 1; }
while [ "$1" != sh ]; do shift; done
: >"$LAB/alive"; : >"$LAB/known"
"$@"
(sleep 0.3; rm -f "$LAB/alive"; sleep 0.3; rm -f "$LAB/known") >/dev/null 2>&1 &
"#;

    fn shims(dir: &Path) -> std::io::Result<()> {
        for (name, text) in [("systemctl", SYSTEMCTL), ("systemd-run", SYSTEMD_RUN)] {
            std::fs::write(dir.join(name), text)?;
            std::fs::set_permissions(dir.join(name), std::fs::Permissions::from_mode(0o755))?;
        }
        Ok(())
    }

    fn call(dir: &Path, id: &str, words: &[&str]) -> std::io::Result<String> {
        let script = SCRIPT.replace("d=/run/provision", &format!("d={}", dir.join("run").display()));
        let path = format!("{}:{}", dir.display(), std::env::var("PATH").unwrap_or_default());
        let args = ["-c", &script, "sh", "u", id, "start", &shell_line(words)];
        let out = std::process::Command::new("sh")
            .args(args)
            .env("PATH", path)
            .env("LAB", dir)
            .stdin(std::process::Stdio::null())
            .output()?;
        Ok(String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr))
    }

    #[test]
    fn no_two_calls_are_the_same_one() {
        let ids: std::collections::HashSet<String> = (0..1000).map(|_| new_id()).collect();
        assert_eq!(ids.len(), 1000);
    }

    #[test]
    fn what_comes_at_once_after_another_is_done_too() -> std::io::Result<()> {
        let dir = tempfile::tempdir()?;
        shims(dir.path())?;
        assert_eq!(call(dir.path(), "1", &["echo", "one"])?, "one\n");
        assert_eq!(call(dir.path(), "2", &["echo", "two"])?, "two\n");
        // Asked again, the last one is followed and not done again.
        assert_eq!(call(dir.path(), "2", &["echo", "three"])?, "two\n");
        Ok(())
    }

    #[test]
    fn what_nobody_saw_the_end_of_is_taken() -> std::io::Result<()> {
        let dir = tempfile::tempdir()?;
        shims(dir.path())?;
        assert_eq!(call(dir.path(), "1", &["echo", "one"])?, "one\n");
        std::fs::remove_file(dir.path().join("run/u.seen"))?;
        assert_eq!(call(dir.path(), "2", &["echo", "two"])?, "one\n");
        Ok(())
    }

    #[test]
    fn a_command_may_have_lines_and_what_systemd_would_expand() -> std::io::Result<()> {
        let dir = tempfile::tempdir()?;
        shims(dir.path())?;
        let text = "for i in 1 2; do\n    echo \"$i ${HOME:+home} '$1'\"\ndone";
        assert_eq!(call(dir.path(), "1", &["sh", "-c", text, "sh", "a b"])?, "1 home 'a b'\n2 home 'a b'\n");
        let left: Vec<_> =
            std::fs::read_dir(dir.path().join("run"))?.map(|e| e.map(|e| e.file_name())).collect::<Result<_, _>>()?;
        assert!(!left.iter().any(|f| f == "u.run" || f == "u.in"), "{left:?}");
        Ok(())
    }

    #[test]
    fn what_is_run_takes_the_place_of_its_shell() {
        let command = Command::new(["sh", "-c", "echo $1", "sh", "it's"]).env("A", "b c");
        let line = line(&command, "u", "id", Mode::Start);
        assert!(line.contains(" sh u id start 'exec env ") && line.contains("A=b c"), "{line}");
    }
}
