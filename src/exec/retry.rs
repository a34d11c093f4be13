//! Which failures are tried again, and when.

use std::time::Duration;

use crate::error::{Error, Kind, Result};
use crate::plan::Action;

use super::cancel::Cancel;

/// How often and how fast a step is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The pause before each further attempt; its length is the number of further attempts.
    pub pauses: Vec<Duration>,
}

impl Default for RetryPolicy {
    /// Three further attempts, after 1, 2 and 4 seconds.
    fn default() -> Self {
        Self { pauses: [1, 2, 4].map(Duration::from_secs).to_vec() }
    }
}

impl RetryPolicy {
    /// The pause after attempt number `attempt` (from 1) failed with `error`; `None`: give up.
    ///
    /// Only a host that could not be reached is asked again: anything else it said will not change by asking.
    #[must_use]
    pub fn pause_after(&self, attempt: u32, error: &Error) -> Option<Duration> {
        if error.kind() != Kind::Unreachable {
            return None;
        }
        let index = usize::try_from(attempt.checked_sub(1)?).ok()?;
        self.pauses.get(index).copied()
    }
}

/// Whether `action` may be done again when it is not known if it took effect. The others are looked at again, and
/// left to the next run, which plans from what it then finds.
#[must_use]
pub fn is_repeatable(action: &Action) -> bool {
    match action {
        // The package manager may still be at work there, under its own lock.
        Action::InstallPackages { .. } => false,
        Action::KubeadmInit { .. }
        | Action::KubeadmJoin { .. }
        | Action::KubeadmUpgrade { .. }
        // What went back once would go back again.
        | Action::ControlPlaneSettings { .. }
        | Action::KubeletSettings { .. }
        | Action::RuntimeSettings { .. }
        | Action::ResetHost { .. } => false,
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
        | Action::ImportImage { .. }
        | Action::ResetPartial { .. }
        | Action::RegistryIdentity { .. }
        | Action::EtcdIdentity { .. }
        | Action::EtcdClient { .. }
        | Action::PlaceCertificates { .. }
        | Action::EtcdEnter { .. }
        | Action::RegistryTrust { .. }
        | Action::NodeMeta { .. }
        | Action::ApplyManifest { .. }
        | Action::HelmRelease { .. }
        | Action::EtcdSnapshot { .. }
        | Action::KeepVersion { .. }
        | Action::Cordon { .. }
        | Action::Drain { .. }
        | Action::WaitNodeVersion { .. }
        | Action::Uncordon { .. }
        | Action::Gate { .. }
        | Action::Evacuate { .. }
        | Action::LeaveEtcd { .. }
        | Action::ForgetNode { .. }
        | Action::UploadSettings { .. }
        | Action::ProxySettings { .. }
        | Action::WaitNodeReady { .. }
        | Action::WaitControlPlane { .. }
        | Action::WaitStaticPods { .. }
        | Action::UpgradeAddons { .. }
        | Action::WaitEtcdMembers { .. }
        | Action::RestartPods { .. }
        | Action::SpreadDns { .. }
        | Action::TestPodNetwork { .. } => true,
    }
}

/// Does `attempt` until it succeeds or `policy` gives up. `again` is told the number of the coming attempt and why.
/// A stop that is requested during a pause gives up with the last error.
pub async fn with_retries<T, F>(
    policy: &RetryPolicy,
    cancel: &Cancel,
    again: impl Fn(u32, &Error),
    mut attempt: impl FnMut() -> F,
) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let mut number = 1;
    loop {
        let error = match attempt().await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let Some(pause) = policy.pause_after(number, &error) else { return Err(error) };
        tokio::select! {
            biased;
            () = cancel.requested() => return Err(error),
            () = tokio::time::sleep(pause) => {}
        }
        number += 1;
        again(number, &error);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    #[test]
    fn only_unreachable_hosts_are_asked_again_and_not_for_ever() {
        let policy = RetryPolicy::default();
        let lost = Error::unreachable("x");
        let pauses: Vec<_> = (1..=4).map(|n| policy.pause_after(n, &lost).map(|d| d.as_secs())).collect();
        assert_eq!(pauses, [Some(1), Some(2), Some(4), None]);
        for error in [Error::failed("x"), Error::invalid("x"), Error::refused("x")] {
            assert_eq!(policy.pause_after(1, &error), None);
        }
    }

    #[tokio::test]
    async fn the_last_error_comes_out_and_every_attempt_is_told() {
        let policy = RetryPolicy { pauses: vec![Duration::ZERO; 2] };
        let told = RefCell::new(Vec::new());
        let runs = Cell::new(0);
        let result: Result<()> = with_retries(
            &policy,
            &Cancel::new(),
            |n, e| told.borrow_mut().push((n, e.to_string())),
            || {
                runs.set(runs.get() + 1);
                let n = runs.get();
                async move { Err(Error::unreachable(format!("lost {n}"))) }
            },
        )
        .await;
        assert_eq!(result.map_err(|e| e.to_string()), Err("lost 3".to_owned()));
        assert_eq!(told.into_inner(), [(2, "lost 1".to_owned()), (3, "lost 2".to_owned())]);
    }

    #[tokio::test]
    async fn a_stop_ends_the_pause() {
        let cancel = Cancel::new();
        cancel.request();
        let policy = RetryPolicy { pauses: vec![Duration::from_secs(3600)] };
        let result: Result<()> =
            with_retries(&policy, &cancel, |_, _| {}, || async { Err(Error::unreachable("lost")) }).await;
        assert!(result.is_err());
    }
}
