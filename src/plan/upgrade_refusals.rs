//! What forbids to take a running cluster to the version that the inventory asks for. Pure.

use super::upgrade_steps::wanted_version;
use crate::error::{Error, Result};
use crate::facts::Facts;
use crate::inventory::Inventory;
use crate::resource::{is_marked, plain_version};
use crate::version::KubeVersion;

/// Refuses an upgrade, before anything moves, with every reason there is. Nothing to say when there is no upgrade.
pub(super) fn refuse_upgrade(inv: &Inventory, facts: &Facts) -> Result<()> {
    let wanted = wanted_version(inv);
    let objects: Vec<_> = facts.nodes.iter().flatten().collect();
    if objects.iter().all(|o| plain_version(&o.kubelet_version) == wanted) {
        return Ok(());
    }
    let target: KubeVersion = inv.cluster.version.parse()?;
    let mut found: Vec<(String, String)> = Vec::new();
    for object in &objects {
        let runs = plain_version(&object.kubelet_version).trim_start_matches('v').parse::<KubeVersion>();
        if let Ok(runs) = runs
            && !runs.may_upgrade_to(target)
        {
            found.push((
                format!("{} runs {runs}, which cannot go to {target}", object.name),
                "one minor at a time, and never back".into(),
            ));
        }
    }
    // One that is not Ready because its own upgrade stopped halfway is what the next run goes on with.
    for object in objects.iter().filter(|o| !o.ready && !is_marked(o)) {
        found.push((
            format!("node {} is not Ready", object.name),
            "an upgrade begins with a healthy cluster: mend the node, or take it out of the cluster".into(),
        ));
    }
    refuse(&wanted, &found)
}

fn refuse(wanted: &str, found: &[(String, String)]) -> Result<()> {
    if found.is_empty() {
        return Ok(());
    }
    let lines: String = found.iter().map(|(reason, _)| format!("\n  {reason}")).collect();
    let error = Error::refused(format!("the upgrade to {wanted} is refused; nothing was changed:{lines}"));
    Err(found.iter().map(|(_, way_out)| way_out).fold(error, |e, way_out| e.hint(way_out.clone())))
}
