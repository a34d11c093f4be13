//! Certificates that somebody else signed.

use std::time::Duration;

use super::context::Context;
use crate::error::Result;
use crate::kubeadm::Placed;
use crate::resource::{NODE_KEYS, place_words};

const TIMEOUT: Duration = Duration::from_secs(60);

/// Puts what the node holds to where Kubernetes finds it.
pub(in crate::exec) async fn place(ctx: &Context, host: &str, placed: &[Placed]) -> Result<()> {
    const TEXT: &str = concat!("# apply:place-certificates\n", include_str!("../../resource/place_certificates.sh"));
    let words = place_words(placed);
    let args: Vec<&str> = ["place", NODE_KEYS].into_iter().chain(words.iter().map(String::as_str)).collect();
    ctx.script(host, "place-certificates", TEXT, &args, TIMEOUT, "put the certificates into place").await.map(drop)
}
