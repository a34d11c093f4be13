//! Both CAs with their keys on every control plane, and their end.

use std::collections::BTreeMap;
use std::time::Duration;

use time::OffsetDateTime;

use crate::error::Result;
use crate::exec::Context;
use crate::exec::apply::{Ca, write};
use crate::exec::etcd::step;
use crate::rotation::{Family, Seen};

pub(super) const GROUP: &str = "rotation";
const SHORT: Duration = Duration::from_secs(60);

/// The CA that comes, of a control plane that has it.
pub(super) async fn coming(ctx: &Context, family: Family, seen: &BTreeMap<String, Seen>) -> Result<Option<Ca>> {
    let dir = family.dir();
    match seen.iter().find(|(_, s)| s.staged.is_some()) {
        Some((host, _)) => {
            Ca::of_files(ctx, host, &format!("{dir}/new.crt"), &format!("{dir}/new.key")).await.map(Some)
        }
        None => Ok(None),
    }
}

/// A control plane gets both: the CA that signs now is kept beside itself, and the new one comes from a control plane that
/// has it, or is made. Its certificate comes last, so that what is cut off in between counts for nothing.
pub(super) async fn stage(ctx: &Context, family: Family, host: &str, seen: &BTreeMap<String, Seen>) -> Result<()> {
    let dir = family.dir();
    let work = async {
        let ca = match coming(ctx, family, seen).await? {
            Some(ca) => ca,
            // Another name than the old one's: some libraries look for a CA by its name alone.
            None => Ca::new(&format!("{}-ca {}", family.name(), OffsetDateTime::now_utc().date()))?,
        };
        let args = [dir.as_str(), family.cert(), family.key()];
        let text = include_str!("keep.sh");
        ctx.script(host, "rotation-keep", text, &args, SHORT, "keep the CA beside itself").await?;
        ca.put_key(ctx, host, &format!("{dir}/new.key")).await?;
        write(ctx, host, &format!("{dir}/new.crt"), &ca.cert, 0o644).await
    };
    step(ctx, GROUP, host, &format!("keep the {} CA, and the one that is to come", family.name()), work).await
}

/// The node forgets the rotation, the old CA's key with it.
pub(super) async fn clean(ctx: &Context, family: Family, host: &str) -> Result<()> {
    let argv = ["rm", "-rf", "--", &family.dir()].map(str::to_owned);
    let removed = ctx.must(host, crate::host::Command::new(argv), "remove what was kept of the rotation");
    step(ctx, GROUP, host, &format!("forget the old {} CA", family.name()), async { removed.await.map(drop) }).await
}
