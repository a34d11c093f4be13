//! Files, blocks in files, and what is installed from the content store.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::context::Context;
use crate::bundle::Digest;
use crate::error::{Error, Result};
use crate::exec::StepNote;
use crate::host::{Answer, Command, FileSpec, Probe};
use crate::plan::UnpackMember;
use crate::resource::{blob_path, with_block};

/// The longest that hashing and copying the largest blob may take.
const INSTALL_TIMEOUT: Duration = Duration::from_secs(300);

pub(in crate::exec) async fn write(ctx: &Context, host: &str, path: &str, content: &str, mode: u32) -> Result<()> {
    ctx.host(host)?.write_file(&FileSpec { path: path.into(), content: content.into(), mode }).await
}

pub(super) async fn remove(ctx: &Context, host: &str, path: &str) -> Result<()> {
    ctx.must(host, Command::new(["rm", "-f", "--", path]), &format!("remove {path}")).await.map(drop)
}

pub(super) async fn write_block(ctx: &Context, host: &str, path: &str, marker: &str, lines: &[String]) -> Result<()> {
    let (old, mode) = match ctx.ask(host, Probe::Content(path.into())).await? {
        Answer::File(file) => {
            let content =
                file.content.ok_or_else(|| Error::failed(format!("{path} is not a regular file")).on(host))?;
            let text = String::from_utf8(content)
                .map_err(|e| Error::failed(format!("{path} is not UTF-8 text; it is left alone")).on(host).source(e))?;
            (text, file.mode)
        }
        _ => (String::new(), 0o644),
    };
    write(ctx, host, path, &with_block(&old, marker, lines), mode).await
}

pub(super) async fn put_blob(
    ctx: &Context,
    host: &str,
    digest: &Digest,
    size: u64,
    notes: &(dyn Fn(StepNote) + Send + Sync),
) -> Result<()> {
    let done = AtomicU64::new(0);
    let sent = |bytes: u64| {
        let done = done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        notes(StepNote::Bytes { done, total: size });
    };
    ctx.host(host)?.put_blob(&(ctx.blob)(digest)?, digest, size, &sent).await
}

/// Checks that the blob `$1` (a path) has the sha256 `$2`; a damaged one is removed so that the next run sends it again.
pub(super) const CHECK: &str = concat!(
    include_str!("../../host/sha256.sh"),
    r#"check() { [ "$(sha256 "$1")" = "$2" ] || { rm -f -- "$1"; echo "blob $2 in the node's store is damaged or missing; it was removed" >&2; exit 65; }; }
"#
);

pub(super) async fn install(ctx: &Context, host: &str, digest: &Digest, path: &str, mode: u32) -> Result<()> {
    // A running binary cannot be written over, but it can be renamed over.
    let text = format!(
        "# apply:install\n{CHECK}check \"$1\" \"$2\"\nmkdir -p -- \"$(dirname -- \"$3\")\" && cp -- \"$1\" \"$3.provision-partial\" && \
         chown 0:0 -- \"$3.provision-partial\" && chmod \"$4\" -- \"$3.provision-partial\" && \
         sync -- \"$3.provision-partial\" && mv -f -- \"$3.provision-partial\" \"$3\"\n"
    );
    let mode = format!("{mode:04o}");
    let args = [&blob_path(digest), digest.hex(), path, mode.as_str()];
    ctx.script(host, "install", &text, &args, INSTALL_TIMEOUT, &format!("install {path}"))
        .await
        .map(drop)
        .map_err(|e| e.hint("run apply again: a damaged blob is sent anew; with no space left, free some first"))
}

pub(super) async fn unpack(ctx: &Context, host: &str, digest: &Digest, members: &[UnpackMember]) -> Result<()> {
    let text = format!(
        r#"# apply:unpack
{CHECK}b=$1; check "$b" "$2"; shift 2
t=$(mktemp -d /var/lib/provision/unpack.XXXXXX) || exit 1
trap 'rm -rf "$t"' EXIT
tar -xzf "$b" -m --no-same-owner -C "$t" || exit 1
while [ $# -gt 0 ]; do
    mkdir -p -- "$(dirname -- "$2")" && cp -- "$t/$1" "$2.provision-partial" && chown 0:0 -- "$2.provision-partial" &&
        chmod "$4" -- "$2.provision-partial" && sync -- "$2.provision-partial" && mv -f -- "$2.provision-partial" "$2" || exit 1
    shift 4
done
"#
    );
    let mut args = vec![blob_path(digest), digest.hex().to_owned()];
    for m in members {
        args.extend([m.member.clone(), m.path.clone(), m.digest.hex().to_owned(), format!("{:04o}", m.mode)]);
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    ctx.script(host, "unpack", &text, &args, INSTALL_TIMEOUT, "unpack an archive")
        .await
        .map(drop)
        .map_err(|e| e.hint("run apply again: a damaged blob is sent anew; with no space left, free some first"))
}
