//! `provision certs renew`

use std::path::Path;
use std::process::ExitCode;

use super::args::Global;
use super::confirm;
use super::operation::Operation;
use super::survey::{connect, load};
use crate::error::{Error, Result};
use crate::exec::{Cancel, Lease, etcd};
use crate::facts::gather;
use crate::plan::with_how_to_sign;

pub(super) async fn renew(path: &Path, yes: bool, global: &Global) -> Result<ExitCode> {
    let inv = load(path)?;
    if inv.certificates.is_external() {
        return Err(with_how_to_sign(Error::refused(
            "somebody else keeps this cluster's CAs, so kubeadm can renew nothing",
        )));
    }
    if !yes {
        confirm(&inv.cluster.name)?;
    }
    let _lease = Lease::acquire(&inv.cluster.name, "certs renew")?;
    let hosts = connect(&inv.control_planes(), global).await?;
    let facts = gather(&inv, &hosts, global.concurrency).await?;
    for node in inv.control_planes() {
        if facts.hosts.get(&node.name).and_then(|h| h.state.claim.as_ref()) != Some(&inv.cluster.name) {
            return Err(Error::refused(format!("it is no control plane of cluster {}", inv.cluster.name))
                .on(node.name)
                .hint("`provision status` shows what it is"));
        }
    }
    let half = facts.hosts.values().find_map(|h| h.state.rotation.as_deref());
    if let Some(ca) = half {
        return Err(Error::refused(format!("the rotation of the CA {ca} was begun and is not done"))
            .hint(format!("`provision certs rotate-ca --ca {ca}` goes on with it; then renew")));
    }
    let cancel = Cancel::new();
    cancel.on_signals()?;
    let operation = Operation::begin("certs renew", inv.clone(), hosts, global)?;
    let renewed = etcd::renew(&operation.context, &cancel).await;
    operation.end(renewed)?;
    println!("the certificates of {} control planes are renewed and in use", inv.control_planes().len());
    eprintln!(
        "An admin kubeconfig fetched before holds the old certificate: `provision kubeconfig` fetches the new one."
    );
    Ok(ExitCode::SUCCESS)
}

fn confirm(cluster: &str) -> Result<()> {
    let question =
        format!("Renew the certificates of cluster {cluster} and restart one control plane after the other?");
    confirm::yes("certs renew", "restarts control planes", "`provision certs check`", &question)
}
