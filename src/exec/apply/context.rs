//! What the mutations act with.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::bundle::{Blob, Digest};
use crate::error::{Error, Result};
use crate::exec::{Event, Sink};
use crate::host::{Answer, Command, Host, Output, Probe};
use crate::inventory::Inventory;

/// Finds a blob on the operator's machine.
pub type BlobSource = Box<dyn Fn(&Digest) -> Result<Blob> + Send + Sync>;

/// All that mutations act with.
pub struct Context {
    /// The connected hosts by name.
    pub hosts: BTreeMap<String, Arc<dyn Host>>,
    /// Where a blob lies on the operator's machine.
    pub blob: BlobSource,
    /// The inventory.
    pub inventory: Arc<Inventory>,
    /// Takes the record of every remote command.
    pub sink: Arc<dyn Sink>,
}

impl Context {
    /// The host of this name.
    pub(in crate::exec) fn host(&self, name: &str) -> Result<&Arc<dyn Host>> {
        self.hosts.get(name).ok_or_else(|| Error::failed(format!("the plan names host {name}, which is not connected")))
    }

    /// Runs a command and records it. A command that ran and failed is `Ok`.
    pub(in crate::exec) async fn run(&self, host: &str, command: &Command) -> Result<Output> {
        let result = self.host(host)?.run(command).await;
        let ended = match &result {
            Ok(output) => output.exit.to_string(),
            Err(error) => error.to_string(),
        };
        self.sink.event(&Event::Command { host: host.to_owned(), line: command.line(), ended });
        result
    }

    /// Runs a command that has to succeed; `attempted` completes "failed to".
    pub(in crate::exec) async fn must(&self, host: &str, command: Command, attempted: &str) -> Result<Output> {
        self.run(host, &command).await?.check(host, &command, attempted)
    }

    /// Runs a constant shell script with positional arguments, which has to succeed.
    pub(in crate::exec) async fn script(
        &self,
        host: &str,
        name: &str,
        text: &str,
        args: &[&str],
        timeout: Duration,
        attempted: &str,
    ) -> Result<Output> {
        let command = script_command(text, args).timeout(timeout);
        let shown = Command::new(std::iter::once(name).chain(args.iter().copied()));
        self.run_shown(host, &command, &shown).await?.check(host, &shown, attempted)
    }

    /// Runs a command that is recorded as `shown`. One that ran and failed is `Ok`.
    pub(in crate::exec) async fn run_shown(&self, host: &str, command: &Command, shown: &Command) -> Result<Output> {
        let output = self.host(host)?.run(command).await;
        let ended = output.as_ref().map_or_else(ToString::to_string, |o| o.exit.to_string());
        self.sink.event(&Event::Command { host: host.to_owned(), line: shown.line(), ended });
        output
    }

    /// Asks one question.
    pub(in crate::exec) async fn ask(&self, host: &str, probe: Probe) -> Result<Answer> {
        let mut answers = self.host(host)?.probe(&[probe]).await?;
        answers.pop().ok_or_else(|| Error::failed("the host gave no answer").on(host))
    }
}

/// `sh -c TEXT sh ARGS...`
pub(in crate::exec) fn script_command(text: &str, args: &[&str]) -> Command {
    Command::new(["sh", "-c", text, "sh"].into_iter().chain(args.iter().copied()))
}
