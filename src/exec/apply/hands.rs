//! The engine's [`Runner`] over real hosts.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::context::Context;
use super::dispatch::apply;
use crate::error::Result;
use crate::exec::{Runner, StepNote};
use crate::host::{Answer, Probe};
use crate::plan::{Action, Step};
use crate::resource::{probes, satisfied};

/// How many coming uploads are asked about at once.
const UPLOADS_AHEAD: usize = 64;

/// The engine's hands on real (or fake) hosts.
///
/// Every step is looked at, done, and looked at again. A look costs a round trip, so the look after a step also asks
/// what the next step of that host will want to know. Such an answer holds until the next change on the host: then it
/// is thrown away and asked for again.
pub struct HostRunner {
    context: Context,
    /// The steps of each host in their order, and the place of each step there.
    by_host: BTreeMap<String, Vec<Step>>,
    place: HashMap<String, usize>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Steps whose change was made in this run.
    applied: BTreeSet<String>,
    /// Answers that were asked for ahead, by host and step.
    ahead: HashMap<String, HashMap<String, Vec<Answer>>>,
}

impl HostRunner {
    /// A runner for these steps.
    #[must_use]
    pub fn new(context: Context, steps: &[Step]) -> Self {
        let mut by_host: BTreeMap<String, Vec<Step>> = BTreeMap::new();
        let mut place = HashMap::new();
        for step in steps {
            let own = by_host.entry(step.host.clone()).or_default();
            place.insert(step.id.clone(), own.len());
            own.push(step.clone());
        }
        Self { context, by_host, place, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The steps to ask about together with this one.
    fn companions(&self, step: &Step, looks_again: bool) -> &[Step] {
        let (Some(steps), Some(at)) = (self.by_host.get(&step.host), self.place.get(&step.id)) else { return &[] };
        let rest = &steps[at + 1..];
        if is_upload(step) {
            // Uploads do not disturb one another: one question does for all of them.
            let more = rest.iter().take(UPLOADS_AHEAD).take_while(|s| is_upload(s)).count();
            return &rest[..more];
        }
        // Before a change there is no use in it: the change throws the answer away. Nor for a later phase, which may be
        // minutes off, nor for what other hosts have a hand in.
        let next = looks_again && rest.first().is_some_and(|s| s.phase == step.phase && is_local(&s.action));
        &rest[..usize::from(next)]
    }
}

fn is_upload(step: &Step) -> bool {
    matches!(step.action, Action::PutBlob { .. })
}

/// Whether all that the action's probes ask for is the host's own.
fn is_local(action: &Action) -> bool {
    match action {
        Action::WriteFile { .. }
        | Action::RemoveFile { .. }
        | Action::WriteBlock { .. }
        | Action::LoadModule { .. }
        | Action::SetSysctl { .. }
        | Action::SwapOff
        | Action::PutBlob { .. }
        | Action::InstallBlob { .. }
        | Action::UnpackBlob { .. }
        | Action::Unit { .. }
        | Action::InstallPackages { .. }
        | Action::RegistryIdentity { .. }
        | Action::RegistryTrust { .. }
        | Action::EtcdIdentity { .. }
        | Action::EtcdClient { .. }
        | Action::PlaceCertificates { .. }
        | Action::KeepVersion { .. }
        | Action::ImportImage { .. } => true,
        Action::ResetPartial { .. }
        | Action::KubeadmInit { .. }
        | Action::KubeadmJoin { .. }
        | Action::ResetHost { .. }
        | Action::NodeMeta { .. }
        | Action::ApplyManifest { .. }
        | Action::HelmRelease { .. }
        | Action::WaitNodeReady { .. }
        | Action::WaitControlPlane { .. }
        | Action::WaitStaticPods { .. }
        | Action::WaitEtcdMembers { .. }
        | Action::UpgradeAddons { .. }
        | Action::SpreadDns { .. }
        | Action::TestPodNetwork { .. }
        | Action::EtcdEnter { .. }
        | Action::EtcdSnapshot { .. }
        | Action::KubeadmUpgrade { .. }
        | Action::Cordon { .. }
        | Action::Drain { .. }
        | Action::WaitNodeVersion { .. }
        | Action::RestartPods { .. }
        | Action::Uncordon { .. }
        | Action::Evacuate { .. }
        | Action::LeaveEtcd { .. }
        | Action::ForgetNode { .. }
        | Action::UploadSettings { .. }
        | Action::ControlPlaneSettings { .. }
        | Action::KubeletSettings { .. }
        | Action::RuntimeSettings { .. }
        | Action::ProxySettings { .. }
        | Action::Gate { .. } => false,
    }
}

#[async_trait]
impl Runner for HostRunner {
    async fn satisfied(&self, step: &Step) -> Result<bool> {
        let (applied, answers) = {
            let mut state = self.state();
            let applied = state.applied.contains(&step.id);
            (applied, state.ahead.get_mut(&step.host).and_then(|h| h.remove(&step.id)))
        };
        let unseen = matches!(
            step.action,
            Action::TestPodNetwork { .. }
                | Action::RestartPods { .. }
                | Action::PutBlob { .. }
                | Action::RegistryTrust { ca: None, .. }
                | Action::EtcdClient { ca: None, .. }
                | Action::UploadSettings { .. }
        );
        if applied && unseen {
            // Nothing on the hosts shows that a test ran well, or that something was started once more. And a blob got its
            // name from the host itself, after the host had hashed what arrived; a CA that was not known before was
            // hashed there as well. What the cluster was given is compared right there; that its own kubelet has it, which
            // is what is asked before, comes later.
            return Ok(true);
        }
        if matches!(step.action, Action::TestPodNetwork { .. }) {
            return Ok(false);
        }
        if let Some(answers) = answers {
            return Ok(satisfied(&step.action, &answers));
        }
        // What is asked of another host goes alone: the companions are this host's own.
        let companions = if step.action.asks().is_some() { &[] } else { self.companions(step, applied) };
        let asked: Vec<(&Step, Vec<Probe>)> =
            std::iter::once(step).chain(companions).map(|s| (s, probes(&s.action))).collect();
        let mut batch: Vec<Probe> = Vec::new();
        for probe in asked.iter().flat_map(|(_, probes)| probes) {
            if !batch.contains(probe) {
                batch.push(probe.clone());
            }
        }
        let answers = self.context.host(step.action.asks().unwrap_or(&step.host))?.probe(&batch).await?;
        let of = |probes: &[Probe]| -> Vec<Answer> {
            let at = |p: &Probe| batch.iter().position(|b| b == p).and_then(|i| answers.get(i));
            probes.iter().filter_map(at).cloned().collect()
        };
        let mut state = self.state();
        for (companion, probes) in &asked[1..] {
            let ahead = state.ahead.entry(step.host.clone()).or_default();
            ahead.insert(companion.id.clone(), of(probes));
        }
        Ok(satisfied(&step.action, &of(&asked[0].1)))
    }

    async fn apply(&self, step: &Step, notes: &(dyn Fn(StepNote) + Send + Sync)) -> Result<()> {
        if !is_upload(step) {
            self.state().ahead.remove(&step.host);
        }
        apply(&self.context, step, notes).await?;
        self.state().applied.insert(step.id.clone());
        Ok(())
    }
}
