//! The machine that the program runs on, for what it does there by itself: it looks and runs commands, no more.

use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use tokio::io::AsyncWriteExt as _;

use super::{Answer, Command, ExitState, FileSpec, Host, Output, Probe, script};
use crate::bundle::{Blob, Digest};
use crate::error::{Context as _, Error, FailedCommand, Result};

/// This machine as a node of the inventory. Run it as root.
pub struct LocalHost {
    name: String,
    calls: AtomicU64,
}

impl LocalHost {
    /// This machine, whose node is called `name`.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), calls: AtomicU64::new(0) }
    }

    fn refused(&self, what: &str) -> Error {
        Error::refused(format!("a program on the node itself does not {what}")).on(&self.name)
    }
}

#[async_trait]
impl Host for LocalHost {
    fn name(&self) -> &str {
        &self.name
    }

    async fn probe(&self, probes: &[Probe]) -> Result<Vec<Answer>> {
        let command = Command::new(["sh", "-s"]).stdin(script::render(probes));
        let output = self.run(&command).await?.check(&self.name, &command, "look at the host")?;
        script::parse(probes, &output.text()).map_err(|e| e.on(&self.name))
    }

    async fn run(&self, command: &Command) -> Result<Output> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let attempted = || format!("failed to run {}", command.line());
        let (program, args) = command.argv.split_first().ok_or_else(|| Error::failed("there is no command to run"))?;
        let mut child = tokio::process::Command::new(program)
            .args(args)
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C")
            .envs(command.env.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context(attempted)?;
        let mut stdin = child.stdin.take();
        let feed = async {
            if let Some(mut stdin) = stdin.take() {
                // One that ends without reading all of it says itself whether that was wrong.
                let _ = stdin.write_all(&command.stdin).await;
            }
        };
        let ended = tokio::time::timeout(command.timeout, async { tokio::join!(feed, child.wait_with_output()).1 });
        let Ok(output) = ended.await else {
            return Err(Error::failed(format!("no end in {} s", command.timeout.as_secs()))
                .on(&self.name)
                .command(FailedCommand::new(command.line(), "timed out", "")));
        };
        let output = output.context(attempted)?;
        let exit = match output.status.code().and_then(|code| u32::try_from(code).ok()) {
            Some(code) => ExitState::Code(code),
            None => ExitState::Signal(output.status.to_string()),
        };
        Ok(Output { exit, stdout: output.stdout, stderr: output.stderr })
    }

    async fn write_file(&self, file: &FileSpec) -> Result<()> {
        Err(self.refused(&format!("write {}", file.path)))
    }

    async fn put_blob(&self, _: &Blob, digest: &Digest, _: u64, _: &(dyn Fn(u64) + Send + Sync)) -> Result<()> {
        Err(self.refused(&format!("take the blob {digest}")))
    }

    fn round_trips(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }
}
