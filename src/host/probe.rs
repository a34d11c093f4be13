//! Read-only questions to a host. Many are answered in one round trip.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::bundle::Digest;

/// One read-only question.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Probe {
    /// Type, mode, owner, size and digest of a path.
    File(String),
    /// The same with the content, for files whose diff is shown (at most 1 MiB is read).
    Content(String),
    /// The state of a systemd unit (with its suffix, `containerd.service`).
    Unit(String),
    /// The value of a sysctl key (dots), as /proc/sys has it.
    Sysctl(String),
    /// The names in a directory.
    Dir(String),
    /// Whether and how large a blob is in the node's content store. Its content is re-hashed before use, not here:
    /// a probe of gigabytes would make every plan slow. The store's files are mode 0444 and renamed into place.
    Blob(Digest),
    /// Images in containerd's k8s.io namespace: name to digest.
    Images,
    /// The answer of a read-only shell snippet run by `sh -c`, as root, at most 60 seconds.
    Shell(String),
}

/// The answer to a [`Probe`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// There is no such file, unit, key, directory or blob.
    Absent,
    /// To `File` and `Content`.
    File(FileState),
    /// To `Unit`.
    Unit(UnitState),
    /// To `Sysctl`: the value with runs of white space made one space.
    Sysctl(String),
    /// To `Dir`: sorted names.
    Dir(Vec<String>),
    /// To `Blob`: its size in bytes.
    Blob(u64),
    /// To `Images`: name to `sha256:...`. Absent when containerd does not answer.
    Images(BTreeMap<String, String>),
    /// To `Shell`.
    Shell {
        /// Its exit status.
        code: u32,
        /// Its standard output.
        stdout: String,
        /// Its standard error.
        stderr: String,
    },
}

/// What is known of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileState {
    /// `file`, `dir`, `link` or `other`.
    pub kind: FileKind,
    /// Permission bits, like 0o644.
    pub mode: u32,
    /// Owner and group ids.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Size in bytes.
    pub size: u64,
    /// When the content was last changed, microseconds since the epoch by the node's clock.
    pub mtime_us: u64,
    /// Digest of the content (regular files).
    pub digest: Option<Digest>,
    /// The content, when `Content` asked for it.
    pub content: Option<Vec<u8>>,
    /// The target of a symbolic link.
    pub target: Option<String>,
}

/// The type of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link (not followed).
    Link,
    /// Anything else.
    Other,
}

/// The state of a systemd unit, as `systemctl show` prints it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitState {
    /// `active`, `inactive`, `failed`, `activating` ...
    pub active: String,
    /// `enabled`, `disabled`, `static`, `masked` ... or empty
    pub enabled: String,
    /// Whether the unit file on disk is newer than what systemd has loaded.
    pub needs_reload: bool,
    /// When the main process started, microseconds since the epoch by the node's clock; 0 when it does not run.
    pub started_us: u64,
}
