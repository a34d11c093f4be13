//! The lock that keeps two operations on one cluster apart, on the operator's machine.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use chrono::Utc;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::error::{Context as _, Error, Result};

use super::state::{path_part, private_dir, state_dir, timestamp, user_and_host};

/// Who holds a lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Holder {
    user: String,
    host: String,
    pid: u32,
    since: String,
    command: String,
}

/// The right to change one cluster; ends when dropped, and with the process however it ends.
#[derive(Debug)]
pub struct Lease {
    file: File,
}

impl Lease {
    /// Takes the lock of `cluster` for `command`, without waiting. Held by another: an error of kind `Refused` that
    /// says by whom and since when.
    pub fn acquire(cluster: &str, command: &str) -> Result<Self> {
        Self::acquire_in(&state_dir()?, cluster, command)
    }

    /// Like [`Lease::acquire`], with the lock file in `dir`.
    pub fn acquire_in(dir: &Path, cluster: &str, command: &str) -> Result<Self> {
        private_dir(dir)?;
        let path = dir.join(format!("{}.lock", path_part(cluster)?));
        let attempted = || format!("failed to lock {}", path.display());
        // Never unlinked: a lock on a file that has lost its name excludes nobody.
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .context(attempted)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(held(&mut file, cluster)),
            Err(errno) => return Err(errno).context(attempted),
        }
        let (user, host) = user_and_host();
        let since = timestamp(Utc::now());
        let holder = Holder { user, host, pid: std::process::id(), since, command: command.to_owned() };
        let text = serde_json::to_vec(&holder).context(attempted)?;
        file.set_len(0).context(attempted)?;
        file.write_all(&text).context(attempted)?;
        Ok(Self { file })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // The lock itself goes with the file; the text would only mislead a reader.
        let _ = self.file.set_len(0);
    }
}

fn held(file: &mut File, cluster: &str) -> Error {
    let mut text = String::new();
    let read = file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_string(&mut text));
    let by = match read.ok().and_then(|_| serde_json::from_str::<Holder>(&text).ok()) {
        Some(h) => {
            format!("`provision {}` of {} on {} (process {}) since {}", h.command, h.user, h.host, h.pid, h.since)
        }
        None => "another operation that has only just begun".to_owned(),
    };
    Error::refused(format!("cluster {cluster} is locked by {by}"))
        .hint("wait for it to end; the lock goes with its process, so there is nothing to clean up")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn one_at_a_time_and_the_second_is_told_by_whom() -> Result<()> {
        let dir = tempfile::tempdir().context(|| "tempdir".into())?;
        let first = Lease::acquire_in(dir.path(), "prod", "apply")?;
        let error = match Lease::acquire_in(dir.path(), "prod", "reset") {
            Ok(_) => return Err(Error::failed("locked twice")),
            Err(error) => error,
        };
        assert_eq!(error.kind(), Kind::Refused);
        let text = error.to_string();
        assert!(text.contains("`provision apply`") && text.contains(&format!("process {}", std::process::id())));
        Lease::acquire_in(dir.path(), "other", "apply")?;
        drop(first);
        Lease::acquire_in(dir.path(), "prod", "reset").map(drop)
    }
}
