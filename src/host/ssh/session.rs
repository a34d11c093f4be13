//! A host over SSH.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::AsyncRead;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::Instant;

use super::connect::{Session, SshConnector};
use super::exec::{Broken, exec};
use super::sudo::Root;
use super::transient;
use super::upload::{NO_SPACE, PUT_BLOB, WRITE_FILE, WRONG_CONTENT};
use crate::bundle::{Blob, Digest};
use crate::error::{Context as _, Error, FailedCommand, Result};
use crate::host::{Answer, Command, ExitState, FileSpec, Host, NODE_BLOB_DIR, Output, Probe, script, shell_line};
use crate::inventory::{Node, SshTarget};

/// What every command runs in. kubectl keeps a cache under HOME: it goes where nothing stays over a reboot.
const ENVIRONMENT: &str =
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C HOME=/run/provision/home";
/// sshd's MaxSessions is 10 on one connection; two stay free for a person.
const MAX_CHANNELS: usize = 8;
/// How long the longest probe round may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(300);
/// The slowest link a blob is sent over: 64 KiB/s, and a minute on top.
const SLOWEST_BYTES_PER_S: u64 = 64 * 1024;
/// Pause before a broken connection is opened again while a unit is followed.
const RECONNECT_PAUSE: Duration = Duration::from_secs(2);
/// How long a host is asked for before a unit began on it.
const CONNECT_FOR: Duration = Duration::from_secs(15);
/// How long a host whose connection broke while a unit ran is asked for again. A server's reboot takes minutes; the
/// unit goes on without us, and the next run follows it.
const RECONNECT_FOR: Duration = Duration::from_secs(300);

/// A machine reached over SSH. Control and bulk traffic have a connection each; both are opened again when they broke.
pub struct SshHost {
    connector: Arc<SshConnector>,
    name: String,
    target: SshTarget,
    root: Root,
    control: Mutex<Option<Arc<Session>>>,
    bulk: Mutex<Option<Arc<Session>>>,
    channels: Semaphore,
    trips: AtomicU64,
}

impl SshHost {
    pub(super) async fn connect(connector: Arc<SshConnector>, node: &Node) -> Result<Self> {
        let root = connector.sudoers.root(&node.name, &node.ssh.sudo).await?;
        let session = connector.open(&node.name, &node.ssh).await?;
        Ok(Self {
            connector,
            name: node.name.clone(),
            target: node.ssh.clone(),
            root,
            control: Mutex::new(Some(Arc::new(session))),
            bulk: Mutex::new(None),
            channels: Semaphore::new(MAX_CHANNELS),
            trips: AtomicU64::new(0),
        })
    }

    async fn session(&self, slot: &Mutex<Option<Arc<Session>>>) -> Result<Arc<Session>> {
        let mut slot = slot.lock().await;
        if let Some(session) = slot.as_ref().filter(|s| !s.handle.is_closed()) {
            return Ok(Arc::clone(session));
        }
        let session = Arc::new(self.connector.open(&self.name, &self.target).await?);
        *slot = Some(Arc::clone(&session));
        Ok(session)
    }

    /// Runs a line as root. `shown` stands for it in errors.
    async fn root_line(
        &self,
        slot: &Mutex<Option<Arc<Session>>>,
        line: &str,
        shown: &str,
        stdin: impl AsyncRead + Unpin + Send,
        timeout: Duration,
        sent: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Output> {
        let _channel = self.channels.acquire().await.context(|| "the connection is closed".into())?;
        let session = self.session(slot).await?;
        self.trips.fetch_add(1, Ordering::Relaxed);
        let wrapped = self.root.wrap(&format!("env {ENVIRONMENT} {line}"));
        let output = exec(&session.handle, &wrapped, self.root.preamble(), stdin, timeout, sent).await;
        match output {
            Ok(output) => {
                if !output.ok()
                    && let Some(refusal) = self.root.refusal(&String::from_utf8_lossy(&output.stderr))
                {
                    return Err(refusal.on(&self.name));
                }
                Ok(output)
            }
            Err(Broken::NotStarted(e)) => Err(Error::unreachable("the connection broke before the command started")
                .on(&self.name)
                .command(FailedCommand::new(shown, "not started", ""))
                .source(e)),
            Err(Broken::TimedOut) => Err(Error::failed(format!("no end in {} s", timeout.as_secs()))
                .on(&self.name)
                .command(FailedCommand::new(shown, "timed out", ""))
                .hint("look at the load of the host; a command that runs as a unit goes on and is followed by the next run")),
        }
    }

    async fn script(&self, text: &str, args: &[&str], shown: &str, stdin: &[u8]) -> Result<Output> {
        let mut words = vec!["sh", "-c", text, "sh"];
        words.extend(args);
        let line = shell_line(&words);
        self.root_line(&self.control, &line, shown, stdin, crate::host::DEFAULT_TIMEOUT, &|_| {}).await
    }

    /// Follows a unit to its end over as many connections as it takes.
    async fn run_unit(&self, command: &Command, unit: &str) -> Result<Output> {
        let id = transient::new_id();
        let mut mode = transient::Mode::Start;
        let until = Instant::now() + command.timeout;
        let mut back_by = until.min(Instant::now() + CONNECT_FOR);
        loop {
            let line = transient::line(command, unit, &id, mode);
            let left = until.saturating_duration_since(Instant::now());
            let result =
                self.root_line(&self.control, &line, &command.line(), command.stdin.as_slice(), left, &|_| {}).await;
            match &result {
                Ok(output) if output.exit == ExitState::Lost => {
                    back_by = until.min(Instant::now() + RECONNECT_FOR);
                    mode = transient::Mode::Follow;
                }
                Err(error) if error.kind() == crate::error::Kind::Unreachable => {}
                _ => return result,
            }
            if Instant::now() + RECONNECT_PAUSE >= back_by {
                return result;
            }
            tokio::time::sleep(RECONNECT_PAUSE).await;
        }
    }

    fn no_space(&self, what: &str, output: &Output) -> Error {
        Error::failed(format!("no space left for {what}"))
            .on(&self.name)
            .command(FailedCommand::new(
                "cat > FILE",
                output.exit.to_string(),
                &String::from_utf8_lossy(&output.stderr),
            ))
            .hint("free some space on the host and run the same command again: it goes on with what is missing")
    }
}

#[async_trait]
impl Host for SshHost {
    fn name(&self) -> &str {
        &self.name
    }

    async fn probe(&self, probes: &[Probe]) -> Result<Vec<Answer>> {
        let text = script::render(probes);
        let shown = format!("{} read-only probes", probes.len());
        let mut tried_again = false;
        loop {
            let result = self.root_line(&self.control, "sh -s", &shown, text.as_bytes(), PROBE_TIMEOUT, &|_| {}).await;
            let lost = match &result {
                Ok(output) => output.exit == ExitState::Lost,
                Err(error) => error.kind() == crate::error::Kind::Unreachable,
            };
            // Looking twice harms nobody: one broken connection is opened again.
            if lost && !tried_again {
                tried_again = true;
                continue;
            }
            let output = result?.check(&self.name, &Command::new(["sh", "-s"]), "look at the host")?;
            return script::parse(probes, &output.text()).map_err(|e| e.on(&self.name));
        }
    }

    async fn run(&self, command: &Command) -> Result<Output> {
        if let Some(unit) = &command.unit {
            return self.run_unit(command, unit).await;
        }
        let words: Vec<String> = transient::env_words(command).into_iter().chain(command.argv.clone()).collect();
        let line = shell_line(&words);
        let stdin = command.stdin.as_slice();
        self.root_line(&self.control, &line, &command.line(), stdin, command.timeout, &|_| {}).await
    }

    async fn write_file(&self, file: &FileSpec) -> Result<()> {
        let digest = Digest::of(&file.content);
        let mode = format!("{:04o}", file.mode);
        let shown = format!("write {}", file.path);
        let output = self.script(WRITE_FILE, &[&file.path, &mode, digest.hex()], &shown, &file.content).await?;
        match output.exit {
            ExitState::Code(NO_SPACE) => Err(self.no_space(&file.path, &output)),
            ExitState::Code(WRONG_CONTENT) => {
                Err(Error::failed(format!("{} changed in flight", file.path)).on(&self.name))
            }
            _ => output.check(&self.name, &Command::new([shown]), &format!("write {}", file.path)).map(drop),
        }
    }

    async fn put_blob(
        &self,
        local: &Blob,
        digest: &Digest,
        size: u64,
        sent: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<()> {
        let content = local.read(0, size).await?;
        let words = ["sh", "-c", PUT_BLOB, "sh", NODE_BLOB_DIR, digest.hex(), &size.to_string()];
        let line = shell_line(&words);
        let shown = format!("put blob {}", digest.short());
        let timeout = Duration::from_secs(60 + size / SLOWEST_BYTES_PER_S);
        let output = self.root_line(&self.bulk, &line, &shown, content, timeout, sent).await?;
        match output.exit {
            ExitState::Code(NO_SPACE) => Err(self.no_space(&format!("a blob of {size} bytes"), &output)),
            ExitState::Code(WRONG_CONTENT) => {
                let here = crate::bundle::hash_blob(local).await?;
                let error = if here == *digest {
                    Error::invalid(format!("blob {digest} changed in flight"))
                        .hint("run the same command again; if it happens twice, suspect the link or the host's memory")
                } else {
                    Error::invalid(format!("blob {digest} is damaged in the bundle ({local} hashes to {here})"))
                        .hint("`provision bundle verify` tells what else is; copy the bundle again from its medium")
                };
                Err(error.on(&self.name))
            }
            _ => output.check(&self.name, &Command::new([shown]), "put a blob into the node's store").map(drop),
        }
    }

    fn round_trips(&self) -> u64 {
        self.trips.load(Ordering::Relaxed)
    }
}
