//! In which order nodes leave the cluster, so that etcd keeps its quorum and no pod is lost. Pure.

use std::net::IpAddr;

use super::action::Action;
use super::desired::disruption;
use super::leave_refusals::{hides, loses_quorum, not_joined, unknown};
use super::model::{PhaseId, Step};
use super::reset::bare;
use crate::error::Result;
use crate::facts::Standing;
use crate::inventory::{CniPlugin, Host, Inventory};

/// A part of what is done. Each begins when the one before it ended well, and does nothing where nothing is left to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// These steps, in their order.
    Steps(Vec<Step>),
    /// All others become what the inventory says without these hosts.
    Settle {
        /// The hosts that are as good as gone.
        without: Vec<String>,
    },
}

/// What comes first when a node is replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// The new node joins while the old one is still a member.
    JoinFirst {
        /// The nodes that the hosts do not follow while the new node joins: the old one, where it cannot follow as well.
        without: Vec<String>,
        /// What the old node does before that.
        first: Vec<Step>,
    },
    /// The old node leaves: it serves nothing and only counts against etcd's quorum.
    LeaveFirst,
}

/// Whether the old node leaves before or after the new one joins. A node that is alive serves until the new one has
/// joined: etcd never has fewer healthy voters than before the replacement.
#[must_use]
pub fn order(inv: &Inventory, standing: &Standing, old: &str) -> Order {
    let old = Leaving::new(inv, standing, old);
    if !old.alive {
        return Order::LeaveFirst;
    }
    // The hosts' shares of the pod network are read on the hosts, so the share of a host that the inventory does not list
    // may go to the new one. Its pods move before that.
    let shares = old.host.is_none() && old.ready && inv.cni.plugin == CniPlugin::Bridge;
    if shares && !standing.has_control_plane(old.name) {
        return Order::LeaveFirst;
    }
    let mut first = Steps { voice: &standing.voice, all: Vec::new() };
    if shares {
        let what = format!("evacuate-{}", old.name);
        first.add(&standing.voice, what, old.evacuate(inv), "the new node may take its share of the pod network");
    }
    // Only a control plane that is left can speak for the cluster, and a node whose kubelet is down cannot follow.
    let follows = old.serves || standing.voice == old.name;
    let without = if follows { Vec::new() } else { vec![old.name.to_owned()] };
    Order::JoinFirst { without, first: first.all }
}

/// Checks that the new node has joined etcd as a voter and is healthy, before the old one leaves.
///
/// Errors (`Refused`): it has not, or is not.
pub fn has_joined(inv: &Inventory, standing: &Standing, old: &str, new: &str) -> Result<()> {
    let plane = inv.hosts.iter().find(|h| h.name == new).filter(|h| h.role.is_control_plane());
    let (Some(members), Some(host)) = (&standing.members, plane) else { return Ok(()) };
    if members.of(new, Some(host.address)).is_some_and(|m| m.voter && m.healthy) {
        return Ok(());
    }
    Err(not_joined(old, new))
}

/// How these nodes leave, one after the other: first those that serve nothing any more, because etcd counts them until
/// they are out, then the others in the order in which they are named.
///
/// Errors: etcd would lose its quorum at some point, or one is at work that cannot be stopped (`Refused`); nobody is
/// called so (`Usage`).
pub fn removal(inv: &Inventory, standing: &Standing, names: &[String]) -> Result<Vec<Stage>> {
    let mut leaving: Vec<Leaving<'_>> = names.iter().map(|name| Leaving::new(inv, standing, name)).collect();
    if let Some(nobody) = leaving.iter().find(|l| !l.known) {
        return Err(unknown(nobody.name, inv, standing));
    }
    if let Some(hidden) = leaving.iter().find(|l| l.hidden) {
        return Err(hides(hidden.name));
    }
    leaving.sort_by_key(|l| l.serves);
    let mut left = standing.members.clone();
    let mut gone: Vec<String> = Vec::new();
    let mut stages = Vec::new();
    for one in leaving {
        gone.push(one.name.to_owned());
        let voice = standing.voice.as_str();
        let mut steps = Steps { voice, all: Vec::new() };
        if one.ready {
            steps.add(voice, format!("evacuate-{}", one.name), one.evacuate(inv), "its pods move before it goes");
        }
        if one.serves {
            // The balancers let go of it while it still serves, and nobody is sent to its pods, which have moved.
            stages.push(Stage::Steps(std::mem::take(&mut steps.all)));
            stages.push(Stage::Settle { without: gone.clone() });
        }
        let member = left.as_ref().and_then(|m| m.of(one.name, one.address).cloned());
        if let (Some(member), Some(members)) = (member, left.as_mut()) {
            if !members.without(member.id).has_quorum() {
                return Err(loses_quorum(one.name, members, &member));
            }
            members.0.retain(|m| m.id != member.id);
            let action = Action::LeaveEtcd {
                node: one.name.to_owned(),
                address: one.address,
                healthy: members.names(true).map(str::to_owned).collect(),
                timeout_s: inv.verify.timeout_s,
            };
            steps.add(voice, format!("etcd-{}", one.name), action, "etcd must not count on it any more");
        }
        if one.answers {
            steps.add(one.name, "bare".into(), bare(inv, one.name), "it keeps nothing of the cluster");
        }
        let forget = Action::ForgetNode { node: one.name.to_owned() };
        steps.add(voice, format!("forget-{}", one.name), forget, "the cluster keeps nothing of it");
        stages.push(Stage::Steps(steps.all));
    }
    stages.push(Stage::Settle { without: gone });
    Ok(stages)
}

struct Steps<'a> {
    voice: &'a str,
    all: Vec<Step>,
}

impl Steps<'_> {
    fn add(&mut self, host: &str, what: String, action: Action, reason: &str) {
        self.all.push(Step {
            id: format!("{}/{host}/{what}", PhaseId::Leave.as_str()),
            phase: PhaseId::Leave,
            host: host.to_owned(),
            disruption: disruption(&action),
            action,
            reason: if host == self.voice { reason.to_owned() } else { format!("{reason}, once it is out") },
            diff: None,
            needs: self.all.last().map(|s| s.id.clone()).into_iter().collect(),
        });
    }
}

/// One that leaves.
pub(super) struct Leaving<'a> {
    pub(super) name: &'a str,
    /// As the inventory lists it.
    host: Option<&'a Host>,
    /// Of the inventory, or as the cluster has it.
    pub(super) address: Option<IpAddr>,
    /// The inventory or the cluster knows it.
    known: bool,
    /// Its host can be made bare.
    answers: bool,
    /// Its kubelet can end pods.
    ready: bool,
    /// It is at work, and its host, which the inventory lists, does not let us in.
    pub(super) hidden: bool,
    /// It answers, is in the cluster, and its etcd is well if it has one.
    serves: bool,
    /// It is in the cluster and serves something: as a healthy voter of etcd, or else by its kubelet.
    pub(super) alive: bool,
}

impl<'a> Leaving<'a> {
    pub(super) fn new(inv: &'a Inventory, standing: &Standing, name: &'a str) -> Self {
        let host = inv.hosts.iter().find(|h| h.name == name);
        let object = standing.nodes.iter().find(|n| n.name == name);
        let said = object.and_then(|o| o.address.as_ref()?.parse().ok());
        let address = host.map(|h| h.address).or(said);
        let member = standing.members.as_ref().and_then(|m| m.of(name, address));
        let answers = host.is_some() && standing.answering.contains(name);
        // A control plane that etcd has let go of is on its way out.
        let has_etcd = match member {
            Some(member) => member.healthy,
            None => standing.members.is_none() || !object.is_some_and(|o| o.is_control_plane()),
        };
        let ready = object.is_some_and(|o| o.ready) && standing.kubelets.contains(name);
        let votes = member.is_some_and(|m| m.healthy && m.voter);
        Self {
            name,
            host,
            address,
            known: host.is_some() || object.is_some() || member.is_some(),
            answers,
            ready,
            hidden: host.is_some() && !answers && (ready || votes),
            serves: answers && ready && has_etcd,
            alive: object.is_some() && (votes || member.is_none() && ready && has_etcd),
        }
    }

    fn evacuate(&self, inv: &Inventory) -> Action {
        let drain = &inv.upgrade.drain;
        Action::Evacuate {
            node: self.name.to_owned(),
            timeout_s: drain.timeout_s,
            grace_s: drain.grace_s,
            unfinished: drain.unfinished,
        }
    }
}
