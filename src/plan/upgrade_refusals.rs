//! What forbids to take a running cluster to the version that the inventory asks for. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::parts::Parts;
use super::upgrade_steps::{in_pools, upgrading};
use crate::bundle::{ArtifactKind, BundleManifest};
use crate::error::{Error, Result};
use crate::facts::Facts;
use crate::inventory::{EtcdMode, Inventory, Unfinished};
use crate::kubeadm::CLUSTER_ADMINS_SINCE;
use crate::resource::{is_marked, plain_version};
use crate::upgrade::{InUse, Running, dropped, etcd_refusals, never, refusals, without_room};
use crate::version::{KubeVersion, Release};

/// Refuses an upgrade, before anything moves, with every reason there is. Nothing to say when there is no upgrade.
pub(super) fn refuse_upgrade(inv: &Inventory, bundle: &BundleManifest, facts: &Facts) -> Result<()> {
    let wanted = inv.version_name();
    let objects: Vec<_> = facts.nodes.iter().flatten().collect();
    let target: KubeVersion = inv.cluster.version.parse()?;
    let running = running(inv, bundle, facts)?;
    if objects.iter().all(|o| plain_version(&o.kubelet_version) == wanted) {
        // No upgrade of Kubernetes, or no cluster yet: another etcd may come all the same.
        let found: Vec<_> = etcd_refusals(&running, target, inv).into_iter().map(|r| (r.reason, r.way_out)).collect();
        return refuse("the etcd of the inventory", &found);
    }
    let mut found: Vec<(String, String)> = Vec::new();
    let mut add = |reason: String, way_out: &str| found.push((reason, way_out.to_owned()));
    // One that is not Ready because its own upgrade stopped halfway is what the next run goes on with.
    for object in objects.iter().filter(|o| !o.ready && !is_marked(o)) {
        add(
            format!("node {} is not Ready", object.name),
            "an upgrade begins with a healthy cluster: mend the node, or take it out of the cluster",
        );
    }
    if inv.etcd.is_ours() && facts.etcd.is_none() {
        add("etcd does not answer".into(), "an upgrade begins with a healthy etcd, of which a snapshot is taken");
    }
    let own: BTreeSet<&str> = inv.hosts.iter().map(|h| h.name.as_str()).collect();
    for other in objects.iter().filter(|o| !own.contains(o.name.as_str()) && o.is_control_plane()) {
        add(
            format!("control plane {} is not in the inventory and would stay at {}", other.name, other.kubelet_version),
            "put it into the inventory, or take it out of the cluster",
        );
    }
    let oldest = running.api_servers.values().chain(running.kubelets.values()).min().copied();
    let crosses = |from: KubeVersion| from.minor < CLUSTER_ADMINS_SINCE && target.minor >= CLUSTER_ADMINS_SINCE;
    if inv.certificates.is_external() && oldest.is_some_and(crosses) {
        add(
            format!(
                "the upgrade to 1.{CLUSTER_ADMINS_SINCE} has kubeadm sign an admin of another group, and somebody else keeps the CAs"
            ),
            "build a new cluster of that version with these CAs, and move the workloads",
        );
    }
    let mut judged = refusals(&running, target, inv);
    judged.extend(oldest.map(|from| dropped(from, target, &InUse::of(inv))).transpose()?.unwrap_or_default());
    let behind = upgrading(inv, facts);
    judged.extend(without_room(&in_pools(&inv.workers(), facts), &inv.upgrade, &behind));
    match &facts.budgets {
        // Pods that may be deleted in the end do not stand in the way.
        Some(budgets) if inv.upgrade.drain.unfinished != Unfinished::Force => {
            judged.extend(never(budgets, &behind));
        }
        Some(_) => {}
        None => add(
            "the disruption budgets of the cluster could not be read".into(),
            "`kubectl get poddisruptionbudgets,pods -A` on a control plane says why",
        ),
    }
    found.extend(judged.into_iter().map(|r| (r.reason, r.way_out)));
    refuse(&format!("the upgrade to {wanted}"), &found)
}

fn running(inv: &Inventory, bundle: &BundleManifest, facts: &Facts) -> Result<Running> {
    let version = |text: &str| plain_version(text).trim_start_matches('v').parse::<KubeVersion>().ok();
    let objects = || facts.nodes.iter().flatten();
    let members: BTreeSet<&str> = objects().map(|o| o.name.as_str()).collect();
    let hosts = || facts.hosts.iter().filter(|(name, _)| members.contains(name.as_str()));
    let brought = inv.cluster.arch.first().and_then(|arch| bundle.find(ArtifactKind::Archive, "containerd", *arch));
    let brought = brought.and_then(|a| a.version.parse::<Release>().ok());
    let release = |text: &str| text.parse::<Release>().ok();
    let ours = !inv.etcd.hosts.is_empty();
    let next_etcd = match inv.etcd.mode {
        EtcdMode::Stacked => Parts::new(inv, bundle).cluster_images()?.etcd_tag.and_then(|t| release(&t)),
        EtcdMode::External if ours => {
            let archive = inv.cluster.arch.first().and_then(|arch| bundle.find(ArtifactKind::Archive, "etcd", *arch));
            archive.and_then(|a| release(&a.version))
        }
        EtcdMode::External => None,
    };
    let etcd: BTreeMap<String, Release> = match inv.etcd.mode {
        EtcdMode::Stacked => {
            hosts().filter_map(|(name, h)| Some((name.clone(), release(h.upgrade.etcd.as_ref()?)?))).collect()
        }
        EtcdMode::External if ours => facts
            .hosts
            .iter()
            .filter_map(|(name, h)| {
                let member = h.etcd.as_ref().filter(|e| e.data)?;
                Some((name.clone(), release(member.version.as_ref()?)?))
            })
            .collect(),
        EtcdMode::External => facts
            .hosts
            .values()
            .flat_map(|h| &h.external_etcd)
            .filter_map(|(endpoint, version)| Some((endpoint.clone(), release(version)?)))
            .collect(),
    };
    Ok(Running {
        api_servers: hosts()
            .filter_map(|(name, h)| Some((name.clone(), version(h.upgrade.components.get("kube-apiserver")?)?)))
            .collect(),
        kubelets: objects().filter_map(|o| Some((o.name.clone(), version(&o.kubelet_version)?))).collect(),
        etcd,
        next_etcd,
        containerd: objects()
            .filter_map(|o| Some((o.name.clone(), brought.or_else(|| o.runtime.parse().ok())?)))
            .collect(),
        cgroups: hosts().map(|(name, h)| (name.clone(), h.cgroup)).collect(),
    })
}

fn refuse(what: &str, found: &[(String, String)]) -> Result<()> {
    if found.is_empty() {
        return Ok(());
    }
    let lines: String = found.iter().map(|(reason, _)| format!("\n  {reason}")).collect();
    let error = Error::refused(format!("{what} is refused; nothing was changed:{lines}"));
    Err(found.iter().map(|(_, way_out)| way_out).fold(error, |e, way_out| e.hint(way_out.clone())))
}
