//! The record of an operation: one JSON line per event, each with the digest of the line before it.
//!
//! For audit and display only. Nothing in a journal is ever a reason to do or not to do a step.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use chrono::Utc;
use serde::{Deserialize, Serialize};

use crate::bundle::Digest;
use crate::error::{Context as _, Error, Result};

use super::event::{Event, Sink};
use super::state::{path_part, private_dir, state_dir, timestamp, user_and_host};

/// The version of the journal's format this program writes and the newest it reads.
pub const JOURNAL_FORMAT: u32 = 1;

/// The first line of a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// [`JOURNAL_FORMAT`] when written.
    pub journal_format: u32,
    /// The version of `provision`.
    pub tool: String,
    /// The operation's id.
    pub operation: String,
    /// The cluster's name.
    pub cluster: String,
    /// Who ran it.
    pub user: String,
    /// On which machine.
    pub host: String,
    /// When it began, RFC 3339 in UTC.
    pub started: String,
    /// The command, like `apply`.
    pub command: String,
}

/// Every line after the first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// When, RFC 3339 in UTC.
    pub at: String,
    /// The digest of the line before this one, without its newline.
    pub prev: Digest,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// Writes a journal. Every event goes to the file at once, but for [`Event::Progress`], which is display alone; the
/// file is forced to disk when a phase or the operation ends.
pub struct Journal {
    path: PathBuf,
    state: Mutex<State>,
}

struct State {
    file: File,
    prev: Digest,
    /// The first failure to write. The operation goes on without a journal: stopping halfway would be worse.
    failed: Option<Error>,
}

impl Journal {
    /// Begins `<state dir>/journal/<cluster>/<operation>.jsonl`, mode 0600.
    pub fn create(cluster: &str, operation: &str, command: &str) -> Result<Self> {
        Self::create_in(&state_dir()?, cluster, operation, command)
    }

    /// Like [`Journal::create`], with another state directory.
    pub fn create_in(state_dir: &Path, cluster: &str, operation: &str, command: &str) -> Result<Self> {
        let dir = state_dir.join("journal").join(path_part(cluster)?);
        private_dir(&dir)?;
        let path = dir.join(format!("{}.jsonl", path_part(operation)?));
        let (user, host) = user_and_host();
        let header = Header {
            journal_format: JOURNAL_FORMAT,
            tool: env!("CARGO_PKG_VERSION").to_owned(),
            operation: operation.to_owned(),
            cluster: cluster.to_owned(),
            user,
            host,
            started: timestamp(Utc::now()),
            command: command.to_owned(),
        };
        let attempted = || format!("failed to begin the journal {}", path.display());
        let line = serde_json::to_vec(&header).context(attempted)?;
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path).context(attempted)?;
        let mut state = State { file, prev: Digest::of(&line), failed: None };
        state.write(line).context(attempted)?;
        Ok(Self { path: path.clone(), state: Mutex::new(state) })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Forces it to disk. An error when any event could not be written.
    pub fn finish(&self) -> Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.sync();
        match state.failed.take() {
            None => Ok(()),
            Some(error) => Err(Error::failed(format!("the journal {} is not complete", self.path.display()))
                .source(error)
                .hint("what was done on the hosts is not affected")),
        }
    }
}

impl State {
    fn write(&mut self, mut line: Vec<u8>) -> std::io::Result<()> {
        let digest = Digest::of(&line);
        line.push(b'\n');
        self.file.write_all(&line)?;
        self.prev = digest;
        Ok(())
    }

    fn append(&mut self, event: &Event) {
        if self.failed.is_some() {
            return;
        }
        let entry = Entry { at: timestamp(Utc::now()), prev: self.prev.clone(), event: event.clone() };
        let result = serde_json::to_vec(&entry).map_err(std::io::Error::from).and_then(|line| self.write(line));
        if let Err(error) = result {
            self.failed = Some(Error::failed("failed to write an event").source(error));
        }
    }

    fn sync(&mut self) {
        if let Err(error) = self.file.sync_data() {
            self.failed.get_or_insert(Error::failed("failed to force it to disk").source(error));
        }
    }
}

impl Sink for Journal {
    fn event(&self, event: &Event) {
        if matches!(event, Event::Progress { .. }) {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.append(event);
        if matches!(event, Event::PhaseEnded { .. } | Event::Ended { .. }) {
            state.sync();
        }
    }
}

/// The journals of `cluster`, the oldest first; none is no error.
pub fn list(cluster: &str) -> Result<Vec<PathBuf>> {
    list_in(&state_dir()?, cluster)
}

/// Like [`list`], with another state directory.
pub fn list_in(state_dir: &Path, cluster: &str) -> Result<Vec<PathBuf>> {
    let dir = state_dir.join("journal").join(path_part(cluster)?);
    let attempted = || format!("failed to list the journals in {}", dir.display());
    let files = match std::fs::read_dir(&dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.context(attempted)?,
    };
    let mut paths = Vec::new();
    for file in files {
        let path = file.context(attempted)?.path();
        if path.extension().is_some_and(|e| e == "jsonl") {
            paths.push(path);
        }
    }
    // An operation's id begins with its time.
    paths.sort_unstable();
    Ok(paths)
}

/// A journal that was read and whose chain holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Verified {
    /// Its first line.
    pub header: Header,
    /// All other lines.
    pub entries: Vec<Entry>,
    /// The digest of its last line. Kept elsewhere, it proves that nothing was cut off the end.
    pub head: Digest,
    /// Whether the operation's end is recorded; not so after a crash, or when the end was cut off.
    pub ended: bool,
    /// Whether a part of a line stands at the end, as a crash leaves it. It is not in `entries`.
    pub torn: bool,
}

/// Reads a journal and checks that each line names the digest of the line before it.
pub fn verify(path: &Path) -> Result<Verified> {
    let bytes = std::fs::read(path).context(|| format!("failed to read the journal {}", path.display()))?;
    check(&bytes).map_err(|e| Error::invalid(format!("the journal {} does not hold", path.display())).source(e))
}

fn check(bytes: &[u8]) -> Result<Verified> {
    let mut lines: Vec<&[u8]> = bytes.split(|&b| b == b'\n').collect();
    let torn = lines.pop().is_some_and(|rest| !rest.is_empty());
    let Some((first, rest)) = lines.split_first() else { return Err(Error::invalid("it has no first line")) };
    let header: Header =
        serde_json::from_slice(first).map_err(|e| Error::invalid("line 1 is no journal's header").source(e))?;
    if header.journal_format > JOURNAL_FORMAT {
        return Err(Error::invalid(format!("its format {} is newer than this program", header.journal_format)));
    }
    let mut head = Digest::of(first);
    let mut entries = Vec::with_capacity(rest.len());
    for (line, number) in rest.iter().zip(2..) {
        let entry: Entry = serde_json::from_slice(line)
            .map_err(|e| Error::invalid(format!("line {number} can not be read")).source(e))?;
        if entry.prev != head {
            let before = number - 1;
            return Err(Error::invalid(format!(
                "line {number} does not follow line {before}: a line was changed, added, moved or taken away"
            )));
        }
        head = Digest::of(line);
        entries.push(entry);
    }
    let ended = entries.last().is_some_and(|e| matches!(e.event, Event::Ended { .. }));
    Ok(Verified { header, entries, head, ended, torn })
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
