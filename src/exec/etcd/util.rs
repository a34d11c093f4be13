//! Scripts that work with the file of a snapshot on a node: by `etcdutl`, or by an `etcdctl` older than 3.6.

use std::time::Duration;

use crate::error::Result;
use crate::exec::Context;
use crate::exec::apply::script_command;
use crate::host::{Command, ExitState, Output};

/// Defines `util`, which such a script calls.
macro_rules! with_util {
    ($marker:literal, $script:literal) => {
        concat!("# apply:", $marker, "\n", include_str!("util.sh"), include_str!($script))
    };
}
pub(super) use with_util;

/// Exit status of a script that finds neither `etcdutl` nor an `etcdctl` that does the same.
const NO_ETCDUTL: u32 = 69;

/// Runs a script that was made by [`with_util`], which has to succeed; `attempted` completes "failed to".
pub(super) async fn script(
    ctx: &Context,
    host: &str,
    (name, text): (&str, &str),
    args: &[&str],
    timeout: Duration,
    attempted: &str,
) -> Result<Output> {
    let shown = Command::new(std::iter::once(name).chain(args.iter().copied()));
    let output = ctx.run_shown(host, &script_command(text, args).timeout(timeout), &shown).await?;
    let lacks = output.exit == ExitState::Code(NO_ETCDUTL);
    output.check(host, &shown, attempted).map_err(|error| {
        if !lacks {
            return error;
        }
        error.hint("install etcdutl with `provision apply`; the archive of etcd in the bundle must hold it, as upstream's does")
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::Command;

    /// What `util snapshot status f` ends with and prints where these programs are installed.
    fn status(programs: &[(&str, &str)]) -> (Option<i32>, String) {
        let dir = tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"));
        for (name, text) in programs {
            let path = dir.path().join(name);
            std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap_or_else(|e| panic!("{e}"));
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap_or_else(|e| panic!("{e}"));
        }
        let script = concat!(include_str!("util.sh"), "util snapshot status f\n");
        let path = format!("{}:/usr/bin:/bin", dir.path().display());
        let out = Command::new("sh").args(["-c", script]).env("PATH", path).output().unwrap_or_else(|e| panic!("{e}"));
        let said = String::from_utf8_lossy(&out.stdout) + String::from_utf8_lossy(&out.stderr);
        (out.status.code(), said.into_owned())
    }

    /// An etcdctl of this version, which exits with 0 whatever it is asked, as the real one does at an unknown command.
    fn ctl(version: &str) -> String {
        format!("[ $1 = version ] && echo 'etcdctl version: {version}' && exit; echo \"etcdctl $*\"")
    }

    #[test]
    fn etcdutl_is_used_where_it_is_and_an_old_etcdctl_where_it_is_not() {
        let util = "echo \"etcdutl $*\"";
        assert_eq!(status(&[("etcdutl", util), ("etcdctl", &ctl("3.6.8"))]).1, "etcdutl snapshot status f\n");
        assert_eq!(status(&[("etcdutl", util), ("etcdctl", &ctl("3.5.21"))]).1, "etcdutl snapshot status f\n");
        assert_eq!(status(&[("etcdctl", &ctl("3.5.21"))]), (Some(0), "etcdctl snapshot status f\n".into()));
        assert_eq!(status(&[("etcdctl", &ctl("3.4.37"))]).0, Some(0));
    }

    #[test]
    fn a_new_etcdctl_without_etcdutl_fails_and_names_what_is_missing() {
        for version in ["3.6.8", "3.10.0", "4.0.0"] {
            let (code, said) = status(&[("etcdctl", &ctl(version))]);
            assert_eq!(code, Some(69), "{said}");
            assert!(said.contains("etcdutl is not installed") && said.contains(version), "{said}");
        }
        assert_eq!(status(&[]).0, Some(69));
    }
}
