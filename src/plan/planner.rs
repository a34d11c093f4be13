//! Inventory, bundle and facts become the list of all that each host may need. Pure.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use super::action::Action;
use super::addon_steps::addon_steps;
use super::backup_steps::snapshots;
use super::certificates::{place, refuse_certificates};
use super::cluster_steps::cluster_steps;
use super::desired::{Desired, HostSteps, When};
use super::etcd_steps::etcd_steps;
use super::host_steps::{before_join, cni, etcd_alone, new_runtime};
use super::model::{PhaseId, StepId};
use super::parts::Parts;
use super::pod_cidr::allot;
use super::registry_steps::registry;
use super::settings_steps::{keep_settings, settings_steps};
use super::upgrade_refusals::refuse_upgrade;
use super::upgrade_steps::{upgrade_steps, upgrading};
use crate::bundle::BundleManifest;
use crate::error::{Error, Result};
use crate::facts::Facts;
use crate::inventory::{EndpointMode, EtcdMode, Inventory, Node, Role};
use crate::kubeadm::{ClusterImages, init_documents, join_document};
use crate::resource::Membership;

/// What kubeadm's checks of a join take for the leavings of another, and what is put there for it.
const PLACED_BEFORE_JOIN: [&str; 2] =
    ["FileAvailable--etc-kubernetes-kubelet.conf", "FileAvailable--etc-kubernetes-pki-ca.crt"];

/// The marker of our block in /etc/hosts.
pub const HOSTS_MARKER: &str = "provision api endpoint";
/// Says which cluster claimed a host, from before the first change to its reset.
pub const CLAIM_FILE: &str = "/etc/provision/cluster";
/// Says that a host was once seen as a whole member: from then on nothing resets it but `provision reset`.
pub const JOINED_FILE: &str = "/etc/provision/joined";

/// All that the planning of one host reads.
pub(super) struct Input<'a> {
    pub inv: &'a Inventory,
    pub facts: &'a Facts,
    /// The control planes of the inventory.
    pub planes: Vec<Node>,
    pub parts: Parts<'a>,
    pub images: ClusterImages,
    pub pod_cidrs: BTreeMap<String, Vec<IpNet>>,
    /// The members that are not yet of the inventory's version.
    pub upgrading: BTreeSet<String>,
    /// The members whose containerd or runc is another than the bundle's.
    pub new_runtime: BTreeSet<String>,
}

/// Everything that the hosts of the inventory may need, in an order in which each stands after what it needs.
///
/// Errors: the bundle lacks something (`Invalid`), or the cluster may not be taken to the version that the inventory asks
/// for (`Refused`).
pub fn desired(inv: &Inventory, bundle: &BundleManifest, facts: &Facts) -> Result<Vec<Desired>> {
    refuse_upgrade(inv, bundle, facts)?;
    refuse_certificates(inv, facts)?;
    let parts = Parts::new(inv, bundle);
    let mut input = Input {
        inv,
        facts,
        images: parts.cluster_images()?,
        pod_cidrs: allot(inv, facts)?,
        planes: inv.control_planes(),
        parts,
        upgrading: upgrading(inv, facts),
        new_runtime: BTreeSet::new(),
    };
    input.new_runtime = new_runtime(&input)?;
    let nodes = inv.nodes();
    let dedicated: Vec<Node> = inv.etcd_nodes().into_iter().filter(|n| n.role == Role::Etcd).collect();
    let mut hosts: Vec<HostSteps<'_>> = Vec::new();
    for node in &nodes {
        let mut steps = HostSteps::new(&node.name);
        before_join(&input, node, &mut steps)?;
        keep_settings(&input, node, &mut steps)?;
        cni(&input, node, &mut steps)?;
        registry(&input, node, &mut steps)?;
        super::host_steps::images(&input, node, &mut steps)?;
        hosts.push(steps);
    }
    let alone: Vec<HostSteps<'_>> = dedicated.iter().map(|node| etcd_alone(&input, node)).collect::<Result<_>>()?;
    // The barrier: nobody goes on to kubeadm before every host has all its images, nor before the etcd that it is told of.
    let mut barrier: Vec<StepId> = hosts.iter().chain(&alone).filter_map(HostSteps::last_id).collect();
    let etcd = etcd_steps(&input, &barrier)?;
    barrier.extend(etcd.last().map(|d| d.id.clone()));
    let member = |n: &Node| facts.membership(inv, n) == Membership::Member;
    let control_planes = &input.planes;
    let exists = control_planes.iter().any(member);
    let Some(first) = control_planes.iter().find(|n| member(n)).or(control_planes.first()) else {
        return Err(Error::invalid("the inventory has no control plane"));
    };
    let voice = facts.voice.clone().unwrap_or_else(|| first.name.clone());
    let mut upgrades = upgrade_steps(&input, &voice, &barrier)?;
    let before: Vec<StepId> = barrier.iter().cloned().chain(upgrades.last().map(|d| d.id.clone())).collect();
    upgrades.extend(settings_steps(&input, &voice, &before)?);
    let mut joined: BTreeMap<&str, Joined> = BTreeMap::new();
    let mut previous: Vec<StepId> = barrier.clone();
    // What joins is of the new version, and may not be newer than those whom it joins.
    previous.extend(upgrades.last().map(|d| d.id.clone()));
    // First the one that inits (or already is), then the other control planes one after the other, then workers.
    let mut order: Vec<&Node> = vec![first];
    order.extend(control_planes.iter().filter(|n| n.name != first.name));
    let workers = inv.workers();
    order.extend(workers.iter());
    let places: BTreeMap<&str, usize> = nodes.iter().enumerate().map(|(at, n)| (n.name.as_str(), at)).collect();
    for node in order {
        let Some(steps) = places.get(node.name.as_str()).and_then(|at| hosts.get_mut(*at)) else { continue };
        let sponsors: Vec<String> = std::iter::once(first)
            .chain(control_planes)
            .filter(|n| n.name != node.name && (member(n) || joined.contains_key(n.name.as_str())))
            .map(|n| n.name.clone())
            .fold(Vec::new(), |mut all, name| {
                if !all.contains(&name) {
                    all.push(name);
                }
                all
            });
        let init = !exists && node.name == first.name;
        let phase = match (init, node.role.is_control_plane()) {
            (true, _) => PhaseId::Init,
            (_, true) => PhaseId::JoinControlPlane,
            _ => PhaseId::JoinWorker,
        };
        let made = join(&input, node, steps, phase, sponsors, &previous)?;
        snapshots(&input, node, phase, upgrades.last().map(|d| d.id.clone()), steps)?;
        if node.role.is_control_plane() {
            if init {
                // Who waits for the init waits by way of it for all hosts' images.
                previous.clear();
            }
            previous.push(made.marker.clone());
        }
        joined.insert(&node.name, made);
    }
    let upgraded = upgrades.last().map(|d| d.id.clone());
    let lasts: Vec<StepId> = hosts.iter().filter_map(HostSteps::last_id).chain(upgraded).collect();
    let mut host_ids: BTreeMap<&str, Vec<StepId>> =
        nodes.iter().zip(&hosts).map(|(n, h)| (n.name.as_str(), h.ids())).collect();
    for step in &upgrades {
        host_ids.entry(&step.host).or_default().push(step.id.clone());
    }
    let cluster = cluster_steps(&input, &voice, &first.name, &joined, &lasts, &host_ids);
    // Pods may want the labels. The tests of the cluster do not wait for addons, which may fail for reasons of their own.
    let labels = cluster.iter().filter(|d| d.phase == PhaseId::Label).map(|d| d.id.clone());
    let addons = addon_steps(&input, &voice, &lasts.iter().cloned().chain(labels).collect::<Vec<_>>())?;
    let mut all: Vec<Desired> = hosts
        .into_iter()
        .chain(alone)
        .flat_map(HostSteps::into_steps)
        .chain(etcd)
        .chain(upgrades)
        .chain(cluster)
        .chain(addons)
        .collect();
    // By phase; within a phase the order above: so that every step stands after what it needs.
    let turn: BTreeMap<String, usize> = std::iter::once(first.name.clone())
        .chain(nodes.iter().map(|n| n.name.clone()))
        .enumerate()
        .fold(BTreeMap::new(), |mut map, (at, name)| {
            map.entry(name).or_insert(at);
            map
        });
    all.sort_by_key(|d| (d.phase, matches!(d.phase, PhaseId::JoinControlPlane).then(|| turn.get(&d.host).copied())));
    Ok(all)
}

/// The ids of a host's step into the cluster and of its mark.
pub(super) struct Joined {
    pub step: StepId,
    pub marker: StepId,
}

fn join(
    input: &Input<'_>,
    node: &Node,
    steps: &mut HostSteps<'_>,
    phase: PhaseId,
    sponsors: Vec<String>,
    previous: &[StepId],
) -> Result<Joined> {
    let inv = input.inv;
    let control_plane = node.role.is_control_plane();
    let init = phase == PhaseId::Init;
    let membership = input.facts.membership(inv, node);
    let local_balancer = inv.endpoint.mode == EndpointMode::Haproxy;
    let endpoint = inv.api_endpoint();
    let step_id = format!("{}/{}/kubeadm", phase.as_str(), node.name);
    let hosts_block = |to: &[String]| Action::WriteBlock {
        path: "/etc/hosts".into(),
        marker: HOSTS_MARKER.into(),
        lines: to.iter().map(|to| format!("{to} {}", endpoint.host)).collect(),
    };
    let mark = |steps: &mut HostSteps<'_>| {
        let content = format!("{}\n", inv.cluster.name);
        let action = Action::WriteFile { path: JOINED_FILE.into(), content, mode: 0o644 };
        steps.add(phase, "joined", action, "marks that the host was seen whole")
    };
    let own_endpoint = (|| hosts_block(&["127.0.0.1".into()]), "the endpoint's name means the host itself");
    if membership == Membership::Member {
        // kubeadm has no more business on a member, whatever else is not as it should be there.
        if local_balancer {
            steps.add(phase, "endpoint", own_endpoint.0(), own_endpoint.1);
        }
        return Ok(Joined { step: step_id, marker: mark(steps) });
    }
    let running = input.facts.hosts.get(&node.name).is_some_and(|h| h.state.running.is_some());
    if let Membership::Partial(why) = &membership
        && !running
    {
        steps.add(
            phase,
            "clear",
            Action::ResetPartial { node: node.name.clone(), control_plane },
            format!("a broken {} is cleared: {why}", if init { "init" } else { "join" }),
        );
        steps.after(previous.iter().cloned());
    }
    let mut bootstrap = None;
    if local_balancer && !init {
        // Until its own kubelet runs its balancer, a joining host reaches the API through a sponsor's.
        if let Some(address) = sponsors.first().and_then(|s| inv.hosts.iter().find(|h| h.name == *s)) {
            let id = steps.add(
                phase,
                "endpoint-bootstrap",
                // The host itself comes first: kube-proxy keeps the hosts file that it was started with, and would hang on
                // this sponsor for as long as it runs. Until the own balancer is up, that is refused and the other taken.
                hosts_block(&["127.0.0.1".into(), address.address.to_string()]),
                format!("{} is reached through {} while joining", endpoint.host, address.name),
            );
            steps.when(When::OnlyWith(vec![step_id.clone()]));
            bootstrap = Some(id);
        }
    } else if local_balancer {
        steps.add(phase, "endpoint", own_endpoint.0(), own_endpoint.1);
    }
    place(inv, node, phase, &format!("{}/{}/clear", phase.as_str(), node.name), previous, steps)?;
    let stacked = inv.etcd.mode == EtcdMode::Stacked;
    let common = (node.name.clone(), inv.cluster.name.clone());
    let mut ignore_preflight_errors = inv.kubeadm.ignore_preflight_errors.clone();
    if inv.certificates.is_external() && !init {
        ignore_preflight_errors.extend(PLACED_BEFORE_JOIN.map(str::to_owned));
    }
    let action = if init {
        Action::KubeadmInit {
            node: common.0,
            cluster: common.1,
            stacked,
            config: init_documents(inv, node, &input.images)?,
            skip_phases: inv.kubeadm.skip_phases.clone(),
            ignore_preflight_errors,
        }
    } else {
        Action::KubeadmJoin {
            node: common.0,
            cluster: common.1,
            stacked,
            control_plane,
            config: join_document(inv, node, control_plane)?,
            ignore_preflight_errors,
            // Only what join knows: the addon phases are init's.
            skip_phases: inv.kubeadm.skip_phases.iter().filter(|p| *p == "preflight").cloned().collect(),
            sponsors,
        }
    };
    let reason = match &membership {
        Membership::Partial(why) if running => format!("{why}: it is followed to its end"),
        Membership::Partial(_) => "done again from the start".into(),
        _ if init => "there is no cluster yet".into(),
        _ => "it is not in the cluster yet".into(),
    };
    let step = steps.add(phase, "kubeadm", action, reason);
    steps.after(previous.iter().cloned());
    if let Some(bootstrap) = bootstrap {
        steps.add(phase, "endpoint", own_endpoint.0(), own_endpoint.1);
        steps.when(When::DriftOrWith(vec![bootstrap]));
    }
    let marker = mark(steps);
    Ok(Joined { step, marker })
}
