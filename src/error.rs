//! The one error type of the program: what was attempted, where, the command, the cause chain and a hint.
//!
//! Every fallible public function returns [`Result`]. The kind decides the exit code (see [`Kind::exit_code`]);
//! nothing else in the program chooses one.

use std::fmt;

/// What class of failure this is; the exit code follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Something that should have worked did not (exit 1).
    Failed,
    /// A bad inventory, lock, plan or bundle (exit 3).
    Invalid,
    /// A host does not answer or is not trusted (exit 4).
    Unreachable,
    /// A safeguard refused before anything moved (exit 5).
    Refused,
    /// Wrong usage of the command line (exit 64).
    Usage,
    /// Interrupted by a signal (exit 130).
    Interrupted,
}

impl Kind {
    /// The documented process exit code of this kind.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Invalid => 3,
            Self::Unreachable => 4,
            Self::Refused => 5,
            Self::Usage => 64,
            Self::Interrupted => 130,
        }
    }
}

/// The remote or local command behind an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedCommand {
    /// The command line as shown to people (never holds secrets: secrets travel on stdin).
    pub line: String,
    /// How it ended: "exit 1", "signal KILL", "lost".
    pub ended: String,
    /// The last 20 lines of its stderr.
    pub stderr_tail: String,
}

/// The number of stderr lines an error keeps.
pub const STDERR_TAIL_LINES: usize = 20;

impl FailedCommand {
    /// Keeps the last [`STDERR_TAIL_LINES`] lines of `stderr`.
    pub fn new(line: impl Into<String>, ended: impl Into<String>, stderr: &str) -> Self {
        let lines: Vec<&str> = stderr.trim_end().lines().collect();
        let tail = lines[lines.len().saturating_sub(STDERR_TAIL_LINES)..].join("\n");
        Self { line: line.into(), ended: ended.into(), stderr_tail: tail }
    }
}

/// An error of `provision`. `Display` is one lower-case line fit for "Error: {}"; [`Error::report`] is the whole.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: Kind,
    attempted: String,
    host: Option<String>,
    command: Option<FailedCommand>,
    hints: Vec<String>,
    /// Rendered diagnostics (file, line, caret) that replace the plain message body.
    diagnostics: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A new error of `kind`; `attempted` says what was attempted and what is wrong, in lower case, no full stop.
    pub fn new(kind: Kind, attempted: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            attempted: attempted.into(),
            host: None,
            command: None,
            hints: Vec::new(),
            diagnostics: None,
            source: None,
        }))
    }

    /// [`Kind::Failed`].
    pub fn failed(attempted: impl Into<String>) -> Self {
        Self::new(Kind::Failed, attempted)
    }
    /// [`Kind::Invalid`].
    pub fn invalid(attempted: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, attempted)
    }
    /// [`Kind::Unreachable`].
    pub fn unreachable(attempted: impl Into<String>) -> Self {
        Self::new(Kind::Unreachable, attempted)
    }
    /// [`Kind::Refused`].
    pub fn refused(attempted: impl Into<String>) -> Self {
        Self::new(Kind::Refused, attempted)
    }

    /// Names the host it happened on.
    #[must_use]
    pub fn on(mut self, host: impl Into<String>) -> Self {
        self.0.host = Some(host.into());
        self
    }
    /// Names the command that failed.
    #[must_use]
    pub fn command(mut self, command: FailedCommand) -> Self {
        self.0.command = Some(command);
        self
    }
    /// Adds what the reader can do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hints.push(hint.into());
        self
    }
    /// Adds the cause.
    #[must_use]
    pub fn source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }
    /// Adds already rendered diagnostics (inventory errors with line and caret).
    #[must_use]
    pub fn diagnostics(mut self, rendered: impl Into<String>) -> Self {
        self.0.diagnostics = Some(rendered.into());
        self
    }
    /// Changes the kind, keeping all else.
    #[must_use]
    pub fn with_kind(mut self, kind: Kind) -> Self {
        self.0.kind = kind;
        self
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.0.kind
    }
    /// The host it happened on, if one.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.0.host.as_deref()
    }
    /// The command that failed, if one.
    #[must_use]
    pub fn failed_command(&self) -> Option<&FailedCommand> {
        self.0.command.as_ref()
    }
    /// The hints.
    #[must_use]
    pub fn hints(&self) -> &[String] {
        &self.0.hints
    }

    /// One line for a hint of another error: this one, what is behind it, and the last that a command said.
    #[must_use]
    pub fn in_short(&self) -> String {
        let mut parts = vec![self.to_string()];
        let mut last: Option<&Error> = Some(self);
        while let Some(error) = last {
            if let Some(command) = &error.0.command {
                let said = command.stderr_tail.lines().last().map(|l| format!(": {l}")).unwrap_or_default();
                parts.push(format!("{}{said}", command.ended));
            }
            last = error.0.source.as_deref().and_then(|s| s.downcast_ref());
            parts.extend(last.map(ToString::to_string));
        }
        parts.join("; ")
    }

    /// The whole error for a terminal: `Error:`, host, command, `Caused by:` chain and `Hint:` lines.
    #[must_use]
    pub fn report(&self) -> String {
        use std::fmt::Write as _;
        let mut out = String::new();
        if let Some(diagnostics) = &self.0.diagnostics {
            out.push_str(diagnostics.trim_end());
            out.push_str("\n\n");
        }
        let _ = writeln!(out, "Error: {self}");
        if let Some(command) = &self.0.command {
            let _ = writeln!(out, "  command: {}", command.line);
            let _ = writeln!(out, "  ended:   {}", command.ended);
            if !command.stderr_tail.is_empty() {
                let _ = writeln!(out, "  stderr (last {STDERR_TAIL_LINES} lines):");
                for line in command.stderr_tail.lines() {
                    let _ = writeln!(out, "    {line}");
                }
            }
        }
        let mut cause: Option<&dyn std::error::Error> = self.0.source.as_deref().map(|s| s as &dyn std::error::Error);
        let mut number = 1;
        while let Some(inner) = cause {
            if number == 1 {
                out.push_str("Caused by:\n");
            }
            let _ = writeln!(out, "  {number}: {inner}");
            // A nested error of ours may know the command; it must not be lost on the way up.
            if let Some(ours) = inner.downcast_ref::<Error>()
                && let Some(command) = ours.failed_command()
            {
                let _ = writeln!(out, "     command: {} ({})", command.line, command.ended);
                for line in command.stderr_tail.lines() {
                    let _ = writeln!(out, "       {line}");
                }
            }
            number += 1;
            cause = inner.source();
        }
        let mut hints: Vec<&str> = self.0.hints.iter().map(String::as_str).collect();
        if hints.is_empty()
            && let Some(inner) = self.0.source.as_deref().and_then(|s| s.downcast_ref::<Error>())
        {
            hints.extend(inner.hints().iter().map(String::as_str));
        }
        if !hints.is_empty() {
            out.push('\n');
        }
        for hint in hints {
            let _ = writeln!(out, "Hint: {hint}");
        }
        out
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(host) = &self.0.host {
            write!(f, "{host}: ")?;
        }
        f.write_str(&self.0.attempted)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|s| s as &(dyn std::error::Error + 'static))
    }
}

/// Adds context to the error of a result: what was attempted.
pub trait Context<T> {
    /// Wraps the error as the cause of a [`Kind::Failed`] error (the kind of an inner [`Error`] is kept).
    fn context(self, attempted: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Box<dyn std::error::Error + Send + Sync>>> Context<T> for std::result::Result<T, E> {
    fn context(self, attempted: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|e| {
            let boxed: Box<dyn std::error::Error + Send + Sync> = e.into();
            let kind = boxed.downcast_ref::<Error>().map_or(Kind::Failed, Error::kind);
            Error::new(kind, attempted()).source(boxed)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_names_host_command_cause_and_hint() {
        let error = Error::failed("failed to start containerd")
            .on("cp1")
            .command(FailedCommand::new("systemctl start containerd", "exit 1", "a\nb\n"))
            .source(Error::failed("inner"))
            .hint("look at journalctl -u containerd");
        assert_eq!(
            error.report(),
            "Error: cp1: failed to start containerd\n  command: systemctl start containerd\n  ended:   exit 1\n  \
             stderr (last 20 lines):\n    a\n    b\nCaused by:\n  1: inner\n\nHint: look at journalctl -u containerd\n"
        );
    }

    #[test]
    fn in_short_it_is_one_line_with_what_the_command_said_last() {
        let command = FailedCommand::new("systemd-run", "exit 1", "a\nit is there already\n");
        let error = Error::failed("failed to start").on("cp1").source(Error::failed("inner").command(command));
        assert_eq!(error.in_short(), "cp1: failed to start; inner; exit 1: it is there already");
    }

    #[test]
    fn stderr_keeps_the_last_twenty_lines() {
        let long: String = (0..50).map(|n| format!("{n}\n")).collect();
        let kept = FailedCommand::new("x", "exit 1", &long).stderr_tail;
        assert_eq!(kept.lines().count(), STDERR_TAIL_LINES);
        assert!(kept.ends_with("49"));
    }

    #[test]
    fn context_keeps_the_kind() {
        let inner: Result<()> = Err(Error::refused("no"));
        assert_eq!(inner.context(|| "outer".into()).map_err(|e| e.kind()), Err(Kind::Refused));
    }
}
