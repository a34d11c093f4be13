//! The two functions that the planner and the engine share.

use super::addons::{is_released, manifest_probe, release_probe};
use super::cluster::{control_plane_health, control_plane_probe, etcd_probe, nodes_probe};
use super::dns::{dns_probe, is_spread};
use super::etcd::{
    etcd_client_probe, etcd_host_probe, etcd_identity_probe, is_client_whole, is_entered, is_member_whole,
};
use super::file::{block_of, is_file, text};
use super::leave::{has_left_etcd, is_evacuated, is_forgotten, kubeadm_status_probe};
use super::node_state::{Membership, membership, node_state, node_state_probe};
use super::packages::{packages_are_there, packages_probe};
use super::pki::{is_placed, placed_probe};
use super::registry::{REGISTRY_CA, is_whole, registry_probe};
use super::settings;
use super::shell::shell_probe;
use super::static_pods::{restless, static_pods_probes};
use super::system::{ModuleState, module_probe, module_state, swap_is_off};
use super::unit::is_as_wanted;
use super::upgrade::{
    are_through, is_at_version, is_cordoned, is_released as is_let_go, is_upgraded, movable_pods, pods_probe,
    snapshot_probe, upgrade_probe, upgrade_state,
};
use crate::bundle::Digest;
use crate::host::{Answer, NODE_BLOB_DIR, Probe};
use crate::kubeadm;
use crate::plan::Action;

/// The namespace of the test pods; it is there only while a test runs or after one failed.
pub(crate) const VERIFY_NAMESPACE: &str = "provision-verify";

/// The read-only questions whose answers [`satisfied`] judges, in its order.
#[must_use]
pub fn probes(action: &Action) -> Vec<Probe> {
    match action {
        // The content is asked for, not only the digest, so that the plan can show a diff.
        Action::WriteFile { path, .. } | Action::WriteBlock { path, .. } => vec![Probe::Content(path.clone())],
        Action::RemoveFile { path } => vec![Probe::File(path.clone())],
        Action::LoadModule { module } => vec![module_probe(module)],
        Action::SetSysctl { key, .. } => vec![Probe::Sysctl(key.clone())],
        Action::SwapOff => vec![shell_probe("swap", &[])],
        Action::PutBlob { digest, .. } => vec![Probe::Blob(digest.clone())],
        Action::InstallBlob { path, .. } => vec![Probe::File(path.clone())],
        Action::UnpackBlob { members, .. } => members.iter().map(|m| Probe::File(m.path.clone())).collect(),
        Action::InstallPackages { manager, set, .. } => vec![packages_probe(*manager, set)],
        Action::Unit { name, started_after, .. } => std::iter::once(Probe::Unit(name.clone()))
            .chain(started_after.iter().map(|f| Probe::File(f.clone())))
            .collect(),
        Action::ImportImage { .. } => vec![Probe::Images],
        Action::RegistryIdentity { .. } => vec![registry_probe()],
        Action::EtcdIdentity { .. } => vec![etcd_identity_probe()],
        Action::EtcdClient { .. } => vec![etcd_client_probe()],
        Action::PlaceCertificates { placed } => vec![placed_probe(placed)],
        Action::EtcdEnter { .. } => vec![etcd_host_probe()],
        Action::RegistryTrust { .. } => vec![Probe::File(REGISTRY_CA.into())],
        Action::ResetPartial { node, .. }
        | Action::KubeadmInit { node, .. }
        | Action::KubeadmJoin { node, .. }
        | Action::ResetHost { node, files: _, units: _, dirs: _ } => {
            let mut all = vec![node_state_probe(node)];
            if let Action::ResetHost { files, dirs, .. } = action {
                all.extend(files.iter().chain(dirs).map(|p| Probe::File(p.clone())));
            }
            all
        }
        Action::NodeMeta { .. }
        | Action::WaitNodeReady { .. }
        | Action::Cordon { .. }
        | Action::WaitNodeVersion { .. }
        | Action::Uncordon { .. }
        | Action::Gate { .. } => vec![nodes_probe()],
        Action::Evacuate { node, .. } => vec![nodes_probe(), pods_probe(node)],
        Action::LeaveEtcd { .. } => vec![etcd_probe()],
        Action::ForgetNode { node } => vec![nodes_probe(), pods_probe(node), kubeadm_status_probe()],
        Action::UploadSettings { .. }
        | Action::ControlPlaneSettings { .. }
        | Action::KubeletSettings { .. }
        | Action::RuntimeSettings { .. }
        | Action::ProxySettings { .. } => settings::settings_probes(action),
        Action::EtcdSnapshot { path } => vec![snapshot_probe(path)],
        Action::KeepVersion { version, .. } => vec![Probe::File(kept_path(version))],
        Action::KubeadmUpgrade { .. } | Action::UpgradeAddons { .. } => vec![upgrade_probe()],
        Action::WaitStaticPods { node, .. } => static_pods_probes(node),
        Action::Drain { node, .. } => vec![pods_probe(node)],
        Action::WaitControlPlane { address, .. } => vec![control_plane_probe(address)],
        Action::WaitEtcdMembers { .. } => vec![etcd_probe()],
        // Nothing tells a restarted one from another: it is done whenever it is planned.
        Action::RestartPods { .. } => vec![Probe::Unit("kubelet.service".into())],
        Action::SpreadDns { .. } => vec![nodes_probe(), dns_probe()],
        Action::TestPodNetwork { .. } => vec![shell_probe("namespace", &[VERIFY_NAMESPACE])],
        Action::ApplyManifest { digest, server_side, .. } => vec![manifest_probe(digest, *server_side)],
        Action::HelmRelease { release, namespace, .. } => vec![release_probe(release, namespace)],
    }
}

/// Whether `answers` (to [`probes`] of the same action) say that nothing is left to do. A missing or unreadable answer
/// is never satisfaction.
#[must_use]
pub fn satisfied(action: &Action, answers: &[Answer]) -> bool {
    let Some(first) = answers.first() else {
        return false;
    };
    match action {
        Action::WriteFile { content, mode, .. } => is_file(first, &Digest::of(content.as_bytes()), *mode),
        Action::RemoveFile { .. } => *first == Answer::Absent,
        Action::WriteBlock { marker, lines, .. } => {
            text(first).and_then(|t| block_of(&t, marker)).unwrap_or_default() == *lines
        }
        Action::LoadModule { .. } => module_state(first) == ModuleState::Present,
        Action::SetSysctl { value, .. } => matches!(first, Answer::Sysctl(v) if v == value),
        Action::SwapOff => swap_is_off(first),
        Action::PutBlob { size, .. } => matches!(first, Answer::Blob(s) if s == size),
        Action::InstallBlob { digest, mode, .. } => is_file(first, digest, *mode),
        Action::UnpackBlob { members, .. } => {
            answers.len() == members.len() && members.iter().zip(answers).all(|(m, a)| is_file(a, &m.digest, m.mode))
        }
        Action::InstallPackages { manager, names, set } => packages_are_there(first, *manager, names, set),
        Action::Unit { enabled, active, .. } => is_as_wanted(first, *enabled, *active, &answers[1..]),
        Action::ImportImage { name, manifest, .. } => {
            matches!(first, Answer::Images(images) if images.get(name) == Some(&manifest.to_string()))
        }
        Action::RegistryIdentity { names, ca, .. } => is_whole(first, names, ca.as_ref()),
        Action::EtcdIdentity { names, ca, .. } => is_member_whole(first, names, ca.as_ref()),
        Action::EtcdClient { ca, .. } => is_client_whole(first, ca.as_ref()),
        Action::PlaceCertificates { .. } => is_placed(first),
        Action::EtcdEnter { .. } => is_entered(first),
        // One that is not made yet cannot be there.
        Action::RegistryTrust { ca, .. } => ca.as_ref().is_some_and(|ca| is_file(first, ca, 0o644)),
        Action::ResetPartial { .. } => {
            let state = node_state(first);
            state.running.is_none()
                && !(state.kubelet_conf
                    || state.bootstrap_conf
                    || state.admin_conf
                    || state.etcd_data
                    || !state.ca.is_empty())
                && state.manifests.is_empty()
        }
        Action::KubeadmInit { cluster, stacked, .. } => {
            membership(&node_state(first), cluster, true, *stacked) == Membership::Member
        }
        Action::KubeadmJoin { cluster, stacked, control_plane, .. } => {
            membership(&node_state(first), cluster, *control_plane, *stacked) == Membership::Member
        }
        Action::ResetHost { .. } => {
            let state = node_state(first);
            !state.kubelet_conf && state.manifests.is_empty() && answers[1..].iter().all(|a| *a == Answer::Absent)
        }
        Action::NodeMeta { node, labels, taints, remove_taints } => node_object(first, node).is_some_and(|n| {
            labels.iter().all(|(k, v)| n.labels.get(k) == Some(v))
                && taints.iter().all(|t| n.taints.iter().any(|have| same_taint(have, t)))
                && !remove_taints.iter().any(|t| n.taints.iter().any(|have| same_taint(have, t)))
        }),
        Action::WaitNodeReady { node, .. } => node_object(first, node).is_some_and(|n| n.ready),
        Action::WaitControlPlane { .. } => {
            control_plane_health(first).is_some_and(|h| h.len() == 3 && h.iter().all(|(_, v)| v == "ok"))
        }
        Action::WaitEtcdMembers { members, .. } => etcd_is_whole(first, members),
        Action::RestartPods { .. } => false,
        Action::SpreadDns { .. } => is_spread(answers),
        Action::TestPodNetwork { .. } => {
            matches!(first, Answer::Shell { code: 0, stdout, .. } if stdout.trim().is_empty())
        }
        Action::ApplyManifest { .. } => matches!(first, Answer::Shell { code: 0, .. }),
        Action::HelmRelease { mark, .. } => is_released(first, mark),
        Action::EtcdSnapshot { .. } => matches!(first, Answer::Shell { code: 0, .. }),
        Action::KeepVersion { .. } => matches!(first, Answer::File(_)),
        Action::KubeadmUpgrade { version, first: applies, control_plane, .. } => {
            is_upgraded(first, version, *applies, *control_plane)
        }
        Action::UpgradeAddons { proxy_tag, coredns_tag, .. } => {
            upgrade_state(first).addons_are(proxy_tag.as_deref(), coredns_tag.as_deref())
        }
        Action::WaitStaticPods { stable_s, .. } => restless(answers, *stable_s).is_none(),
        Action::Cordon { node, version, .. } => is_cordoned(first, node, version),
        Action::Drain { .. } => movable_pods(first).is_some_and(|pods| pods.is_empty()),
        Action::WaitNodeVersion { node, version, .. } => is_at_version(first, node, version),
        Action::Uncordon { node, ends, .. } => is_let_go(first, node, *ends),
        Action::UploadSettings { .. }
        | Action::ControlPlaneSettings { .. }
        | Action::KubeletSettings { .. }
        | Action::RuntimeSettings { .. }
        | Action::ProxySettings { .. } => settings::has_settings(action, answers),
        Action::Gate { nodes, .. } => are_through(first, nodes),
        Action::Evacuate { node, .. } => is_evacuated(answers, node),
        Action::LeaveEtcd { node, address, healthy, .. } => has_left_etcd(first, node, *address, healthy),
        Action::ForgetNode { node } => is_forgotten(answers, node),
    }
}

/// The list of what a rollback from `version` puts back.
#[must_use]
pub(crate) fn kept_path(version: &str) -> String {
    format!("/var/lib/provision/upgrade/before-{version}")
}

/// The path of a blob in the node's content store.
#[must_use]
pub(crate) fn blob_path(digest: &Digest) -> String {
    format!("{NODE_BLOB_DIR}/{}", digest.hex())
}

/// The node object of this name in an answer that lists them.
pub(crate) fn node_object(answer: &Answer, node: &str) -> Option<kubeadm::NodeObject> {
    match answer {
        Answer::Shell { code: 0, stdout, .. } => kubeadm::nodes(stdout).ok()?.into_iter().find(|n| n.name == node),
        _ => None,
    }
}

/// `key=value:Effect` and `key:Effect` (no value) are the same taint when the value is empty.
pub(crate) fn same_taint(a: &str, b: &str) -> bool {
    let plain = |t: &str| t.replacen("=:", ":", 1);
    plain(a) == plain(b)
}

fn etcd_is_whole(answer: &Answer, wanted: &[String]) -> bool {
    let Answer::Shell { code: 0, stdout, .. } = answer else {
        return false;
    };
    let mut lines = stdout.lines().filter(|l| !l.trim().is_empty());
    let Some(members) = lines.next().and_then(|l| kubeadm::etcd_members(l).ok()) else {
        return false;
    };
    let healthy = lines.next().is_some_and(|l| kubeadm::etcd_health(l).is_ok_and(|h| h.iter().all(|e| e.healthy)));
    let mut names: Vec<&str> = members.iter().map(|m| m.name.as_str()).collect();
    let mut wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    names.sort_unstable();
    wanted.sort_unstable();
    healthy && names == wanted && members.iter().all(|m| !m.learner)
}
