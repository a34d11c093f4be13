//! Raw manifests and charts onto the cluster, by way of a control plane. Pure.

use super::action::Action;
use super::desired::{Desired, HostSteps, When};
use super::model::{PhaseId, StepId};
use super::planner::Input;
use crate::bundle::{Addon, ArtifactKind};
use crate::error::{Error, Result};
use crate::resource::release_mark;
use crate::version::KubeVersion;

/// Before this minor, server-side apply refuses a port that leaves its protocol to the default, and more of that kind
/// (kubernetes/kubernetes#98576).
const SERVER_SIDE_FROM_MINOR: u32 = 22;

/// The steps, in the inventory's order, manifests first: they may bring what charts rely on. Each comes after `after`.
pub(super) fn addon_steps(input: &Input<'_>, voice: &str, after: &[StepId]) -> Result<Vec<Desired>> {
    let mut steps = HostSteps::new(voice);
    let version: KubeVersion = input.inv.cluster.version.parse()?;
    let server_side = version.minor >= SERVER_SIDE_FROM_MINOR;
    let mut add = |what: String, addon: &Addon, action: Action, why: String| {
        let id = format!("{}/{voice}/{what}", PhaseId::Addons.as_str());
        // Several releases may be of one chart.
        let blob = format!("blob-{what}");
        let put = Action::PutBlob {
            digest: addon.digest.clone(),
            size: input.parts.blob_size(&addon.digest),
            artifact: addon.name.clone(),
        };
        steps.add(PhaseId::Addons, &blob, put, format!("the node lacks what {} is made from", addon.name));
        steps.when(When::OnlyWith(vec![id]));
        steps.after(after.iter().cloned());
        steps.add(PhaseId::Addons, &what, action, why);
        steps.after(after.iter().cloned());
    };
    for manifest in &input.inv.manifests {
        let addon = find(input, ArtifactKind::Manifest, "", &manifest.name)?;
        let action = Action::ApplyManifest { name: manifest.name.clone(), digest: addon.digest.clone(), server_side };
        let why = format!("{} must be on the cluster as it is in the bundle", manifest.name);
        add(format!("manifest-{}", manifest.name), addon, action, why);
    }
    for chart in &input.inv.charts {
        let addon = find(input, ArtifactKind::Chart, &chart.namespace, &chart.name)?;
        let action = Action::HelmRelease {
            release: chart.name.clone(),
            namespace: chart.namespace.clone(),
            digest: addon.digest.clone(),
            mark: release_mark(&addon.digest, &chart.values_texts()),
            timeout_s: chart.timeout_s,
            atomic: chart.atomic,
            server_side,
        };
        let why = format!("version {} of its chart with the inventory's values", addon.version);
        add(format!("release-{}.{}", chart.namespace, chart.name), addon, action, why);
    }
    Ok(steps.into_steps())
}

fn find<'a>(input: &Input<'a>, kind: ArtifactKind, namespace: &str, name: &str) -> Result<&'a Addon> {
    let found = input.parts.addons().iter().find(|a| a.kind == kind && a.namespace == namespace && a.name == name);
    found.ok_or_else(|| {
        Error::invalid(format!("the bundle has nothing for {name}"))
            .hint("`provision bundle lock` and `provision bundle build` with this inventory make one that has")
    })
}
