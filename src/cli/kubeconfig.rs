//! `provision kubeconfig`

use std::path::Path;
use std::process::ExitCode;

use super::args::Global;
use super::survey::{connect_some, load};
use crate::error::{Error, Result};
use crate::exec::write_private;
use crate::host::{Answer, Probe};
use crate::inventory::{EndpointMode, Inventory};
use crate::kubeadm::{API_PORT, kubeconfig_with_server};

/// Fetches an admin kubeconfig from the first control plane that answers.
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
    for node in inv.control_planes() {
        let Some(host) = hosts.get(&node.name) else { continue };
        let answers = host.probe(&[Probe::Content("/etc/kubernetes/admin.conf".into())]).await?;
        if let Some(Answer::File(file)) = answers.first() {
            let admin = String::from_utf8_lossy(file.content.as_deref().unwrap_or_default()).into_owned();
            // The haproxy endpoint's name means "myself" on every node: from outside, a control plane is named.
            let server = match inv.endpoint.mode {
                EndpointMode::Haproxy => std::net::SocketAddr::new(node.address, API_PORT).to_string(),
                _ => inv.api_endpoint().authority(),
            };
            return kubeconfig_with_server(&admin, &format!("https://{server}"), &inv.cluster.name);
        }
    }
    Err(errors
        .pop()
        .unwrap_or_else(|| Error::failed("no control plane has an admin.conf"))
        .hint("`provision status` shows what stands"))
}
