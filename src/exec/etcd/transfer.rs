//! Large secret files from and to a host, a piece at a time: neither side ever holds more than a piece in memory, and
//! none of it is shown or recorded.

use std::io::Read;
use std::time::Duration;

use crate::error::{Context as _, Error, Result};
use crate::exec::Context;
use crate::host::{Command, Output};

/// How much one command carries, in MiB.
const PIECE_MIB: u64 = 16;
const PIECE: u64 = PIECE_MIB << 20;
/// A piece over the slowest link, 64 KiB/s, and a minute on top.
const PIECE_TIMEOUT: Duration = Duration::from_secs(60 + 256);

/// Reads `size` bytes of a file of the host, piece by piece into `take`.
pub async fn fetch(
    ctx: &Context,
    host: &str,
    path: &str,
    size: u64,
    mut take: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let mut done: u64 = 0;
    while done < size {
        let skip = format!("skip={}", done >> 20);
        let count = format!("count={PIECE_MIB}");
        let command = Command::new(["dd", &format!("if={path}"), "bs=1M", &skip, &count, "status=none"]);
        let output = ctx.run(host, &command.clone().timeout(PIECE_TIMEOUT)).await?;
        let piece = secret(output, host, &command, &format!("read {path}"))?;
        if piece.is_empty() || done + piece.len() as u64 > size {
            return Err(Error::failed(format!("{path} changed its size while it was read")).on(host));
        }
        done += piece.len() as u64;
        take(&piece)?;
    }
    Ok(())
}

/// Writes what `from` gives to a file of the host, for root alone. The caller checks its digest there.
pub async fn send(ctx: &Context, host: &str, path: &str, mut from: impl Read) -> Result<()> {
    const APPEND: &str = "# apply:append\numask 077\nif [ \"$2\" = first ]; then cat >\"$1\"; else cat >>\"$1\"; fi\n";
    let mut turn = "first";
    loop {
        let mut piece = Vec::new();
        let read = from.by_ref().take(PIECE).read_to_end(&mut piece);
        read.context(|| format!("failed to read what goes to {path}"))?;
        if piece.is_empty() && turn != "first" {
            return Ok(());
        }
        let command = Command::new(["sh", "-c", APPEND, "sh", path, turn]).stdin(piece).timeout(PIECE_TIMEOUT);
        let shown = Command::new(["append", path]);
        let output = ctx.run_shown(host, &command, &shown).await?;
        output.check(host, &shown, &format!("write {path}"))?;
        turn = "next";
    }
}

/// The output of a command that printed a secret: an error never shows any of it.
pub(super) fn secret(mut output: Output, host: &str, command: &Command, attempted: &str) -> Result<Vec<u8>> {
    let content = std::mem::take(&mut output.stdout);
    output.check(host, command, attempted)?;
    Ok(content)
}
