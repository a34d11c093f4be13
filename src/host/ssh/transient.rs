//! Long commands as transient systemd units, so that a lost connection neither kills nor loses them.

use crate::host::Command;
use crate::host::shell_line;

/// Starts or follows a unit, waits for its end and gives back its output and exit status.
///
/// `$1` unit, `$2` an id of this call, `$3` `start` or `follow`, the rest the command. Standard input is the command's, kept in a 0600 file on
/// tmpfs until it ends. A call with the id of the last start only follows: that is how a broken connection is taken up
/// again. A unit that an earlier `provision` started and did not live to see the end of is followed too, or its result
/// taken, never started twice: the same kubeadm run twice on one host leaves neither. One whose result was taken is over,
/// though systemd may call it alive for a moment: its name is waited for. `follow` starts nothing: a host
/// that was rebooted while the command ran knows nothing of it, nor has the files it was to read.
const SCRIPT: &str = r#"u=$1 id=$2 mode=$3; shift 3
d=/run/provision; umask 077; mkdir -p "$d" || exit 1
f="$d/$u"
alive() { case $(systemctl show -p ActiveState --value "$u.service" 2>/dev/null) in active | activating | deactivating) return 0 ;; *) return 1 ;; esac; }
unseen() { [ -e "$f.exit" ] && [ ! -e "$f.seen" ]; }
if [ "$(cat "$f.id" 2>/dev/null)" = "$id" ]; then cat >/dev/null
elif { alive && [ ! -e "$f.seen" ]; } || unseen; then cat >/dev/null; echo "$id" >"$f.id"
elif [ "$mode" = follow ]; then
    cat >/dev/null; echo "the connection was lost while $u.service ran, and the host knows nothing of it any more (was it rebooted?)" >&2; exit 125
else
    n=0; while alive && [ $n -lt 100 ]; do sleep 0.1; n=$((n + 1)); done
    rm -f "$f.out" "$f.err" "$f.exit" "$f.seen"
    cat >"$f.in" || exit 1
    echo "$id" >"$f.id"
    systemctl reset-failed "$u.service" 2>/dev/null
    systemd-run --quiet --collect --unit="$u" --service-type=exec --setenv=PATH="$PATH" --setenv=HOME="$HOME" sh -c 'f=$1; shift
        "$@" <"$f.in" >"$f.out" 2>"$f.err"; echo $? >"$f.exit.partial"; rm -f "$f.in"; mv "$f.exit.partial" "$f.exit"' sh "$f" "$@" || { rm -f "$f.in" "$f.id"; exit 1; }
fi
while [ ! -e "$f.exit" ]; do
    if ! alive; then sleep 1; [ -e "$f.exit" ] && break; rm -f "$f.id" "$f.in"; echo "the unit $u.service ended without an exit status (was the host rebooted?)" >&2; cat "$f.err" >&2 2>/dev/null; exit 125; fi
    sleep 0.2
done
: >"$f.seen"
cat "$f.out" 2>/dev/null; cat "$f.err" >&2 2>/dev/null
exit "$(cat "$f.exit")"
"#;

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
    let mut words: Vec<String> = ["sh", "-c", SCRIPT, "sh", unit, id, mode].map(str::to_owned).into();
    // systemd would put its own environment in the place of ${...} in an argument (systemd.service(5)).
    words.extend(env_words(command).iter().chain(&command.argv).map(|word| word.replace('$', "$$")));
    shell_line(&words)
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

    /// A systemd that calls a unit active for a while after its command has ended.
    const SYSTEMCTL: &str =
        "#!/bin/sh\ncase $1 in show) [ -e \"$LAB/alive\" ] && echo deactivating || echo inactive ;; esac\n";
    const SYSTEMD_RUN: &str = "#!/bin/sh\nwhile [ \"$1\" != sh ]; do shift; done\n: >\"$LAB/alive\"\n\"$@\"\n(sleep 0.5; rm -f \"$LAB/alive\") >/dev/null 2>&1 &\n";

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
        let args = [&["-c", &script, "sh", "u", id, "start"], words].concat();
        let out = std::process::Command::new("sh")
            .args(args)
            .env("PATH", path)
            .env("LAB", dir)
            .stdin(std::process::Stdio::null())
            .output()?;
        Ok(String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr))
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
    fn systemd_finds_nothing_to_expand() {
        let line = line(&Command::new(["sh", "-c", "echo ${HOME%/*} $1"]), "u", "id", Mode::Start);
        assert!(line.ends_with("sh u id start sh -c 'echo $${HOME%/*} $$1'"), "{line}");
    }
}
