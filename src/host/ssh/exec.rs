//! One command over one channel.

use std::time::Duration;

use russh::ChannelMsg;
use russh::client::Handle;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};

use super::trust::Verifier;
use crate::host::{ExitState, Output};

/// Output that no command of ours comes near; more is a runaway.
const MAX_OUTPUT: usize = 256 * 1024 * 1024;
/// The size of one write to a channel, in bytes.
const CHUNK: usize = 256 * 1024;

/// Why no output came at all.
#[derive(Debug)]
pub(super) enum Broken {
    /// The connection could not carry the command: it did not start.
    NotStarted(russh::Error),
    /// It took longer than it may; it may still run.
    TimedOut,
}

/// Runs `line`, feeding it `preamble` and then `stdin`, and reads until the channel is closed. No exit status by then
/// means [`ExitState::Lost`].
pub(super) async fn exec(
    session: &Handle<Verifier>,
    line: &str,
    preamble: Vec<u8>,
    mut stdin: impl AsyncRead + Unpin + Send,
    timeout: Duration,
    sent: &(dyn Fn(u64) + Send + Sync),
) -> Result<Output, Broken> {
    let work = async {
        let channel = session.channel_open_session().await.map_err(Broken::NotStarted)?;
        channel.exec(true, line).await.map_err(Broken::NotStarted)?;
        let (mut read, write) = channel.split();
        let feed = async {
            let mut writer = write.make_writer();
            let mut buffer = vec![0; CHUNK];
            // A command may end without reading all its input; what it printed says why.
            if writer.write_all(&preamble).await.is_err() {
                return;
            }
            while let Ok(n @ 1..) = stdin.read(&mut buffer).await {
                if writer.write_all(&buffer[..n]).await.is_err() {
                    return;
                }
                sent(n as u64);
            }
            let _ = writer.shutdown().await;
            let _ = write.eof().await;
        };
        let collect = async {
            let mut output = Output { exit: ExitState::Lost, stdout: Vec::new(), stderr: Vec::new() };
            while let Some(message) = read.wait().await {
                match message {
                    ChannelMsg::Data { data } if output.stdout.len() < MAX_OUTPUT => output.stdout.extend(&data[..]),
                    ChannelMsg::ExtendedData { data, .. } if output.stderr.len() < MAX_OUTPUT => {
                        output.stderr.extend(&data[..]);
                    }
                    ChannelMsg::ExitStatus { exit_status } => output.exit = ExitState::Code(exit_status),
                    ChannelMsg::ExitSignal { signal_name, .. } => {
                        output.exit = ExitState::Signal(format!("{signal_name:?}"));
                    }
                    // Eof and the status may come in either order: only the closed channel ends it.
                    _ => {}
                }
            }
            output
        };
        // The feeder can wait for ever on a command that does not read; the output's end ends both.
        tokio::pin!(feed, collect);
        let mut fed = false;
        loop {
            tokio::select! {
                output = &mut collect => return Ok(output),
                () = &mut feed, if !fed => fed = true,
            }
        }
    };
    tokio::time::timeout(timeout, work).await.unwrap_or(Err(Broken::TimedOut))
}
