//! Where the operator's machine keeps journals and locks.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use chrono::{DateTime, SecondsFormat, Utc};

use crate::error::{Context as _, Error, Result};

/// The environment variable that moves the state directory.
pub const STATE_VARIABLE: &str = "PROVISION_STATE";

/// `$PROVISION_STATE`, or `~/.local/state/provision`.
pub fn state_dir() -> Result<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    set(STATE_VARIABLE).or_else(|| set("HOME").map(|home| home.join(".local/state/provision"))).ok_or_else(|| {
        Error::failed("failed to find a directory for journals and locks: HOME is not set")
            .hint(format!("set {STATE_VARIABLE} to a directory that you may write to"))
    })
}

/// Makes a directory and its parents for its owner alone.
pub(super) fn private_dir(path: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .context(|| format!("failed to make {}", path.display()))
        .map_err(|e| e.hint(format!("set {STATE_VARIABLE} to a directory that you may write to")))
}

/// `name` when it may be a part of a path, as a cluster's name may.
pub(super) fn path_part(name: &str) -> Result<&str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if !name.is_empty() && !name.starts_with('.') && name.chars().all(plain) {
        Ok(name)
    } else {
        Err(Error::invalid(format!("`{name}` can not be a part of a file's name")))
    }
}

/// The time, RFC 3339 in UTC to the millisecond.
pub(super) fn timestamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Who runs this program where, as far as the environment tells.
pub(super) fn user_and_host() -> (String, String) {
    let user = ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok());
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let user = user.unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()));
    (user, host.map_or_else(|| "unknown".to_owned(), |h| h.trim().to_owned()))
}

/// A new operation's id: when it began and which process it is, like `20260102T030405Z-4711`.
#[must_use]
pub fn new_operation_id() -> String {
    format!("{}-{}", Utc::now().format("%Y%m%dT%H%M%SZ"), std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_their_directory() {
        for bad in ["", ".", "..", "a/b", "../x", ".hidden", "a b", "a\0"] {
            assert!(path_part(bad).is_err(), "{bad:?}");
        }
        assert_eq!(path_part("prod-1.eu").ok(), Some("prod-1.eu"));
    }
}
