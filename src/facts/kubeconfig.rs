//! An administrator's kubeconfig, read from the control planes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::error::Result;
use crate::host::{Answer, Host, Probe};
use crate::inventory::{EndpointMode, Inventory, Node};
use crate::kubeadm::{API_PORT, ApiServer, admin_kubeconfig};
use crate::resource::{control_plane_health, control_plane_probe};

const ADMIN_CONF: &str = "/etc/kubernetes/admin.conf";

/// The text of an administrator's kubeconfig, a secret, from the first of `hosts` that has one; `None` when none has. It
/// leads to the cluster's endpoint. In mode "haproxy" the endpoint answers on the nodes alone: the kubeconfig leads to the
/// first control plane whose API server is ready then, and has a context for each of them.
///
/// Errors: a host was lost, or its `admin.conf` is damaged.
pub async fn kubeconfig(inv: &Inventory, hosts: &BTreeMap<String, Arc<dyn Host>>) -> Result<Option<String>> {
    let planes = inv.control_planes();
    let authority = |node: &Node| SocketAddr::new(node.address, API_PORT).to_string();
    let mut found: Option<(String, &Node)> = None;
    for node in &planes {
        let Some(host) = hosts.get(&node.name) else { continue };
        let asked = [Probe::Content(ADMIN_CONF.into()), control_plane_probe(&node.address.to_string())];
        let answers = host.probe(&asked).await?;
        let [Answer::File(file), health] = answers.as_slice() else { continue };
        let ready = control_plane_health(health)
            .is_some_and(|all| all.iter().any(|(component, state)| component == "kube-apiserver" && state == "ok"));
        let admin = String::from_utf8_lossy(file.content.as_deref().unwrap_or_default()).into_owned();
        if ready {
            found = Some((admin, node));
            break;
        }
        found = found.or(Some((admin, node)));
    }
    let Some((admin, node)) = found else { return Ok(None) };
    if inv.endpoint.mode != EndpointMode::Haproxy {
        return admin_kubeconfig(&admin, &inv.cluster.name, &inv.api_endpoint().authority(), &[]).map(Some);
    }
    let others = planes.iter().filter(|_| planes.len() > 1);
    let others: Vec<ApiServer> = others.map(|n| ApiServer { node: n.name.clone(), authority: authority(n) }).collect();
    admin_kubeconfig(&admin, &inv.cluster.name, &authority(node), &others).map(Some)
}
