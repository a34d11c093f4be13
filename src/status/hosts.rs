//! One host of the inventory, as it stands.

use serde::Serialize;

use super::model::Seen;
use crate::inventory::{Node, Role};
use crate::kubeadm::{NodeObject, UPGRADING_TO, days_left};
use crate::plan::Drift;
use crate::resource::{ETCD_UNIT, Membership, control_plane_health, control_plane_probe, plain_version};

/// How a host is, from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// A member, Ready, and as the inventory says.
    Well,
    /// It does its work, and somebody should look at it.
    Attention,
    /// Nothing of the cluster is on it yet.
    Bare,
    /// It does not do its work, or nobody knows.
    Bad,
}

impl Health {
    /// As shown; never told by colour alone.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Attention => "attention",
            Self::Bare => "bare",
            Self::Bad => "bad",
        }
    }
}

/// A host of the inventory. Programs read it as JSON: fields are added, and neither renamed nor taken away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HostRow {
    /// Its name.
    pub name: String,
    /// Its address in the cluster.
    pub address: String,
    /// Its role.
    pub role: Role,
    /// Its pool.
    pub pool: Option<String>,
    /// `member`, `bare`, `unreachable`, `etcd` of a host that runs a member of etcd and nothing else, or `partial`, `down` or `foreign` and why.
    pub state: String,
    /// Whether its node object is Ready; `None` when there is none.
    pub ready: Option<bool>,
    /// The kubelet's version.
    pub kubelet: Option<String>,
    /// The kubelet is of another version than the inventory.
    pub skew: bool,
    /// `member` or `learner` of etcd.
    pub etcd: Option<&'static str>,
    /// It leads etcd.
    pub etcd_leader: bool,
    /// Pods are kept off it.
    pub cordoned: Option<bool>,
    /// The version that an upgrade which has not ended takes it to.
    pub upgrading_to: Option<String>,
    /// Components of its control plane that are not healthy, and what was seen of each.
    pub unhealthy: Vec<String>,
    /// Whole days until the first of its certificates ends.
    pub certificate_days: Option<i64>,
    /// How much of it is not as the inventory says and mended by no step.
    pub drift: usize,
    /// All of the above in a word.
    pub health: Health,
}

impl HostRow {
    /// What one may want to know beside its state: short words.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.state == "member" && self.ready == Some(false) {
            notes.push("not Ready".to_owned());
        }
        notes.extend(self.unhealthy.iter().cloned());
        if let Some(version) = &self.upgrading_to {
            notes.push(format!("upgrading to {version}"));
        } else if self.skew {
            notes.push("other version".to_owned());
        }
        if self.cordoned == Some(true) {
            notes.push("cordoned".to_owned());
        }
        if self.drift > 0 {
            notes.push(format!("{} found", self.drift));
        }
        notes
    }

    /// Its role as shown.
    #[must_use]
    pub fn role_name(&self) -> &'static str {
        match self.role {
            Role::ControlPlane => "control-plane",
            Role::Worker => "worker",
            Role::Both => "both",
            Role::Etcd => "etcd",
        }
    }
}

pub(super) fn row(seen: &Seen<'_>, node: &Node, drift: &[Drift], leader: Option<u64>) -> HostRow {
    let (inv, facts) = (seen.inv, seen.facts);
    let host = facts.hosts.get(&node.name);
    let membership = host.map(|_| facts.membership(inv, node));
    let member = facts.etcd.iter().flatten().find(|m| m.name == node.name);
    // A host of etcd alone is no member of anything that Kubernetes knows.
    let of_etcd = node.role == Role::Etcd && membership == Some(Membership::Absent) && member.is_some();
    let state = match &membership {
        None => "unreachable".to_owned(),
        Some(Membership::Absent) if of_etcd => "etcd".to_owned(),
        Some(Membership::Absent) => "bare".to_owned(),
        Some(Membership::Partial(why)) => format!("partial: {why}"),
        Some(Membership::Member) => "member".to_owned(),
        Some(Membership::Down(why)) => format!("down: {why}"),
        Some(Membership::Foreign(why)) => format!("foreign: {why}"),
    };
    let object = facts.nodes.iter().flatten().find(|n| n.name == node.name);
    let kubelet = object.map(|n| n.kubelet_version.clone());
    let wanted = inv.version_name();
    let skew = kubelet.as_ref().is_some_and(|k| !k.is_empty() && plain_version(k) != plain_version(&wanted));
    let mut row = HostRow {
        name: node.name.clone(),
        address: node.address.to_string(),
        role: node.role,
        pool: node.pool.clone(),
        state,
        ready: object.map(|n| n.ready),
        kubelet,
        skew,
        etcd: member.map(|m| if m.learner { "learner" } else { "member" }),
        etcd_leader: member.is_some_and(|m| Some(m.id) == leader),
        cordoned: object.map(|n| n.unschedulable),
        upgrading_to: object.and_then(upgrading),
        unhealthy: if of_etcd || membership == Some(Membership::Member) { unhealthy(seen, node) } else { Vec::new() },
        certificate_days: host
            .filter(|h| h.now_s != 0)
            .and_then(|h| h.certificates.all.iter().map(|c| days_left(c.not_after, h.now_s)).min()),
        drift: drift.iter().filter(|d| d.host == node.name).count(),
        health: Health::Bad,
    };
    row.health = match &membership {
        Some(Membership::Absent) if of_etcd && !row.unhealthy.is_empty() => Health::Bad,
        Some(Membership::Absent) if of_etcd => {
            if row.drift > 0 || row.etcd == Some("learner") {
                Health::Attention
            } else {
                Health::Well
            }
        }
        Some(Membership::Absent) => Health::Bare,
        Some(Membership::Member) if row.ready == Some(true) && row.unhealthy.is_empty() => {
            if row.skew || row.cordoned == Some(true) || row.upgrading_to.is_some() || row.drift > 0 {
                Health::Attention
            } else {
                Health::Well
            }
        }
        _ => Health::Bad,
    };
    row
}

fn upgrading(object: &NodeObject) -> Option<String> {
    object.marks.get(UPGRADING_TO).cloned()
}

fn unhealthy(seen: &Seen<'_>, node: &Node) -> Vec<String> {
    let unit = seen.facts.hosts.get(&node.name).and_then(|h| h.etcd.as_ref());
    let mut all: Vec<String> =
        unit.filter(|e| !e.active).map(|_| format!("{ETCD_UNIT} does not run")).into_iter().collect();
    if !node.role.is_control_plane() {
        return all;
    }
    let answer = seen.answers.get(&node.name).and_then(|a| a.get(&control_plane_probe(&node.address.to_string())));
    match answer.and_then(control_plane_health) {
        Some(health) => {
            all.extend(health.into_iter().filter(|(_, v)| v != "ok").map(|(k, v)| format!("{k}: {v}")));
        }
        None => all.push("its components do not tell how they are".to_owned()),
    }
    all
}
