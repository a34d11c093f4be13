//! Programs of the operator's machine.

use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::error::{Context as _, Error, FailedCommand, Result};

/// Runs a program to its end and returns its standard output; `attempted` completes "failed to".
pub(super) async fn run(argv: &[&str], stdin: &str, attempted: &str) -> Result<String> {
    let line = argv.join(" ");
    let (program, args) = argv.split_first().ok_or_else(|| Error::failed("an empty command"))?;
    let starting = || format!("failed to {attempted}: failed to start {program}");
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context(starting)?;
    if let Some(mut input) = child.stdin.take() {
        // A program that does not read its input says on its own what it lacks.
        let _ = input.write_all(stdin.as_bytes()).await;
    }
    let output = child.wait_with_output().await.context(starting)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    Err(Error::failed(format!("failed to {attempted}")).command(FailedCommand::new(
        line,
        output.status.to_string(),
        &stderr,
    )))
}
