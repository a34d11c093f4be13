//! `provision kubeconfig`

use std::path::Path;
use std::process::ExitCode;

use super::args::Global;
use super::survey::{connect_some, load};
use crate::error::{Error, Result};
use crate::exec::write_private;
use crate::facts;
use crate::inventory::Inventory;

/// Fetches an administrator's kubeconfig from the first control plane whose API server is ready.
pub(super) async fn kubeconfig(path: &Path, out: &Path, global: &Global) -> Result<ExitCode> {
    let inv = load(path)?;
    let text = fetch(&inv, global).await?;
    if out.as_os_str() == "-" {
        print!("{text}");
        return Ok(ExitCode::SUCCESS);
    }
    write_private(out, text.as_bytes())?;
    eprintln!("wrote {}", out.display());
    Ok(ExitCode::SUCCESS)
}

/// The kubeconfig's text; a secret.
pub(super) async fn fetch(inv: &Inventory, global: &Global) -> Result<String> {
    let (hosts, mut errors) = connect_some(&inv.control_planes(), global).await;
    match facts::kubeconfig(inv, &hosts).await? {
        Some(text) => Ok(text),
        None => Err(errors
            .pop()
            .unwrap_or_else(|| Error::failed("no control plane has an admin.conf"))
            .hint("`provision status` shows which control planes answer")),
    }
}
