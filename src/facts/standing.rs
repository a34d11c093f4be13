//! What has to be known of a cluster before nodes leave it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::gather::{gather, observe};
use crate::error::{Error, Result};
use crate::host::{Answer, Host, Probe};
use crate::inventory::{EtcdMode, Inventory};
use crate::kubeadm::{Members, NodeObject};
use crate::resource::{etcd_probe, shell_probe};

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
        self.nodes.iter().any(|n| n.name == name)
            || self.members.as_ref().is_some_and(|m| m.of(name, None).is_some())
    }

    /// Whether the cluster has a control plane of this name, alive or not.
    #[must_use]
    pub fn has_control_plane(&self, name: &str) -> bool {
        self.nodes.iter().any(|n| n.name == name && n.is_control_plane())
            || self.members.as_ref().is_some_and(|m| m.of(name, None).is_some())
    }
}

/// Asks the first control plane of `stay` that answers about the cluster and about those that leave. `None` when none
/// of them answers.
pub async fn standing(
    stay: &Inventory,
    hosts: &BTreeMap<String, Arc<dyn Host>>,
    leaving: &[String],
    concurrency: usize,
) -> Result<Option<Standing>> {
    let facts = gather(stay, hosts, concurrency).await?;
    let (Some(voice), Some(nodes)) = (facts.voice, facts.nodes) else { return Ok(None) };
    let kubelet = |name: &String| shell_probe("kubelet", &[name]);
    let asked: Vec<Probe> = std::iter::once(etcd_probe()).chain(leaving.iter().map(kubelet)).collect();
    let answers = observe(hosts, &[(voice.clone(), asked)].into(), concurrency).await?;
    let said = |probe: &Probe| match answers.get(&voice).and_then(|a| a.get(probe)) {
        Some(Answer::Shell { code: 0, stdout, .. }) => Some(stdout.as_str()),
        _ => None,
    };
    let members = if stay.etcd.mode == EtcdMode::Stacked {
        let text = said(&etcd_probe()).ok_or_else(|| {
            Error::refused("etcd does not answer, so nobody can tell whether it can do without a member")
                .on(&voice)
                .hint("mend it first: `provision status`, `journalctl -u kubelet`")
        })?;
        Some(Members::read(text).map_err(|e| e.on(&voice))?)
    } else {
        None
    };
    let kubelets = leaving.iter().filter(|n| said(&kubelet(n)).is_some()).cloned().collect();
    let answering = leaving.iter().filter(|n| hosts.contains_key(*n)).cloned().collect();
    Ok(Some(Standing { voice, nodes, members, answering, kubelets }))
}
