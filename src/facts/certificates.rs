//! Looks at the certificates of all hosts, one round trip each.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt as _;

use crate::error::{Error, Result};
use crate::host::{Answer, Host};
use crate::inventory::{EtcdMode, Inventory};
use crate::kubeadm::{Certificate, certificates};
use crate::resource::{ETCD_DIR, certs_probe};

/// The certificates of each of these hosts, in the order of their names. A host that has none, or one that cannot be
/// read, is an error of its own; the others are told all the same.
pub async fn gather_certificates(
    inv: &Inventory,
    hosts: &BTreeMap<String, Arc<dyn Host>>,
    concurrency: usize,
) -> BTreeMap<String, Result<Vec<Certificate>>> {
    let control_planes: Vec<String> = inv.control_planes().into_iter().map(|n| n.name).collect();
    let access = inv.etcd_access();
    let of_clients: Vec<&str> = match inv.etcd.mode {
        EtcdMode::Stacked => Vec::new(),
        EtcdMode::External => vec![&access.ca_file, &access.cert_file],
    };
    let of_members = ["ca", "server", "peer"].map(|name| format!("{ETCD_DIR}/{name}.crt"));
    let asked = hosts.iter().map(|(name, host)| {
        let mut more: Vec<&str> = if control_planes.contains(name) { of_clients.clone() } else { Vec::new() };
        if inv.etcd.runs_on(name) {
            more.extend(of_members.iter().map(String::as_str));
        }
        async move { (name.clone(), ask(&**host, &more).await.map_err(|e| e.on(name))) }
    });
    futures::stream::iter(asked).buffer_unordered(concurrency.max(1)).collect().await
}

async fn ask(host: &dyn Host, more: &[&str]) -> Result<Vec<Certificate>> {
    let found = match host.probe(&[certs_probe(more)]).await?.pop() {
        Some(Answer::Shell { code: 0, stdout, .. }) => certificates(&stdout)?,
        Some(Answer::Shell { stderr, .. }) => {
            return Err(Error::failed(format!("failed to look for certificates: {}", stderr.trim())));
        }
        _ => return Err(Error::failed("the host gave no answer")),
    };
    if found.is_empty() {
        return Err(Error::failed("there is no certificate of Kubernetes on it").hint(
            "`provision status` shows which hosts are members; a host that shall not be one goes out of the inventory",
        ));
    }
    Ok(found)
}
