//! What has to be known of a cluster before nodes leave it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::gather::{gather, observe};
use crate::error::{Error, Result};
use crate::host::{Answer, Host, Probe};
use crate::inventory::{EtcdMode, Inventory};
use crate::kubeadm::{self, Members, NodeObject};
use crate::resource::{etcd_probe, nodes_probe, shell_probe};

/// What is known of the cluster that nodes leave.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// The control plane that answers and stays.
    pub voice: String,
    /// Its nodes.
    pub nodes: Vec<NodeObject>,
    /// etcd's members; `None` when etcd is not on the control planes.
    pub members: Option<Members>,
    /// Of those that leave, the hosts that answer.
    pub answering: BTreeSet<String>,
    /// Of those that leave, the nodes whose kubelet answers. A node counts as Ready for a while after its host died.
    pub kubelets: BTreeSet<String>,
}

impl Standing {
    /// Whether the inventory or the cluster knows a node of this name.
    #[must_use]
    pub fn knows(&self, inv: &Inventory, name: &str) -> bool {
        inv.hosts.iter().any(|h| h.name == name) || self.has(name)
    }

    /// Whether something of a node of this name is in the cluster.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.nodes.iter().any(|n| n.name == name) || self.members.as_ref().is_some_and(|m| m.of(name, None).is_some())
    }

    /// Whether the cluster has a control plane of this name, alive or not.
    #[must_use]
    pub fn has_control_plane(&self, name: &str) -> bool {
        self.nodes.iter().any(|n| n.name == name && n.is_control_plane())
            || self.members.as_ref().is_some_and(|m| m.of(name, None).is_some())
    }
}

/// Asks the control planes of `stay` about the cluster and about those that leave. The first whose API and etcd answer
/// speaks for it; `None` when no API answers.
///
/// Errors (`Refused`): the API answers, and etcd nowhere.
pub async fn standing(
    stay: &Inventory,
    hosts: &BTreeMap<String, Arc<dyn Host>>,
    leaving: &[String],
    concurrency: usize,
) -> Result<Option<Standing>> {
    let facts = gather(stay, hosts, concurrency).await?;
    let stacked = stay.etcd.mode == EtcdMode::Stacked;
    let kubelet = |name: &String| shell_probe("kubelet", &[name]);
    let asked: Vec<Probe> = [nodes_probe(), etcd_probe()].into_iter().chain(leaving.iter().map(kubelet)).collect();
    let ours = |name: &String| {
        facts.hosts.get(name).is_some_and(|h| h.state.admin_conf && h.state.claim.as_ref() == Some(&stay.cluster.name))
    };
    let planes: Vec<String> = stay.control_planes().into_iter().map(|n| n.name).filter(ours).collect();
    let questions = planes.iter().map(|name| (name.clone(), asked.clone())).collect();
    let answers = observe(hosts, &questions, concurrency).await?;
    let said = |host: &String, probe: &Probe| match answers.get(host).and_then(|a| a.get(probe)) {
        Some(Answer::Shell { code: 0, stdout, .. }) => Some(stdout.as_str()),
        _ => None,
    };
    let mut without_etcd = None;
    for voice in planes {
        let Some(nodes) = said(&voice, &nodes_probe()).and_then(|text| kubeadm::nodes(text).ok()) else { continue };
        let members = said(&voice, &etcd_probe()).and_then(|text| Members::read(text).ok()).filter(|_| stacked);
        if stacked && members.is_none() {
            without_etcd = Some(voice);
            continue;
        }
        let kubelets = leaving.iter().filter(|n| said(&voice, &kubelet(n)).is_some()).cloned().collect();
        let answering = leaving.iter().filter(|n| hosts.contains_key(*n)).cloned().collect();
        return Ok(Some(Standing { voice, nodes, members, answering, kubelets }));
    }
    without_etcd.map_or(Ok(None), |host| {
        Err(Error::refused("etcd does not answer, so nobody can tell whether it can do without a member")
            .on(host)
            .hint("mend it first: `provision status`, `journalctl -u kubelet`"))
    })
}
