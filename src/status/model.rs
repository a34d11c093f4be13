//! The whole of a status as data.

use serde::Serialize;

use super::hosts::{Health, HostRow, row};
use crate::facts::Facts;
use crate::inventory::{Inventory, Role};
use crate::kubeadm::days_left;
use crate::plan::{Drift, Observations, drift};
use crate::resource::{cluster_status, cluster_status_probe};

/// What a status is made from.
pub struct Seen<'a> {
    /// The inventory.
    pub inv: &'a Inventory,
    /// What the hosts that were reached told.
    pub facts: &'a Facts,
    /// The answers to the cluster-status probe of the control plane that speaks, and to the control-plane probe of each.
    pub answers: &'a Observations,
    /// What could not be reached or asked, and why.
    pub errors: Vec<String>,
    /// The digest of the inventory as resolved, as in a plan.
    pub inventory: String,
    /// The last operation that the operator's machine has a journal of.
    pub last: Option<LastOperation>,
    /// When this was seen, RFC 3339 in UTC.
    pub checked_at: String,
}

/// A cluster at one look. Programs read it as JSON: fields are added, and neither renamed nor taken away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The cluster's name.
    pub cluster: String,
    /// Every host was reached, is a member, and is Ready; or its member of etcd runs, where it has nothing else. `status` ends with 1 when not.
    pub well: bool,
    /// When this was seen, RFC 3339 in UTC.
    pub checked_at: String,
    /// The version that the inventory asks for, like `v1.36.2`.
    pub version: String,
    /// The digest of the inventory, as in a plan made from it.
    pub inventory: String,
    /// The API's endpoint, `host:port`.
    pub endpoint: String,
    /// What the API behind the endpoint answered: `ok` is healthy; `None` when nobody could ask.
    pub endpoint_health: Option<String>,
    /// The control plane that spoke for the cluster.
    pub answers: Option<String>,
    /// etcd, where a control plane could tell.
    pub etcd: Option<Etcd>,
    /// The certificate that ends first.
    pub certificate: Option<LeastCertificate>,
    /// The last operation that the operator's machine has a journal of.
    pub last_operation: Option<LastOperation>,
    /// The hosts, in the inventory's order.
    pub hosts: Vec<HostRow>,
    /// Nodes of the cluster that are no hosts of the inventory.
    pub not_in_inventory: Vec<String>,
    /// What is not as the inventory says and what no step of a plan would mend.
    pub drift: Vec<Drift>,
    /// What could not be reached or asked, and why.
    pub errors: Vec<String>,
}

/// etcd as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Etcd {
    /// Members that vote.
    pub voters: usize,
    /// Members that do not vote yet.
    pub learners: usize,
    /// Voters that answered.
    pub answering: usize,
    /// How many voters must answer for etcd to take writes.
    pub quorum: usize,
    /// The leader's name.
    pub leader: Option<String>,
    /// The oldest version among the members.
    pub version: Option<String>,
    /// The size of the largest member's database in bytes.
    pub db_bytes: Option<u64>,
}

/// The certificate that ends first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeastCertificate {
    /// The host it is on.
    pub host: String,
    /// The file it is in.
    pub path: String,
    /// Whole days until it ends, by the host's clock; below zero once it has.
    pub days_left: i64,
}

/// An operation that has a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LastOperation {
    /// Its id.
    pub operation: String,
    /// `apply`, `reset` ...
    pub command: String,
    /// Who ran it.
    pub user: String,
    /// On which machine.
    pub host: String,
    /// When it began, RFC 3339 in UTC.
    pub started: String,
    /// Whether it ended well; `None` when its end is not recorded.
    pub ok: Option<bool>,
    /// The error it ended with.
    pub error: Option<String>,
}

impl Status {
    /// Puts together what was seen.
    #[must_use]
    pub fn new(seen: Seen<'_>) -> Self {
        let (inv, facts) = (seen.inv, seen.facts);
        let drift = drift(inv, facts);
        let told = facts.voice.as_ref().and_then(|v| seen.answers.get(v)?.get(&cluster_status_probe()));
        let (endpoint_health, members) = told.map(cluster_status).unwrap_or_default();
        let leader = members.iter().map(|m| m.leader).find(|id| *id != 0);
        let hosts: Vec<HostRow> = inv.machines().iter().map(|node| row(&seen, node, &drift, leader)).collect();
        let etcd = facts.etcd.as_ref().map(|all| {
            let voters: Vec<_> = all.iter().filter(|m| !m.learner).collect();
            Etcd {
                voters: voters.len(),
                learners: all.len() - voters.len(),
                answering: voters.iter().filter(|v| members.iter().any(|m| m.id == v.id)).count(),
                quorum: voters.len() / 2 + 1,
                leader: all.iter().find(|m| Some(m.id) == leader).map(|m| m.name.clone()),
                version: members.iter().map(|m| m.version.clone()).min(),
                db_bytes: members.iter().map(|m| m.db_bytes).max(),
            }
        });
        let certificate = facts
            .hosts
            .iter()
            .filter(|(_, h)| h.now_s != 0)
            .flat_map(|(name, h)| h.certificates.all.iter().map(move |c| (days_left(c.not_after, h.now_s), name, c)))
            .min_by_key(|(days, ..)| *days)
            .map(|(days_left, host, c)| LeastCertificate { host: host.clone(), path: c.path.clone(), days_left });
        let known = |name: &str| inv.hosts.iter().any(|h| h.name == name);
        let not_in_inventory = facts.nodes.iter().flatten().map(|n| n.name.clone()).filter(|n| !known(n)).collect();
        let as_wanted = |h: &HostRow| match h.role {
            Role::Etcd => h.state == "etcd" && h.unhealthy.is_empty(),
            _ => h.state == "member" && h.ready == Some(true),
        };
        Self {
            cluster: inv.cluster.name.clone(),
            well: seen.errors.is_empty() && facts.voice.is_some() && hosts.iter().all(as_wanted),
            checked_at: seen.checked_at,
            version: inv.version_name(),
            inventory: seen.inventory,
            endpoint: inv.api_endpoint().authority(),
            endpoint_health,
            answers: facts.voice.clone(),
            etcd,
            certificate,
            last_operation: seen.last,
            hosts,
            not_in_inventory,
            drift,
            errors: seen.errors,
        }
    }

    /// The worst of it in one word: `bad` when [`Status::well`] is not so.
    #[must_use]
    pub fn health(&self) -> Health {
        let api = self.endpoint_health.as_deref() == Some("ok");
        let etcd = self.etcd.as_ref().is_none_or(|e| e.answering == e.voters && e.learners == 0);
        if !self.well || self.hosts.iter().any(|h| h.health == Health::Bad) {
            Health::Bad
        } else if !api || !etcd || !self.drift.is_empty() || self.hosts.iter().any(|h| h.health != Health::Well) {
            Health::Attention
        } else {
            Health::Well
        }
    }

    pub(super) fn api_words(&self) -> String {
        match (self.endpoint_health.as_deref(), &self.answers) {
            (Some("ok"), _) => format!("{} answers", self.endpoint),
            (Some(other), _) => format!("{} does not answer: {other}", self.endpoint),
            (None, Some(_)) => format!("{}, not asked", self.endpoint),
            (None, None) => format!("{}: no control plane answers", self.endpoint),
        }
    }

    /// How many kubelets are of which version, the inventory's first.
    pub(super) fn version_words(&self) -> String {
        let mut others: std::collections::BTreeMap<&str, usize> = std::collections::BTreeMap::new();
        for host in self.hosts.iter().filter(|h| h.skew) {
            *others.entry(host.kubelet.as_deref().unwrap_or_default()).or_default() += 1;
        }
        let of = self.hosts.iter().filter(|h| h.kubelet.is_some() && !h.skew).count();
        let nodes = self.hosts.iter().filter(|h| h.role != Role::Etcd).count();
        let mut words = format!("{} on {of} of {nodes} hosts", self.version);
        for (version, count) in others {
            words += &format!(", {version} on {count} (skew)");
        }
        words
    }

    pub(super) fn etcd_words(&self) -> String {
        let Some(e) = &self.etcd else { return "not known".to_owned() };
        let mut words = format!("{} of {} voters answer, quorum {}", e.answering, e.voters, e.quorum);
        if e.learners > 0 {
            words += &format!(", {} learning", e.learners);
        }
        words += &format!(", leader {}", e.leader.as_deref().unwrap_or("none"));
        if let (Some(version), Some(bytes)) = (&e.version, e.db_bytes) {
            words += &format!(", {version}, {}", crate::bundle::human(bytes));
        }
        words
    }

    pub(super) fn certificate_words(&self) -> String {
        self.certificate.as_ref().map_or_else(
            || "not known".to_owned(),
            |c| {
                let (when, days) = if c.days_left < 0 { ("ended", "days ago") } else { ("ends in", "days") };
                format!("the first {when} {} {days}: {} {}", c.days_left.abs(), c.host, c.path)
            },
        )
    }

    pub(super) fn last_words(&self) -> String {
        self.last_operation.as_ref().map_or_else(
            || "no journal on this machine".to_owned(),
            |l| {
                let end = match (l.ok, &l.error) {
                    (Some(true), _) => "ended well".to_owned(),
                    (Some(false), Some(error)) => format!("failed: {error}"),
                    (Some(false), None) => "failed".to_owned(),
                    (None, _) => "its end is not recorded".to_owned(),
                };
                format!("{} by {} on {}, {}: {end}", l.command, l.user, l.host, short_time(&l.started))
            },
        )
    }
}

/// RFC 3339 to the second.
pub(super) fn short_time(time: &str) -> String {
    time.split_once('.').map_or_else(|| time.to_owned(), |(whole, _)| format!("{whole}Z"))
}
