//! The etcd that runs as units beside Kubernetes: formed at once, changed one member at a time. Pure.

use super::action::Action;
use super::desired::{Desired, HostSteps, When};
use super::model::{PhaseId, StepId};
use super::planner::Input;
use crate::error::{Error, Result};
use crate::inventory::{ETCD_CLIENT_DIR, Node};
use crate::resource::{ETCD_DIR, ETCD_FORMED, ETCD_INITIAL, ETCD_UNIT, EtcdHost, template};

/// etcd's program.
pub(super) const PROGRAM: &str = "/usr/local/bin/etcd";

/// Steps one after the other over all hosts: at no time are two members on their way.
struct Chain {
    steps: Vec<Desired>,
    barrier: Vec<StepId>,
}

impl Chain {
    fn add(&mut self, host: &str, what: &str, action: Action, reason: impl Into<String>, when: When) -> StepId {
        let mut one = HostSteps::new(host);
        let id = one.add(PhaseId::Etcd, what, action, reason);
        one.when(when);
        match self.steps.last() {
            Some(last) => one.after([last.id.clone()]),
            None => one.after(self.barrier.iter().cloned()),
        }
        self.steps.extend(one.into_steps());
        id
    }
}

/// The steps of all hosts of etcd and of its clients; none with any other etcd.
///
/// Errors (`Refused`): etcd has a member that the inventory does not name, or lost its CA.
pub(super) fn etcd_steps(input: &Input<'_>, barrier: &[StepId]) -> Result<Vec<Desired>> {
    let inv = input.inv;
    let nodes = inv.etcd_nodes();
    if nodes.is_empty() {
        return Ok(Vec::new());
    }
    let state = |n: &Node| input.facts.hosts.get(&n.name).and_then(|h| h.etcd.clone()).unwrap_or_default();
    let peers: Vec<String> = nodes.iter().map(|n| n.name.clone()).collect();
    let formed = nodes.iter().any(|n| state(n).formed);
    let ca = nodes.iter().find_map(|n| state(n).ca);
    refuse(input, &nodes, formed && ca.is_none())?;
    let mut chain = Chain { steps: Vec::new(), barrier: barrier.to_vec() };
    let mut identities = Vec::new();
    for node in &nodes {
        let names =
            vec![node.name.clone(), node.address.to_string(), "localhost".into(), "127.0.0.1".into(), "::1".into()];
        let identity = Action::EtcdIdentity { names, peers: peers.clone(), ca: ca.clone() };
        identities.push(chain.add(&node.name, "identity", identity, "the member has certificates", When::Drift));
    }
    let urls: Vec<(String, String)> = nodes.iter().map(|n| (n.name.clone(), peer_url(n))).collect();
    let initial = template::etcd_initial(&inv.cluster.name, &urls, "new");
    let initially = |chain: &mut Chain, node: &Node| {
        // Entering leaves another there.
        let when = When::DriftOrWith(vec![format!("{}/{}/enter", PhaseId::Etcd.as_str(), node.name)]);
        chain.add(&node.name, "initial", file(ETCD_INITIAL, initial.clone()), "who the members are", when)
    };
    for node in &nodes {
        if !formed {
            initially(&mut chain, node);
        }
        let unit = file(&unit_path(), template::etcd_unit(inv, node)?);
        chain.add(&node.name, "unit", unit, "the member's unit", When::Drift);
    }
    if formed {
        change(input, &nodes, state, &mut chain, initially);
    } else {
        let services: Vec<StepId> = nodes
            .iter()
            .map(|n| chain.add(&n.name, "service", service(), "the member runs with what is installed", When::Drift))
            .collect();
        let wait = health(peers.clone(), input);
        chain.add(&peers[0], "health", wait, "etcd must be whole", When::DriftOrWith(services));
    }
    for node in &nodes {
        let mark = file(ETCD_FORMED, format!("{}\n", inv.cluster.name));
        chain.add(&node.name, "formed", mark, "marks that the member was seen in a whole etcd", When::Drift);
    }
    let access = inv.etcd_access();
    for node in inv.control_planes() {
        let when = if ca.is_some() { When::Drift } else { When::AlwaysWith(identities.clone()) };
        let client = Action::EtcdClient { peers: peers.clone(), ca: ca.clone() };
        chain.add(&node.name, "client", client, "the API server calls etcd with it", when);
        let endpoints = file(&format!("{ETCD_CLIENT_DIR}/endpoints"), format!("{}\n", access.endpoints.join(",")));
        chain.add(&node.name, "endpoints", endpoints, "where etcd is reached", When::Drift);
    }
    Ok(chain.steps)
}

/// A cluster that was once whole: what does not run is started, what has no data is entered, and then one member after
/// the other gets what is new, none before all are well.
fn change(
    input: &Input<'_>,
    nodes: &[Node],
    state: impl Fn(&Node) -> EtcdHost,
    chain: &mut Chain,
    initially: impl Fn(&mut Chain, &Node) -> StepId,
) {
    let why = "the member runs with what is installed";
    let (whole, lost): (Vec<&Node>, Vec<&Node>) = nodes.iter().partition(|n| state(n).data);
    let (up, down): (Vec<&Node>, Vec<&Node>) = whole.iter().copied().partition(|n| state(n).active);
    let mut begun: Vec<StepId> =
        down.iter().map(|n| chain.add(&n.name, "service", service(), why, When::Drift)).collect();
    let peers: Vec<String> = up.iter().chain(&down).map(|n| n.name.clone()).collect();
    for node in &lost {
        let enter = Action::EtcdEnter { member: node.name.clone(), peer_url: peer_url(node), peers: peers.clone() };
        chain.add(&node.name, "enter", enter, "it has no data, and etcd is there", When::Drift);
        begun.push(chain.add(&node.name, "service", service(), why, When::Drift));
    }
    // A restart while another is ill would be two. They are planned below, and named as they will be.
    begun.extend(up.iter().map(|n| format!("{}/{}/service", PhaseId::Etcd.as_str(), n.name)));
    let all = || health(nodes.iter().map(|n| n.name.clone()).collect(), input);
    if let Some(first) = peers.first() {
        chain.add(first, "health", all(), "etcd must be whole", When::DriftOrWith(begun));
    }
    for node in &up {
        let id = chain.add(&node.name, "service", service(), why, When::Drift);
        chain.add(&node.name, "health-after", all(), "etcd must be whole before the next", When::AlwaysWith(vec![id]));
    }
    for node in nodes {
        // Read by a member without data alone. With "new" in it one that lost its data is not let in by the others, and
        // is found here and entered.
        initially(chain, node);
    }
}

fn refuse(input: &Input<'_>, nodes: &[Node], without_ca: bool) -> Result<()> {
    if without_ca {
        return Err(Error::refused(format!("etcd runs, and no host of it has a CA that can still sign in {ETCD_DIR}"))
            .hint("put ca.crt and ca.key back onto one of its hosts; the CA of an etcd that runs is not exchanged"));
    }
    let known = |name: &str| name.is_empty() || nodes.iter().any(|n| n.name == name);
    let others: Vec<&str> =
        input.facts.etcd.iter().flatten().map(|m| m.name.as_str()).filter(|name| !known(name)).collect();
    if others.is_empty() {
        return Ok(());
    }
    Err(Error::refused(format!("etcd has members that [etcd] hosts does not name: {}", others.join(", ")))
        .hint("put them into [etcd] hosts, or take each out with `etcdctl member remove` while the others are healthy"))
}

fn health(members: Vec<String>, input: &Input<'_>) -> Action {
    Action::WaitEtcdMembers { members, timeout_s: input.inv.verify.timeout_s }
}

fn service() -> Action {
    Action::Unit {
        name: ETCD_UNIT.into(),
        enabled: true,
        active: Some(true),
        started_after: vec![
            PROGRAM.into(),
            unit_path(),
            format!("{ETCD_DIR}/server.crt"),
            format!("{ETCD_DIR}/peer.crt"),
        ],
    }
}

fn unit_path() -> String {
    format!("/etc/systemd/system/{ETCD_UNIT}")
}

fn file(path: &str, content: String) -> Action {
    Action::WriteFile { path: path.into(), content, mode: 0o644 }
}

fn peer_url(node: &Node) -> String {
    format!("https://{}", std::net::SocketAddr::new(node.address, 2380))
}
