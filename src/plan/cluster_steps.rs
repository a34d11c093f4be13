//! What is done and tested through a control plane once hosts are in: labels, readiness, the pod network. Pure.

use std::collections::BTreeMap;

use super::action::Action;
use super::desired::{Desired, HostSteps, When};
use super::model::{PhaseId, StepId};
use super::planner::{Input, Joined};
use crate::inventory::{CniPlugin, EtcdMode, Role};
use crate::resource::Membership;
use crate::version::KubeVersion;

/// What kubeadm keeps workloads off a control plane with; the newer name first.
pub(super) const CONTROL_PLANE_TAINTS: [&str; 2] =
    ["node-role.kubernetes.io/control-plane:NoSchedule", "node-role.kubernetes.io/master:NoSchedule"];

pub(super) fn cluster_steps(
    input: &Input<'_>,
    voice: &str,
    first: &str,
    joined: &BTreeMap<&str, Joined>,
    lasts: &[StepId],
    host_ids: &BTreeMap<&str, Vec<StepId>>,
) -> Vec<Desired> {
    let inv = input.inv;
    let timeout_s = inv.verify.timeout_s;
    let mut steps = HostSteps::new(voice);
    let with_join = |name: &str| When::DriftOrWith(joined.get(name).map(|j| j.step.clone()).into_iter().collect());
    for node in inv.nodes() {
        let remove_taints: Vec<String> = if node.role == Role::Both {
            CONTROL_PLANE_TAINTS.iter().map(|t| (*t).to_owned()).filter(|t| !node.taints.contains(t)).collect()
        } else {
            Vec::new()
        };
        if node.labels.is_empty() && node.taints.is_empty() && remove_taints.is_empty() {
            continue;
        }
        steps.add(
            PhaseId::Label,
            &node.name,
            Action::NodeMeta {
                node: node.name.clone(),
                labels: node.labels.clone(),
                taints: node.taints.clone(),
                remove_taints,
            },
            format!("labels and taints of {}", node.name),
        );
        steps.when(with_join(&node.name));
        steps.first_after(lasts);
    }
    // With no CNI of ours nodes stay NotReady until the user brings one: there is nothing to wait for.
    let pods_run = inv.cni.plugin != CniPlugin::None;
    let mut add = |what: String, action: Action, why: String, when: When| {
        steps.add(PhaseId::Verify, &what, action, why);
        steps.when(when);
        steps.first_after(lasts);
    };
    for node in inv.nodes().into_iter().filter(|_| pods_run) {
        let own = host_ids.get(node.name.as_str()).cloned().unwrap_or_default();
        add(
            format!("ready-{}", node.name),
            Action::WaitNodeReady { node: node.name.clone(), timeout_s },
            format!("{} must be Ready", node.name),
            When::DriftOrWith(disturbing(&own)),
        );
    }
    // One of our own beside Kubernetes is waited for in its own phase, before kubeadm needs it.
    if inv.etcd.mode == EtcdMode::Stacked {
        let own = inv.control_planes().into_iter().map(|n| n.name);
        // A control plane of the cluster that the inventory does not list is left alone, and so is its member.
        let known = |name: &String| inv.hosts.iter().any(|h| h.name == *name);
        let is_node = |name: &String| input.facts.nodes.iter().flatten().any(|n| n.name == *name);
        let others = input.facts.etcd.iter().flatten().map(|m| &m.name).filter(|n| !known(n) && is_node(n));
        let members = own.chain(others.cloned()).collect();
        add(
            "etcd".into(),
            Action::WaitEtcdMembers { members, timeout_s },
            "etcd's members must be the control planes".into(),
            When::DriftOrWith(joined.values().map(|j| j.step.clone()).collect()),
        );
    }
    let skipped = inv.kubeadm.skip_phases.iter().any(|p| matches!(p.as_str(), "addon" | "addon/coredns"));
    if !skipped && inv.nodes().len() > 1 {
        let moves = |id: &&StepId| id.ends_with("/kubeadm") || id.ends_with("/uncordon");
        let moved: Vec<StepId> = host_ids.values().flatten().filter(moves).cloned().collect();
        add(
            "coredns".into(),
            Action::SpreadDns { timeout_s },
            "CoreDNS must not run on one node alone".into(),
            When::DriftOrWith(moved),
        );
    }
    let renewed = watches(input, first, joined, lasts);
    if pods_run {
        let network: Vec<StepId> = host_ids
            .values()
            .flatten()
            .filter(|id| id.starts_with("cni/") || id.ends_with("/kubeadm"))
            .cloned()
            .collect();
        add(
            "pod-network".into(),
            Action::TestPodNetwork {
                image: inv.verify.image.clone(),
                nodes: inv.nodes().into_iter().map(|n| n.name).collect(),
                timeout_s,
            },
            "a pod on every node must answer every other, and a Service of them too".into(),
            When::DriftOrWith(network),
        );
        steps.after(renewed.iter().map(|d| d.id.clone()));
    }
    let mut all = renewed;
    all.extend(steps.into_steps());
    for node in inv.control_planes() {
        // Asked on the control plane itself: its controller manager and scheduler listen on loopback.
        let mut own = HostSteps::new(&node.name);
        own.add(
            PhaseId::Verify,
            "control-plane",
            Action::WaitControlPlane { node: node.name.clone(), address: node.address.to_string(), timeout_s },
            format!("the control plane on {} must be healthy", node.name),
        );
        own.when(with_join(&node.name));
        own.after(lasts.iter().cloned());
        all.extend(own.into_steps());
    }
    all
}

/// While the second member joins, etcd has no leader for some seconds: before 1.29 kubeadm makes it a voter at once. What
/// watches the API of the first control plane may then wait for ever for news (seen with 1.20: no Service of the whole
/// cluster got an endpoint), until it is started again. So may kube-proxy on a worker that was there before, above all
/// when etcd was restored and its revisions went back.
fn watches(input: &Input<'_>, first: &str, joined: &BTreeMap<&str, Joined>, lasts: &[StepId]) -> Vec<Desired> {
    const ETCD_LEARNERS_SINCE: u32 = 29;
    let inv = input.inv;
    let planes = inv.control_planes();
    let alone = planes.iter().filter(|n| input.facts.membership(inv, n) == Membership::Member).count() <= 1;
    if !alone || inv.etcd.mode != EtcdMode::Stacked {
        return Vec::new();
    }
    let joins = planes.iter().filter(|n| n.name != first).filter_map(|n| joined.get(n.name.as_str()));
    let joins: Vec<StepId> = joins.map(|j| j.step.clone()).collect();
    let voters = inv.cluster.version.parse::<KubeVersion>().is_ok_and(|v| v.minor < ETCD_LEARNERS_SINCE);
    let skipped = inv.kubeadm.skip_phases.iter().any(|p| matches!(p.as_str(), "addon" | "addon/kube-proxy"));
    let mut all = Vec::new();
    for node in inv.nodes() {
        let is_first = node.name == first;
        let stays = !is_first && input.facts.membership(inv, &node) == Membership::Member;
        let own = ["kube-controller-manager", "kube-scheduler"].into_iter().filter(|_| is_first && voters);
        let proxy = (!skipped && (stays || is_first && voters)).then_some("kube-proxy");
        let components: Vec<String> = own.chain(proxy).map(str::to_owned).collect();
        if components.is_empty() {
            continue;
        }
        let mut steps = HostSteps::new(&node.name);
        let why = "its watches may be silent since etcd had no leader, or went back, while it grew";
        steps.add(PhaseId::Verify, "watches", Action::RestartPods { components }, why);
        steps.when(When::AlwaysWith(joins.clone()));
        steps.after(lasts.iter().cloned());
        all.extend(steps.into_steps());
    }
    all
}

/// Of a host's steps, those after which its node has to be looked at again.
fn disturbing(ids: &[StepId]) -> Vec<StepId> {
    ids.iter().filter(|id| id.ends_with("-service") || id.ends_with("/kubeadm")).cloned().collect()
}
