//! What a kubelet does to the static pods of its control plane.

use chrono::DateTime;

use super::world::World;
use crate::host::Probe;
use crate::version::KubeVersion;

/// How long after its start a new kubelet comes to its static pods, in seconds.
const RESYNC_AFTER: u64 = 12;
/// How long they are down then.
const RESYNC_TAKES: u64 = 40;
/// How long whoever looks at static pods waits for the next look.
const LOOK: u64 = 75;
const COMPONENTS: [&str; 4] = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"];

impl World {
    /// Starts the kubelet of a machine. One of another minor version than before finds another hash for each of its
    /// containers, and restarts them all.
    pub(super) fn start_kubelet(&mut self, name: &str, now: u64) {
        let before = self.kubelet_version(name);
        let first = self.machines.get(name).is_none_or(|m| m.kubelet.is_none());
        if let Some(m) = self.machines.get_mut(name) {
            m.start("kubelet.service", now);
        }
        let minor = |v: &str| v.trim_start_matches('v').parse::<KubeVersion>().map(|v| v.minor).ok();
        if !first && self.etcd.contains_key(name) && minor(&before) != minor(&self.kubelet_version(name)) {
            let from = self.seconds + RESYNC_AFTER;
            self.resyncs.insert(name.to_owned(), (from, from + RESYNC_TAKES));
        }
    }

    /// Whether the machine's kubelet is restarting its static pods.
    pub(super) fn resyncs_now(&self, name: &str) -> bool {
        self.resyncs.get(name).is_some_and(|(from, to)| (*from..*to).contains(&self.seconds))
    }

    /// Time passes while somebody waits.
    pub(super) fn time_passes(&mut self, probes: &[Probe]) {
        if probes.iter().any(|p| matches!(p, Probe::Shell(text) if text.starts_with("# probe:static-pods "))) {
            self.seconds += LOOK;
        }
    }

    /// What the static-pods probe prints.
    pub(super) fn static_pods(&self, name: &str) -> String {
        let Some(m) = self.machines.get(name) else { return String::new() };
        let healthy = m.runs("kubelet.service") && self.through_admin(name).is_ok();
        let mut out = format!("now={}\nhealthz={}\n", self.seconds, if healthy { "ok" } else { "connection refused" });
        let mut pods = Vec::new();
        for c in COMPONENTS.iter().filter(|c| m.has(&format!("/etc/kubernetes/manifests/{c}.yaml"))) {
            out += &format!("manifest.{c}=yes\n");
            let (from, to) = self.resyncs.get(name).copied().unwrap_or_default();
            let started = i64::try_from(to).ok().and_then(|s| DateTime::from_timestamp(s, 0)).map(|t| t.to_rfc3339());
            let container = serde_json::json!({
                "name": c, "ready": self.seconds >= to, "state": {"running": {"startedAt": started}},
            });
            pods.push(serde_json::json!({
                "metadata": {"name": format!("{c}-{name}"), "annotations": {"kubernetes.io/config.source": "file"}},
                "spec": {"containers": [{"name": c}]},
                "status": if self.seconds < from { serde_json::json!({}) } else { serde_json::json!({"containerStatuses": [container]}) },
            }));
        }
        if healthy {
            out += &format!("pods={}\n", serde_json::json!({ "items": pods }));
        }
        out
    }

    /// Looked at after every effect.
    pub(super) fn check_static_pods(&mut self) {
        if self.resyncs.keys().any(|n| self.resyncs_now(n)) && !self.quorum() {
            self.violations.push("etcd lost its quorum while kubelets restarted static pods".into());
        }
    }
}
