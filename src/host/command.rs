//! A command for a host and what came of it.

use std::fmt;
use std::time::Duration;

use crate::error::{Error, FailedCommand};

/// A command to run as root on a host.
///
/// Secrets never go into `argv`: put them on stdin or into a file written with [`super::Host::write_file`].
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    /// Program and arguments; quoted for the remote shell by the adapter.
    pub argv: Vec<String>,
    /// Bytes for its standard input; may be secret, so `Debug` shows only their number.
    pub stdin: Vec<u8>,
    /// Environment variables set for it (never secrets).
    pub env: Vec<(String, String)>,
    /// How long it may take.
    pub timeout: Duration,
    /// Run it as the transient systemd unit of this name (without `.service`), so that a lost connection neither
    /// kills nor loses it; a unit of that name that still runs is followed instead of started twice.
    pub unit: Option<String>,
}

/// How long a command may take unless it says otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

impl Command {
    /// A command with the default timeout and no input.
    pub fn new<S: Into<String>>(argv: impl IntoIterator<Item = S>) -> Self {
        Self {
            argv: argv.into_iter().map(Into::into).collect(),
            stdin: Vec::new(),
            env: Vec::new(),
            timeout: DEFAULT_TIMEOUT,
            unit: None,
        }
    }
    /// Gives it standard input.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }
    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((key.into(), value.into()));
        self
    }
    /// Sets the timeout.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
    /// Runs it as a transient unit.
    #[must_use]
    pub fn unit(mut self, name: impl Into<String>) -> Self {
        self.unit = Some(name.into());
        self
    }
    /// As shown to people and written to the journal.
    #[must_use]
    pub fn line(&self) -> String {
        shell_line(&self.argv)
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command")
            .field("line", &self.line())
            .field("stdin_bytes", &self.stdin.len())
            .field("timeout", &self.timeout)
            .field("unit", &self.unit)
            .finish()
    }
}

/// Quotes `word` for a POSIX shell, only when it needs it.
#[must_use]
pub fn shell_quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Words as one line for a POSIX shell, each quoted when it needs it.
pub(crate) fn shell_line<W: AsRef<str>>(words: &[W]) -> String {
    words.iter().map(|w| shell_quote(w.as_ref())).collect::<Vec<_>>().join(" ")
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExitState {
    /// With this exit status.
    Code(u32),
    /// By this signal.
    Signal(String),
    /// The connection was lost before an exit status came: it may or may not have run. Never success.
    Lost,
}

impl fmt::Display for ExitState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit {code}"),
            Self::Signal(name) => write!(f, "signal {name}"),
            Self::Lost => f.write_str("lost (no exit status came)"),
        }
    }
}

/// What a command printed and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// How it ended.
    pub exit: ExitState,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Whether it exited with 0.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.exit == ExitState::Code(0)
    }
    /// Standard output as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
    /// Itself when it exited with 0, else an error that says what was attempted with which command.
    pub fn check(self, host: &str, command: &Command, attempted: &str) -> Result<Self, Error> {
        if self.ok() {
            return Ok(self);
        }
        let stderr = String::from_utf8_lossy(&self.stderr);
        // kubeadm and friends print their reason on stdout at times.
        let shown = if stderr.trim().is_empty() { self.text() } else { stderr.into_owned() };
        let kind =
            if self.exit == ExitState::Lost { crate::error::Kind::Unreachable } else { crate::error::Kind::Failed };
        Err(Error::new(kind, format!("failed to {attempted}")).on(host).command(FailedCommand::new(
            command.line(),
            self.exit.to_string(),
            &shown,
        )))
    }
}
