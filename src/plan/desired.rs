//! Every action a host would need if nothing were on it, in order, with what must come before. Pure.

use super::action::Action;
use super::model::{Disruption, PhaseId, StepId};

/// When a wanted action becomes a step of the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum When {
    /// When the host is not as it wants it.
    Drift,
    /// When the host is not as it wants it, or when any of these becomes a step (they undo it or make it stale).
    DriftOrWith(Vec<StepId>),
    /// Only when any of these becomes a step, and the host is not as it wants it.
    OnlyWith(Vec<StepId>),
    /// Whenever any of these becomes a step, whatever the host looks like now.
    AlwaysWith(Vec<StepId>),
}

/// An action that somebody may need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// The id of the step it becomes.
    pub id: StepId,
    /// Its phase.
    pub phase: PhaseId,
    /// Its host.
    pub host: String,
    /// What would be done.
    pub action: Action,
    /// Why, in a few words.
    pub reason: String,
    /// What it disturbs.
    pub disruption: Disruption,
    /// What must be done before, beside the host's own earlier steps.
    pub after: Vec<StepId>,
    /// When it becomes a step.
    pub when: When,
}

/// Collects the actions of one host in order; each comes after the one before it.
pub(super) struct HostSteps<'a> {
    host: &'a str,
    steps: Vec<Desired>,
}

impl<'a> HostSteps<'a> {
    pub(super) fn new(host: &'a str) -> Self {
        Self { host, steps: Vec::new() }
    }

    /// Adds an action and returns its id. `what` makes the id unique within phase and host.
    pub(super) fn add(&mut self, phase: PhaseId, what: &str, action: Action, reason: impl Into<String>) -> StepId {
        let id = format!("{}/{}/{what}", phase.as_str(), self.host);
        let after = self.steps.last().map(|s| vec![s.id.clone()]).unwrap_or_default();
        self.steps.push(Desired {
            id: id.clone(),
            phase,
            host: self.host.to_owned(),
            disruption: disruption(&action),
            action,
            reason: reason.into(),
            after,
            when: When::Drift,
        });
        id
    }

    /// Changes when the action added last becomes a step.
    pub(super) fn when(&mut self, when: When) {
        if let Some(last) = self.steps.last_mut() {
            last.when = when;
        }
    }

    /// Makes the action added last wait for more.
    pub(super) fn after(&mut self, ids: impl IntoIterator<Item = StepId>) {
        if let Some(last) = self.steps.last_mut() {
            last.after.extend(ids);
        }
    }

    /// Makes the action of this id wait for more.
    pub(super) fn after_of(&mut self, id: &str, ids: impl IntoIterator<Item = StepId>) {
        if let Some(step) = self.steps.iter_mut().find(|s| s.id == id) {
            step.after.extend(ids);
        }
    }

    /// Makes the first action wait for these; the others wait by way of it, and a large cluster has many of both.
    pub(super) fn first_after(&mut self, ids: &[StepId]) {
        if self.steps.len() == 1 {
            self.after(ids.iter().cloned());
        }
    }

    pub(super) fn last_id(&self) -> Option<StepId> {
        self.steps.last().map(|s| s.id.clone())
    }

    pub(super) fn ids(&self) -> Vec<StepId> {
        self.steps.iter().map(|s| s.id.clone()).collect()
    }

    pub(super) fn into_steps(self) -> Vec<Desired> {
        self.steps
    }
}

pub(super) fn disruption(action: &Action) -> Disruption {
    match action {
        Action::WaitNodeReady { .. }
        | Action::WaitControlPlane { .. }
        | Action::WaitStaticPods { .. }
        | Action::WaitEtcdMembers { .. }
        | Action::WaitNodeVersion { .. }
        | Action::TestPodNetwork { .. } => Disruption::None,
        Action::WriteFile { .. }
        | Action::RemoveFile { .. }
        | Action::WriteBlock { .. }
        | Action::LoadModule { .. }
        | Action::SetSysctl { .. }
        | Action::SwapOff
        | Action::PutBlob { .. }
        | Action::InstallBlob { .. }
        | Action::UnpackBlob { .. }
        | Action::InstallPackages { .. }
        | Action::ImportImage { .. }
        | Action::RegistryIdentity { .. }
        | Action::RegistryTrust { .. }
        | Action::EtcdIdentity { .. }
        | Action::EtcdClient { .. }
        | Action::PlaceCertificates { .. }
        | Action::NodeMeta { .. }
        | Action::ApplyManifest { .. }
        | Action::HelmRelease { .. }
        | Action::EtcdSnapshot { .. }
        | Action::KeepVersion { .. }
        | Action::Cordon { .. }
        | Action::Uncordon { .. }
        | Action::UploadSettings { .. }
        | Action::Gate { .. } => Disruption::Quiet,
        Action::Unit { .. }
        | Action::KubeadmUpgrade { .. }
        | Action::UpgradeAddons { .. }
        | Action::RestartPods { .. }
        | Action::ControlPlaneSettings { .. }
        | Action::KubeletSettings { .. }
        | Action::RuntimeSettings { .. }
        | Action::ProxySettings { .. } => Disruption::RestartsService,
        Action::Drain { .. } | Action::Evacuate { .. } | Action::SpreadDns { .. } => Disruption::MovesPods,
        Action::EtcdEnter { .. }
        | Action::KubeadmInit { .. }
        | Action::KubeadmJoin { .. }
        | Action::LeaveEtcd { .. }
        | Action::ForgetNode { .. } => Disruption::Membership,
        Action::ResetPartial { .. } | Action::ResetHost { .. } => Disruption::Destructive,
    }
}
