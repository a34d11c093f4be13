//! Changed settings into the running cluster: control planes one at a time, kubelets in the waves of an upgrade. Pure.

use std::collections::BTreeMap;

use super::action::Action;
use super::desired::{Desired, HostSteps, When};
use super::host_steps::containerd_texts;
use super::model::{PhaseId, StepId};
use super::planner::Input;
use super::upgrade_steps::{kubeadm_will_upgrade, worker_waves};
use crate::error::Result;
use crate::inventory::{EtcdMode, Node};
use crate::kubeadm::{ClusterSettings, ControlPlaneSettings, KubeletSettings, settings_documents};
use crate::resource::{CONTROL_PLANE_KEPT, KUBELET_KEPT, Membership, PROXY_KEPT, is_marked};
use crate::version::KubeVersion;

/// What a host that is about to join is made with is kept there, so that a later change is told from it.
pub(super) fn keep_settings(input: &Input<'_>, node: &Node, steps: &mut HostSteps<'_>) -> Result<()> {
    if input.facts.membership(input.inv, node) == Membership::Member {
        return Ok(());
    }
    let mut keep = |what: &str, path: &str, content: String| {
        let action = Action::WriteFile { path: path.into(), content, mode: 0o600 };
        steps.add(PhaseId::Runtime, what, action, "what it is made with, to tell a change by");
    };
    keep("kept-kubelet", KUBELET_KEPT, KubeletSettings::wanted(input.inv, node)?.text()?);
    if node.role.is_control_plane() {
        keep("kept-control-plane", CONTROL_PLANE_KEPT, ControlPlaneSettings::wanted(input.inv, &input.images).text()?);
        keep("kept-kube-proxy", PROXY_KEPT, ClusterSettings::proxy_text(input.inv)?);
    }
    Ok(())
}

/// Whether another configuration of a node's containerd comes in the node's turn: it is a member whose containerd runs,
/// and a member speaks for the cluster. Where it does not run there is nothing to take away.
pub(super) fn has_runtime_turn(input: &Input<'_>, node: &Node) -> bool {
    let member = |n: &Node| input.facts.membership(input.inv, n) == Membership::Member;
    let speaks = |voice: &String| input.planes.iter().any(|n| n.name == *voice && member(n));
    input.facts.hosts.get(&node.name).is_some_and(|h| h.runs_containers)
        && input.facts.voice.as_ref().is_some_and(speaks)
        && member(node)
}

/// The steps for all members whose settings may differ, in the order in which they are done.
pub(super) fn settings_steps(input: &Input<'_>, voice: &str, previous: &[StepId]) -> Result<Vec<Desired>> {
    let inv = input.inv;
    let member = |n: &Node| input.facts.membership(inv, n) == Membership::Member;
    let planes: Vec<Node> = inv.control_planes().into_iter().filter(member).collect();
    let Some(speaker) = planes.iter().find(|n| n.name == voice).filter(|_| input.facts.voice.is_some()) else {
        return Ok(Vec::new());
    };
    let mut maker = Maker {
        input,
        voice,
        planes: &planes,
        previous: previous.to_vec(),
        all: Vec::new(),
        kubelet_map: kubelet_map(inv),
    };
    maker.upload(speaker)?;
    for node in &planes {
        maker.control_plane(node)?;
    }
    // One that was begun, or is not Ready, comes first: this may be its cure, and none is emptied beside it.
    let object = |n: &Node| input.facts.nodes.iter().flatten().find(|o| o.name == n.name);
    let is_well = |n: &Node| object(n).is_some_and(|o| o.ready && !is_marked(o));
    let (well, ill): (Vec<&Node>, Vec<&Node>) = planes.iter().partition(|n| is_well(n));
    for node in ill.into_iter().chain(well) {
        maker.kubelet(node, PhaseId::SettingsControlPlane)?;
    }
    let workers: BTreeMap<String, Node> =
        inv.workers().into_iter().filter(member).map(|n| (n.name.clone(), n)).collect();
    for (number, wave) in worker_waves(inv, input.facts).into_iter().enumerate() {
        let nodes: Vec<&Node> = wave.nodes.iter().filter_map(|n| workers.get(n)).collect();
        let Some(last) = nodes.last() else { continue };
        let before = maker.previous.clone();
        let mut lasts = Vec::new();
        for node in &nodes {
            maker.previous.clone_from(&before);
            lasts.push(maker.kubelet(node, PhaseId::SettingsWorker)?);
        }
        // One step for the next wave to wait for, however many there are in this one.
        let ready = Action::WaitNodeReady { node: last.name.clone(), timeout_s: inv.upgrade.gate_timeout_s };
        maker.previous.clone_from(&lasts);
        lasts.extend(nodes.iter().map(|n| runtime_id(PhaseId::SettingsWorker, n)));
        maker.wait(voice, PhaseId::SettingsWorker, &format!("wave-{}", number + 1), ready, lasts);
    }
    let skipped = inv.kubeadm.skip_phases.iter().any(|p| matches!(p.as_str(), "addon" | "addon/kube-proxy"));
    if !skipped {
        maker.proxy(speaker)?;
    }
    Ok(maker.all)
}

/// How the cluster's copy of the kubelet's configuration is named.
fn kubelet_map(inv: &crate::inventory::Inventory) -> String {
    const UNVERSIONED_SINCE: u32 = 24;
    match inv.cluster.version.parse::<KubeVersion>() {
        Ok(version) if version.minor < UNVERSIONED_SINCE => format!("kubelet-config-1.{}", version.minor),
        _ => "kubelet-config".into(),
    }
}

fn runtime_id(phase: PhaseId, node: &Node) -> StepId {
    format!("{}/{}/containerd", phase.as_str(), node.name)
}

struct Maker<'a> {
    input: &'a Input<'a>,
    voice: &'a str,
    planes: &'a [Node],
    previous: Vec<StepId>,
    all: Vec<Desired>,
    kubelet_map: String,
}

impl Maker<'_> {
    /// Adds an action that comes after all so far, and before all that follow.
    fn add(&mut self, host: &str, phase: PhaseId, what: &str, action: Action, why: &str, when: When) -> StepId {
        let mut steps = HostSteps::new(host);
        let id = steps.add(phase, what, action, why);
        steps.after(std::mem::take(&mut self.previous));
        steps.when(when);
        self.all.extend(steps.into_steps());
        self.previous = vec![id.clone()];
        id
    }

    fn wait(&mut self, host: &str, phase: PhaseId, what: &str, action: Action, with: Vec<StepId>) {
        self.add(host, phase, what, action, "all must be well before the next one is begun", When::AlwaysWith(with));
    }

    fn upload(&mut self, speaker: &Node) -> Result<()> {
        let inv = self.input.inv;
        let dns = !inv.kubeadm.skip_phases.iter().any(|p| matches!(p.as_str(), "addon" | "addon/coredns"));
        // The upgrade of the first control plane writes the names of images before anything else.
        let first = self.planes.first().is_some_and(|n| kubeadm_will_upgrade(self.input, &n.name));
        let action = Action::UploadSettings {
            config: settings_documents(inv, speaker, &self.input.images)?,
            control_plane: self.wanted(first).text()?,
            kubelet: KubeletSettings::wanted(inv, speaker)?.text()?,
            kubelet_map: self.kubelet_map.clone(),
            coredns_tag: self.input.images.coredns_tag.clone().filter(|_| dns && !first),
        };
        let why = "what joins and what is upgraded is made from it";
        self.add(self.voice, PhaseId::SettingsControlPlane, "upload", action, why, When::Drift);
        Ok(())
    }

    /// What is asked of a control plane; etcd's image comes with the upgrade where there is one.
    fn wanted(&self, upgraded: bool) -> ControlPlaneSettings {
        let wanted = ControlPlaneSettings::wanted(self.input.inv, &self.input.images);
        if upgraded { wanted.without_etcd_tag() } else { wanted }
    }

    fn control_plane(&mut self, node: &Node) -> Result<()> {
        let inv = self.input.inv;
        let timeout_s = inv.upgrade.gate_timeout_s;
        let others = self.planes.iter().filter(|n| n.name != node.name);
        let action = Action::ControlPlaneSettings {
            node: node.name.clone(),
            address: node.address.to_string(),
            others: others.map(|n| (n.name.clone(), n.address.to_string())).collect(),
            config: settings_documents(inv, node, &self.input.images)?,
            wanted: self.wanted(kubeadm_will_upgrade(self.input, &node.name)).text()?,
            timeout_s,
        };
        let phase = PhaseId::SettingsControlPlane;
        let why = "arguments, names of its certificate or etcd's image are not what the inventory asks for";
        let id = self.add(&node.name, phase, "control-plane", action, why, When::Drift);
        if inv.etcd.mode == EtcdMode::Stacked {
            let members = self.input.facts.etcd.iter().flatten().map(|m| m.name.clone()).collect();
            self.wait(&node.name, phase, "etcd", Action::WaitEtcdMembers { members, timeout_s }, vec![id]);
        }
        Ok(())
    }

    /// A kubelet that starts takes every pod with a readiness probe for not ready until it has asked it (1.20 says so to
    /// the API at once), and all of a Service's may be on this node: so it is emptied first.
    fn kubelet(&mut self, node: &Node, phase: PhaseId) -> Result<StepId> {
        let inv = self.input.inv;
        let timeout_s = inv.upgrade.gate_timeout_s;
        let (name, through) = (node.name.clone(), self.voice.to_owned());
        let with = || When::AlwaysWith(vec![format!("{}/{}/kubelet", phase.as_str(), node.name)]);
        let version = inv.version_name();
        let cordon = Action::Cordon { node: name.clone(), version, through: through.clone() };
        self.add(&name, phase, "cordon", cordon, "no new pods while its kubelet restarts", with());
        let drain = Action::Drain {
            node: name.clone(),
            through: through.clone(),
            timeout_s: inv.upgrade.drain.timeout_s,
            grace_s: inv.upgrade.drain.grace_s,
            unfinished: inv.upgrade.drain.unfinished,
        };
        self.add(&name, phase, "drain", drain, "its pods move as their disruption budgets allow", with());
        self.runtime(node, phase)?;
        let action = Action::KubeletSettings {
            node: node.name.clone(),
            through: through.clone(),
            wanted: KubeletSettings::wanted(inv, node)?.text()?,
            timeout_s,
        };
        let why = "its arguments or its configuration are not what the inventory asks for";
        self.add(&name, phase, "kubelet", action, why, When::Drift);
        if node.role.is_control_plane() {
            let address = node.address.to_string();
            let healthy = Action::WaitControlPlane { node: name.clone(), address, timeout_s };
            let either = vec![format!("{}/{}/kubelet", phase.as_str(), node.name), runtime_id(phase, node)];
            self.wait(&name, phase, "healthy", healthy, either);
        }
        let uncordon = Action::Uncordon { node: name.clone(), through, ends: true };
        Ok(self.add(&name, phase, "uncordon", uncordon, "only what was cordoned for this is let go", with()))
    }

    /// Its containers run on while containerd restarts: nothing is emptied for it. Between the drain and the kubelet, when
    /// that is given something too: both have to agree on the cgroup driver.
    fn runtime(&mut self, node: &Node, phase: PhaseId) -> Result<()> {
        if !has_runtime_turn(self.input, node) || self.input.new_runtime.contains(&node.name) {
            return Ok(());
        }
        let (config, unit) = containerd_texts(self.input, &node.name)?;
        let action = Action::RuntimeSettings {
            node: node.name.clone(),
            through: self.voice.to_owned(),
            config,
            unit,
            timeout_s: self.input.inv.upgrade.gate_timeout_s,
        };
        let why = "containerd's settings, its unit or what it was started with are not what is wanted";
        self.add(&node.name, phase, "containerd", action, why, When::Drift);
        Ok(())
    }

    fn proxy(&mut self, speaker: &Node) -> Result<()> {
        let inv = self.input.inv;
        let wanted = ClusterSettings::proxy_text(inv)?;
        let action = Action::ProxySettings {
            config: settings_documents(inv, speaker, &self.input.images)?,
            wanted: wanted.clone(),
            kubelet_map: self.kubelet_map.clone(),
            timeout_s: inv.upgrade.gate_timeout_s,
        };
        let (phase, why) = (PhaseId::SettingsWorker, "its configuration is not what the inventory asks for");
        self.add(self.voice, phase, "kube-proxy", action, why, When::Drift);
        let planes = self.planes;
        for node in planes.iter().filter(|n| n.name != speaker.name) {
            let action = Action::WriteFile { path: PROXY_KEPT.into(), content: wanted.clone(), mode: 0o600 };
            self.add(&node.name, phase, "kept-kube-proxy", action, "any control plane may be asked next", When::Drift);
        }
        Ok(())
    }
}
