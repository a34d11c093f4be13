//! The plan that makes hosts bare. Pure.

use super::action::Action;
use super::backup_steps::SNAPSHOT_TIMER;
use super::host_steps::ROUTES_UNIT;
use super::model::{Disruption, PhaseId, Plan, Step};
use super::registry_steps::REGISTRY_UNIT;
use crate::inventory::Inventory;
use crate::resource::ETCD_UNIT;

/// Everything of ours on a host, as files: what is shared with others is never removed as a whole directory.
const FILES: &[&str] = &[
    "/etc/systemd/system/containerd.service",
    "/etc/systemd/system/kubelet.service",
    "/etc/systemd/system/kubelet.service.d/10-kubeadm.conf",
    "/etc/systemd/system/provision-pod-routes.service",
    "/etc/systemd/system/provision-registry.service",
    "/etc/systemd/system/provision-etcd-snapshot.service",
    "/etc/systemd/system/provision-etcd-snapshot.timer",
    "/usr/local/bin/provision",
    "/etc/sysctl.d/90-provision.conf",
    "/etc/modules-load.d/provision.conf",
    "/etc/apt/sources.list.d/provision.sources",
    "/etc/yum.repos.d/provision.repo",
    "/etc/containerd/config.toml",
    "/etc/cni/net.d/10-provision.conflist",
    "/etc/kubernetes/manifests/haproxy.yaml",
    "/etc/kubernetes/manifests/keepalived.yaml",
    "/etc/kubernetes/manifests/kube-vip.yaml",
    "/usr/local/bin/kubeadm",
    "/usr/local/bin/kubelet",
    "/usr/local/bin/kubectl",
    "/usr/local/bin/crictl",
    "/etc/systemd/system/provision-etcd.service",
    "/usr/local/bin/etcd",
    "/usr/local/bin/etcdctl",
    "/usr/local/bin/etcdutl",
    "/usr/local/bin/helm",
    "/usr/local/bin/containerd",
    "/usr/local/bin/containerd-shim",
    "/usr/local/bin/containerd-shim-runc-v1",
    "/usr/local/bin/containerd-shim-runc-v2",
    "/usr/local/bin/containerd-stress",
    "/usr/local/bin/ctr",
    "/usr/local/sbin/runc",
];

/// Directories that hold nothing but what we or our containerd and kubelet put there.
const DIRS: &[&str] = &[
    "/etc/provision",
    "/var/lib/provision",
    "/run/provision",
    "/var/lib/containerd",
    "/run/containerd",
    "/var/lib/kubelet",
    "/var/lib/cni",
    "/opt/cni/bin",
    "/etc/kubernetes",
    // systemd's own form of a state directory whose user is made when the unit starts.
    "/var/lib/provision-etcd",
    "/var/lib/private/provision-etcd",
];

/// Makes a host bare.
pub(super) fn bare(inv: &Inventory, name: &str) -> Action {
    let mut files: Vec<String> = FILES.iter().map(|f| (*f).to_owned()).collect();
    files.extend(inv.runtime.mirrors.keys().map(|r| format!("/etc/containerd/certs.d/{r}/hosts.toml")));
    Action::ResetHost {
        node: name.to_owned(),
        files,
        units: [SNAPSHOT_TIMER, "kubelet.service", ETCD_UNIT, ROUTES_UNIT, REGISTRY_UNIT, "containerd.service"]
            .map(str::to_owned)
            .into(),
        dirs: DIRS.iter().map(|d| (*d).to_owned()).collect(),
    }
}

/// A plan that makes these hosts bare, one after the other.
#[must_use]
pub fn reset_plan(inv: &Inventory, names: &[String]) -> Plan {
    let mut steps: Vec<Step> = Vec::new();
    for name in names {
        steps.push(Step {
            id: format!("{}/{name}/bare", PhaseId::Reset.as_str()),
            phase: PhaseId::Reset,
            host: name.clone(),
            action: bare(inv, name),
            reason: "asked for".into(),
            diff: None,
            disruption: Disruption::Destructive,
            needs: steps.last().map(|s| s.id.clone()).into_iter().collect(),
        });
    }
    let mut plan = Plan::of(&inv.cluster.name, steps);
    if !inv.packages.repository.is_empty() {
        plan.warnings =
            vec!["packages that were installed stay on the hosts; the repository they came from goes".into()];
    }
    plan
}
