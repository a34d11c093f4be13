//! A running cluster to another version: saved, control planes one at a time, workers wave by wave. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::action::Action;
use super::desired::{Desired, HostSteps, When};
use super::host_steps::{containerd_service, kube_installs, kubelet_unit, runtime_installs};
use super::model::{PhaseId, StepId};
use super::planner::Input;
use crate::error::Result;
use crate::facts::Facts;
use crate::inventory::{Inventory, Node};
use crate::kubeadm::{ImageNames, NodeObject, settings_documents};
use crate::resource::{Membership, is_marked, kept_path, plain_version};
use crate::upgrade::{Presence, Wave, Worker, waves};

/// What [`runtime_installs`] installs.
const RUNTIME: [&str; 2] = ["containerd", "runc"];

/// How long the static pods of a control plane must have run under a new kubelet before anything else begins, in seconds.
const STABLE_S: u64 = 15;

/// The phase in which a host in this role gets another version.
pub(super) fn phase_of(node: &Node) -> PhaseId {
    if node.role.is_control_plane() { PhaseId::UpgradeControlPlane } else { PhaseId::UpgradeWorker }
}

/// The members that are not, or not yet all the way, of the version that the inventory asks for.
pub(super) fn upgrading(inv: &Inventory, facts: &Facts) -> BTreeSet<String> {
    let wanted = inv.version_name();
    let members: Vec<Node> =
        inv.nodes().into_iter().filter(|n| facts.membership(inv, n) == Membership::Member).collect();
    let upgrade = |name: &str| facts.hosts.get(name).map(|h| &h.upgrade);
    let behind = |node: &Node| {
        let object = facts.nodes.iter().flatten().find(|o| o.name == node.name);
        object.is_some_and(|o| plain_version(&o.kubelet_version) != wanted || is_marked(o))
            || (node.role.is_control_plane()
                && upgrade(&node.name).is_some_and(|u| u.components.values().any(|v| *v != wanted)))
    };
    let mut all: BTreeSet<String> = members.iter().filter(|n| behind(n)).map(|n| n.name.clone()).collect();
    // What belongs to the whole cluster is behind: that is the first control plane's part.
    let configured = facts.voice.as_deref().and_then(upgrade).and_then(|u| u.configured.as_ref());
    if configured.is_some_and(|v| *v != wanted)
        && let Some(first) = members.iter().find(|n| n.role.is_control_plane())
    {
        all.insert(first.name.clone());
    }
    all
}

/// The workers that are in the cluster, each with whether it serves.
pub(super) fn in_pools<'a>(workers: &'a [Node], facts: &Facts) -> Vec<Worker<'a>> {
    let objects: HashMap<&str, &NodeObject> = facts.nodes.iter().flatten().map(|o| (o.name.as_str(), o)).collect();
    let presence = |o: &NodeObject| match (o.ready && !o.unschedulable, is_marked(o)) {
        (true, _) => Presence::Serves,
        (false, true) => Presence::Begun,
        (false, false) => Presence::Away,
    };
    workers
        .iter()
        .filter_map(|w| {
            let object = objects.get(w.name.as_str())?;
            Some(Worker { name: &w.name, pool: w.pool.as_deref(), presence: presence(object) })
        })
        .collect()
}

/// The waves of the workers that are in the cluster.
pub(super) fn worker_waves(inv: &Inventory, facts: &Facts) -> Vec<Wave> {
    waves(&in_pools(&inv.workers(), facts), &inv.upgrade)
}

/// The steps of all members that are behind, in the order in which they are done: all others come after the last.
pub(super) fn upgrade_steps(input: &Input<'_>, voice: &str, barrier: &[StepId]) -> Result<Vec<Desired>> {
    let in_turn: BTreeSet<&String> = input.upgrading.union(&input.new_runtime).collect();
    let inv = input.inv;
    let maker = Maker { input, voice, version: inv.version_name() };
    if in_turn.is_empty() {
        return maker.addons(barrier);
    }
    let planes: Vec<Node> =
        inv.control_planes().into_iter().filter(|n| input.facts.membership(inv, n) == Membership::Member).collect();
    let first = planes.first().map(|n| n.name.clone()).unwrap_or_default();
    let mut all = Vec::new();
    let mut previous: Vec<StepId> = barrier.to_vec();
    let behind: Vec<&Node> = planes.iter().filter(|n| maker.wants_kubeadm(&n.name)).collect();
    if inv.etcd.is_ours() {
        let mut snapshot = HostSteps::new(voice);
        let path = format!("/var/lib/provision/snapshots/before-{}.db", maker.version);
        let why = "what etcd holds now can be had back";
        let id = snapshot.add(PhaseId::Snapshot, "etcd", Action::EtcdSnapshot { path }, why);
        snapshot.after(previous.iter().cloned());
        let uses =
            behind.iter().map(|n| format!("{}/{}/kubeadm-upgrade", PhaseId::UpgradeControlPlane.as_str(), n.name));
        snapshot.when(When::OnlyWith(uses.collect()));
        all.extend(snapshot.into_steps());
        previous = vec![id];
    }
    // All API servers before the first kubelet: a kubelet asks any of them, and may be newer than none.
    for node in &behind {
        let steps = maker.control_plane(node, node.name == first, &previous)?;
        previous = steps.last().map(|s| vec![s.id.clone()]).unwrap_or(previous);
        all.extend(steps);
    }
    // kubeadm leaves addons as they are as long as it sees an API server of another version.
    let addons = maker.addons(&previous)?;
    previous = addons.last().map(|s| vec![s.id.clone()]).unwrap_or(previous);
    all.extend(addons);
    for node in planes.iter().filter(|n| in_turn.contains(&n.name)) {
        let steps = maker.control_plane_node(node, &previous)?;
        previous = steps.last().map(|s| vec![s.id.clone()]).unwrap_or(previous);
        all.extend(steps);
    }
    let workers = inv.workers();
    let by_name: BTreeMap<&str, &Node> = workers.iter().map(|w| (w.name.as_str(), w)).collect();
    for (number, wave) in worker_waves(inv, input.facts).into_iter().enumerate() {
        let nodes: Vec<&Node> = wave
            .nodes
            .iter()
            .filter(|n| in_turn.contains(n))
            .filter_map(|n| by_name.get(n.as_str()).copied())
            .collect();
        if nodes.is_empty() {
            continue;
        }
        let mut lasts = Vec::new();
        let mut begins = Vec::new();
        for node in &nodes {
            let steps = maker.worker(node, &previous)?;
            lasts.extend(steps.last().map(|s| s.id.clone()));
            begins.extend(
                steps.iter().filter(|s| s.id.ends_with("/cordon") || s.id.ends_with("/uncordon")).map(|s| s.id.clone()),
            );
            all.extend(steps);
        }
        let mut gate = HostSteps::new(voice);
        let kind = if wave.canary { "the canary of" } else { "a wave of" };
        let pool = wave.pool.as_deref().map_or_else(|| "the workers".to_owned(), |p| format!("pool {p}"));
        let id = gate.add(
            PhaseId::UpgradeWorker,
            &format!("gate-{}", number + 1),
            Action::Gate {
                nodes: nodes.iter().map(|n| n.name.clone()).collect(),
                version: maker.version.clone(),
                soak_s: inv.upgrade.soak_s,
                timeout_s: inv.upgrade.gate_timeout_s,
                gates: inv.upgrade.gates.clone(),
            },
            format!("{kind} {pool} must be well before the next nodes are begun"),
        );
        gate.after(lasts.into_iter().chain(previous.iter().cloned()));
        gate.when(When::DriftOrWith(begins));
        all.extend(gate.into_steps());
        previous = vec![id];
    }
    Ok(all)
}

/// Whether kubeadm has something to do on the node: one that is only marked had that before, if ever.
fn kubeadm_upgrades(input: &Input<'_>, name: &str) -> bool {
    let version = input.inv.version_name();
    let found = input.facts.hosts.get(name).map(|h| &h.upgrade);
    let was = found.is_some_and(|u| u.mark.as_ref() == Some(&version));
    let object = input.facts.nodes.iter().flatten().find(|o| o.name == name);
    let same = object.is_some_and(|o| plain_version(&o.kubelet_version) == version)
        && found.is_none_or(|u| u.components.values().all(|v| *v == version));
    let configured = input.facts.voice.as_deref().and_then(|v| input.facts.hosts.get(v));
    let all = configured.and_then(|h| h.upgrade.configured.as_ref()).is_none_or(|v| *v == version);
    input.upgrading.contains(name) && (was || !same || !all)
}

/// Whether kubeadm upgrades the node in this plan, and with it gives a control plane's etcd the bundle's image.
pub(super) fn kubeadm_will_upgrade(input: &Input<'_>, name: &str) -> bool {
    let mark = input.facts.hosts.get(name).and_then(|h| h.upgrade.mark.as_ref());
    kubeadm_upgrades(input, name) && mark != Some(&input.inv.version_name())
}

struct Maker<'a> {
    input: &'a Input<'a>,
    voice: &'a str,
    version: String,
}

impl Maker<'_> {
    fn wants_kubeadm(&self, name: &str) -> bool {
        kubeadm_upgrades(self.input, name)
    }

    /// API server, controller manager, scheduler and etcd.
    fn control_plane(&self, node: &Node, first: bool, previous: &[StepId]) -> Result<Vec<Desired>> {
        let phase = PhaseId::UpgradeControlPlane;
        let timeout_s = self.input.inv.upgrade.gate_timeout_s;
        let mut steps = HostSteps::new(&node.name);
        let upgraded = self.kubeadm(node, first, None, previous, &mut steps)?;
        let healthy =
            Action::WaitControlPlane { node: node.name.clone(), address: node.address.to_string(), timeout_s };
        steps.add(phase, "healthy", healthy, "the control plane must be healthy before the next one is begun");
        steps.when(When::DriftOrWith(vec![upgraded.clone()]));
        if let Some(etcd) = self.etcd(timeout_s) {
            steps.add(phase, "etcd", etcd, "etcd must be whole before the next one is begun");
            steps.when(When::DriftOrWith(vec![upgraded]));
        }
        Ok(steps.into_steps())
    }

    /// kube-proxy and CoreDNS, where the cluster's own are not, or not known to be, of this version.
    fn addons(&self, previous: &[StepId]) -> Result<Vec<Desired>> {
        let inv = self.input.inv;
        let installed = |addon: &str| !inv.kubeadm.skip_phases.iter().any(|p| p == "addon" || p == addon);
        let proxy_tag = installed("addon/kube-proxy").then(|| self.version.clone());
        let coredns_tag = self.input.images.coredns_tag.clone().filter(|_| installed("addon/coredns"));
        let state = self.input.facts.voice.as_deref().and_then(|v| self.input.facts.hosts.get(v)).map(|h| &h.upgrade);
        // One that cannot read the cluster's own configuration says nothing of its addons either.
        let behind = state
            .is_some_and(|s| s.configured.is_some() && !s.addons_are(proxy_tag.as_deref(), coredns_tag.as_deref()));
        let Some(node) = self.input.planes.iter().find(|n| n.name == self.voice).filter(|_| behind) else {
            return Ok(Vec::new());
        };
        let mut steps = HostSteps::new(&node.name);
        let action = Action::UpgradeAddons {
            config: settings_documents(inv, node, &self.input.images)?,
            proxy_tag,
            coredns_tag,
            timeout_s: inv.upgrade.gate_timeout_s,
        };
        let why = "kube-proxy and CoreDNS follow when all control planes are upgraded";
        steps.add(PhaseId::UpgradeControlPlane, "addons", action, why);
        steps.after(previous.iter().cloned());
        Ok(steps.into_steps())
    }

    /// The kubelet below them.
    fn control_plane_node(&self, node: &Node, previous: &[StepId]) -> Result<Vec<Desired>> {
        let phase = PhaseId::UpgradeControlPlane;
        let timeout_s = self.input.inv.upgrade.gate_timeout_s;
        let mut steps = HostSteps::new(&node.name);
        self.keep_runtime(node, previous, &mut steps);
        let (cordon, service) = self.kubelet(node, previous, &mut steps)?;
        let settled = Action::WaitStaticPods { node: node.name.clone(), stable_s: STABLE_S, timeout_s };
        steps.add(phase, "settled", settled, "a new kubelet restarts static pods seconds after it has started");
        steps.when(When::DriftOrWith(vec![service.clone()]));
        let healthy =
            Action::WaitControlPlane { node: node.name.clone(), address: node.address.to_string(), timeout_s };
        steps.add(phase, "healthy-again", healthy, "the control plane must be healthy before the next one is begun");
        steps.when(When::DriftOrWith(vec![service.clone()]));
        if let Some(etcd) = self.etcd(timeout_s) {
            steps.add(phase, "etcd-again", etcd, "etcd must be whole before the next one is begun");
            steps.when(When::DriftOrWith(vec![service]));
        }
        // What is kept of one change must never be what another goes back to; a worker's is forgotten by its gate.
        let kept = Action::RemoveFile { path: kept_path(&self.version) };
        steps.add(phase, "forget", kept, "it is healthy, there is no way back any more");
        steps.when(When::DriftOrWith(vec![format!("{}/{}/keep", phase.as_str(), node.name)]));
        self.uncordon(node, true, cordon, &mut steps);
        Ok(steps.into_steps())
    }

    fn worker(&self, node: &Node, previous: &[StepId]) -> Result<Vec<Desired>> {
        let mut steps = HostSteps::new(&node.name);
        if !self.wants_kubeadm(&node.name) {
            self.keep_runtime(node, previous, &mut steps);
            let (cordon, _) = self.kubelet(node, previous, &mut steps)?;
            self.uncordon(node, false, cordon, &mut steps);
            return Ok(steps.into_steps());
        }
        let keep = steps.add(
            PhaseId::UpgradeWorker,
            "keep",
            Action::KeepVersion { version: self.version.clone(), runtime: self.input.new_runtime.contains(&node.name) },
            "so that it can go back when it does not come up",
        );
        steps.after(previous.iter().cloned());
        let binary = format!("{}/{}/kubeadm", PhaseId::UpgradeWorker.as_str(), node.name);
        steps.when(When::OnlyWith(vec![binary]));
        self.kubeadm(node, false, Some(keep), previous, &mut steps)?;
        let (cordon, _) = self.kubelet(node, &[], &mut steps)?;
        self.uncordon(node, false, cordon, &mut steps);
        Ok(steps.into_steps())
    }

    /// Where containerd or runc alone is new, a node of either role can go back: what it runs is of the same version.
    fn keep_runtime(&self, node: &Node, previous: &[StepId], steps: &mut HostSteps<'_>) {
        if self.wants_kubeadm(&node.name) || !self.goes_back(node) {
            return;
        }
        let phase = phase_of(node);
        let action = Action::KeepVersion { version: self.version.clone(), runtime: true };
        steps.add(phase, "keep", action, "so that it can go back when it is not well with it");
        steps.after(previous.iter().cloned());
        steps.when(When::OnlyWith(RUNTIME.map(|p| format!("{}/{}/{p}", phase.as_str(), node.name)).into()));
    }

    /// Whether a node that does not come up is put back: a worker, and a control plane of which kubeadm changes nothing.
    fn goes_back(&self, node: &Node) -> bool {
        if self.wants_kubeadm(&node.name) {
            !node.role.is_control_plane()
        } else {
            self.input.new_runtime.contains(&node.name)
        }
    }

    /// The new kubeadm, and what it does. Returns the id of the latter.
    fn kubeadm(
        &self,
        node: &Node,
        first: bool,
        after: Option<StepId>,
        previous: &[StepId],
        steps: &mut HostSteps<'_>,
    ) -> Result<StepId> {
        let phase = phase_of(node);
        for (artifact, action) in kube_installs(self.input, node)?.into_iter().filter(|(a, _)| a.name == "kubeadm") {
            steps.add(phase, &artifact.name, action, format!("{} {}", artifact.name, artifact.version));
        }
        steps.after(previous.iter().cloned().chain(after));
        let action = Action::KubeadmUpgrade {
            version: self.version.clone(),
            first,
            control_plane: node.role.is_control_plane(),
            ignore_preflight_errors: self.ignored(),
            images: first.then(|| self.images()),
        };
        let why = match (first, node.role.is_control_plane()) {
            (true, _) => "the first control plane, and what belongs to the whole cluster",
            (_, true) => "its control plane follows the first",
            _ => "the kubelet's configuration",
        };
        Ok(steps.add(phase, "kubeadm-upgrade", action, why))
    }

    /// Empties the node and gives it its kubelet. Returns the ids of the cordon and of the kubelet's start.
    fn kubelet(&self, node: &Node, previous: &[StepId], steps: &mut HostSteps<'_>) -> Result<(StepId, StepId)> {
        let phase = phase_of(node);
        let inv = self.input.inv;
        let (name, through) = (node.name.clone(), self.voice.to_owned());
        let binary = format!("{}/{name}/kubelet", phase.as_str());
        let service = format!("{}/{name}/kubelet-service", phase.as_str());
        let runtime =
            if self.input.new_runtime.contains(&node.name) { runtime_installs(self.input, node)? } else { Vec::new() };
        let programs = RUNTIME.map(|p| format!("{}/{name}/{p}", phase.as_str()));
        let moves: Vec<StepId> = std::iter::once(binary.clone()).chain(programs.clone()).collect();
        let cordon = Action::Cordon { node: name.clone(), version: self.version.clone(), through: through.clone() };
        let cordon = steps.add(phase, "cordon", cordon, "no new pods while its kubelet is replaced");
        steps.when(When::OnlyWith(moves.iter().cloned().chain([service]).collect()));
        steps.after(previous.iter().cloned());
        let drain = Action::Drain {
            node: name.clone(),
            through: through.clone(),
            timeout_s: inv.upgrade.drain.timeout_s,
            grace_s: inv.upgrade.drain.grace_s,
            unfinished: inv.upgrade.drain.unfinished,
        };
        steps.add(phase, "drain", drain, "its pods move as their disruption budgets allow");
        // Pods that were on other nodes when the plan was made may be here by then.
        steps.when(When::AlwaysWith(moves));
        if !runtime.is_empty() {
            for (what, action, why) in runtime {
                steps.add(phase, &what, action, why);
            }
            steps.add(phase, "containerd-service", containerd_service(), "containerd runs with what is installed");
            // What it runs its containers with is looked at anew by the kubelet when that starts.
            steps.when(When::DriftOrWith(programs.into()));
        }
        for (artifact, action) in kube_installs(self.input, node)?.into_iter().filter(|(a, _)| a.name != "kubeadm") {
            steps.add(phase, &artifact.name, action, format!("{} {}", artifact.name, artifact.version));
        }
        let service =
            steps.add(phase, "kubelet-service", kubelet_unit(true), "the kubelet runs with what is installed");
        steps.when(When::DriftOrWith(vec![binary, format!("{}/{}/containerd-service", phase.as_str(), node.name)]));
        let wait = Action::WaitNodeVersion {
            node: name,
            version: self.version.clone(),
            through,
            timeout_s: inv.upgrade.gate_timeout_s,
            rollback: self.goes_back(node),
        };
        steps.add(phase, "version", wait, "the node must come up with it");
        steps.when(When::DriftOrWith(vec![service.clone()]));
        Ok((cordon, service))
    }

    fn uncordon(&self, node: &Node, ends: bool, cordon: StepId, steps: &mut HostSteps<'_>) {
        let action = Action::Uncordon { node: node.name.clone(), through: self.voice.to_owned(), ends };
        steps.add(phase_of(node), "uncordon", action, "it is healthy; only what was cordoned for this is let go");
        steps.when(When::DriftOrWith(vec![cordon]));
    }

    /// What the user lets kubeadm ignore, and what it cannot know: that a phase which was skipped from the start is not
    /// missing now.
    fn ignored(&self) -> Vec<String> {
        let kubeadm = &self.input.inv.kubeadm;
        let mut all = kubeadm.ignore_preflight_errors.clone();
        if kubeadm.skip_phases.iter().any(|p| matches!(p.as_str(), "addon" | "addon/coredns")) {
            // Of CoreDNS neither a configuration to migrate nor an image is there. All other images are: phase images
            // looks at each.
            all.extend(["CoreDNSUnsupportedPlugins", "CoreDNSMigration", "ImagePull"].map(str::to_owned));
        }
        all.dedup();
        all
    }

    fn images(&self) -> ImageNames {
        let images = self.input.images.clone();
        ImageNames { repository: images.repository, etcd_tag: images.etcd_tag, coredns_tag: images.coredns_tag }
    }

    fn etcd(&self, timeout_s: u64) -> Option<Action> {
        let ours = self.input.inv.etcd.is_ours();
        let known = self.input.facts.etcd.iter().flatten().map(|m| m.name.clone());
        ours.then(|| Action::WaitEtcdMembers { members: known.collect(), timeout_s })
    }
}
