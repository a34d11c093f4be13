//! What an upgrade asks of a machine and of the cluster.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::effect::{broken, done};
use super::settings::static_pod;
use super::world::World;
use crate::bundle::Digest;
use crate::host::Output;
use crate::version::KubeVersion;

const COMPONENTS: [&str; 3] = ["kube-apiserver", "kube-controller-manager", "kube-scheduler"];
const KEPT: [&str; 5] = [
    "/usr/local/bin/kubeadm",
    "/usr/local/bin/kubelet",
    "/usr/local/bin/kubectl",
    "/var/lib/kubelet/config.yaml",
    "/var/lib/kubelet/kubeadm-flags.env",
];
const KEPT_OF_RUNTIME: [&str; 4] = [
    "/usr/local/bin/containerd",
    "/usr/local/sbin/runc",
    "/etc/containerd/config.toml",
    "/etc/systemd/system/containerd.service",
];
const MARK: &str = "/var/lib/provision/upgrade/kubeadm";

impl World {
    /// The version of a binary on a machine, like `v1.36.2`.
    pub(super) fn version_of(&self, name: &str, path: &str) -> String {
        let digest = self.machines.get(name).and_then(|m| m.files.get(path)).map(|f| f.digest.hex().to_owned());
        let version = digest.and_then(|d| self.versions.get(&d)).unwrap_or(&self.version);
        format!("v{version}")
    }

    /// The version of the kubelet that runs, or ran last, on a machine.
    #[must_use]
    pub fn kubelet_version(&self, name: &str) -> String {
        let digest = self.machines.get(name).and_then(|m| m.kubelet.as_ref()).map(Digest::hex);
        let version = digest.and_then(|d| self.versions.get(d)).unwrap_or(&self.version);
        format!("v{version}")
    }

    /// The version of a control plane's static pods; empty when it has none.
    #[must_use]
    pub fn component_version(&self, name: &str, component: &str) -> String {
        let text = self
            .machines
            .get(name)
            .map(|m| m.text(&format!("/etc/kubernetes/manifests/{component}.yaml")))
            .unwrap_or_default();
        text.rsplit(':').next().unwrap_or_default().trim().to_owned()
    }

    pub(super) fn write_components(&mut self, name: &str, version: &str, now: u64) {
        if let Some(m) = self.machines.get_mut(name) {
            for c in COMPONENTS {
                let pod = static_pod(c, version, self.settings.get("ClusterConfiguration").map_or("", String::as_str));
                m.write(&format!("/etc/kubernetes/manifests/{c}.yaml"), pod.as_bytes(), 0o600, now);
            }
        }
    }

    /// What the upgrade probe prints.
    pub(super) fn upgrade_text(&self, name: &str) -> String {
        let Some(m) = self.machines.get(name) else { return String::new() };
        let mut out = format!("mark={}\n", m.text(MARK).trim());
        for c in COMPONENTS {
            let version = self.component_version(name, c);
            if !version.is_empty() {
                out += &format!("{c}={version}\n");
            }
        }
        if self.through_admin(name).is_ok() {
            out += &format!("configured={}\naddons=read\n", self.configured);
            for (addon, tag) in &self.addons {
                out += &format!("{}={tag}\n", addon.trim_start_matches("kube-"));
            }
            let cluster = self.settings.get("ClusterConfiguration").map_or("", String::as_str);
            out += &format!("cluster={}\n", STANDARD.encode(cluster));
        }
        out
    }

    /// What the pods probe prints.
    pub(super) fn pods_text(&self, node: &str) -> String {
        self.pods
            .iter()
            .filter(|(_, n)| *n == node)
            .map(|(p, _)| {
                let controller = if self.bare.contains(p) { "" } else { "ReplicaSet" };
                let volumes = if self.local_data.contains(p) { "{}" } else { "" };
                format!("default/{p}|Running|{controller}||{controller}|{volumes}\n")
            })
            .collect()
    }

    pub(super) fn upgrade_script(&mut self, name: &str, script: &str, args: &[&str], now: u64, half: bool) -> Output {
        match (script, args) {
            ("upgrade-addons", [_, proxy, dns, _]) => {
                if let Err(e) = self.through_admin(name) {
                    return broken(1, e);
                }
                let there: Vec<String> = self.addons.keys().cloned().collect();
                let wanted = |addon: &str| *if addon == "coredns" { dns } else { proxy } == "yes";
                self.upgrade_addons(|addon| wanted(addon) && there.iter().any(|a| a == addon));
                done("")
            }
            ("cordon", [node, version]) => self.cordon(name, node, version),
            ("uncordon", [node, ends]) => self.uncordon(name, node, *ends == "ends"),
            ("kubeadm-upgrade", [mode, version, ..]) => self.kubeadm_upgrade(name, mode, version, now, half),
            ("system-pods", _) => self.through_admin(name).map_or_else(|e| broken(1, e), |()| done("")),
            ("gate", _) if self.gate_closed => broken(1, "the gate is closed"),
            ("gate", _) => done(""),
            ("snapshot", [path]) => {
                if !self.reaches_etcd(name) || !self.quorum() {
                    return broken(1, "etcd does not answer");
                }
                self.write(name, path, b"etcd", now);
                done("")
            }
            ("keep", [_, list, what]) => {
                let Some(m) = self.machines.get_mut(name) else { return broken(255, "no machine") };
                let files: Vec<(String, Digest)> = KEPT
                    .iter()
                    .chain(KEPT_OF_RUNTIME.iter().filter(|_| *what == "runtime"))
                    .filter_map(|f| Some(((*f).to_owned(), m.files.get(*f)?.digest.clone())))
                    .collect();
                let text: String = files.iter().map(|(f, d)| format!("{} {f}\n", d.hex())).collect();
                m.blobs.extend(files.into_iter().map(|(_, d)| (d, 1)));
                m.write(list, text.as_bytes(), 0o600, now);
                done("")
            }
            ("rollback", [_, list]) => self.rollback(name, list, now),
            _ => broken(127, format!("the fake knows no script {script}")),
        }
    }

    fn write(&mut self, name: &str, path: &str, content: &[u8], now: u64) {
        if let Some(m) = self.machines.get_mut(name) {
            m.write(path, content, 0o600, now);
        }
    }

    fn cordon(&mut self, name: &str, node: &str, version: &str) -> Output {
        if let Err(e) = self.through_admin(name) {
            return broken(1, e);
        }
        let Some(record) = self.nodes.get_mut(node) else { return broken(1, "not found") };
        record.marks.insert("upgrading-to".into(), version.to_owned());
        if !record.unschedulable {
            record.unschedulable = true;
            record.marks.insert("cordoned-by".into(), "upgrade".into());
        }
        done("")
    }

    fn uncordon(&mut self, name: &str, node: &str, ends: bool) -> Output {
        if let Err(e) = self.through_admin(name) {
            return broken(1, e);
        }
        let ready = self.ready(node);
        let Some(record) = self.nodes.get_mut(node) else { return broken(1, "not found") };
        if record.marks.remove("cordoned-by").is_some() {
            record.unschedulable = false;
            if !ready {
                self.violations.push(format!("{node} was uncordoned while it was not Ready"));
            }
        }
        if ends && let Some(record) = self.nodes.get_mut(node) {
            record.marks.remove("upgrading-to");
        }
        done("")
    }

    /// The scripts that keep pods off a node that leaves, and let them onto it again.
    pub(super) fn leaving(&mut self, name: &str, node: &str, begins: bool) -> Output {
        if let Err(e) = self.through_admin(name) {
            return broken(1, e);
        }
        let Some(record) = self.nodes.get_mut(node) else { return broken(1, "not found") };
        if begins {
            let by = if record.unschedulable { "others" } else { "us" };
            record.marks.entry("leaving".into()).or_insert_with(|| by.into());
            record.unschedulable = true;
        } else if record.marks.remove("leaving").is_some_and(|by| by == "us") {
            record.unschedulable = false;
        }
        done("")
    }

    fn kubeadm_upgrade(&mut self, name: &str, mode: &str, version: &str, now: u64, half: bool) -> Output {
        let missing: Vec<String> = self
            .needed_images
            .iter()
            .filter(|(host, images)| {
                self.machines.get(*host).is_none_or(|m| !images.iter().all(|i| m.images.contains_key(i)))
            })
            .map(|(host, _)| host.clone())
            .collect();
        if !missing.is_empty() {
            self.violations.push(format!("upgrade of {name} before all images are on {missing:?}"));
        }
        if self.version_of(name, "/usr/local/bin/kubeadm") != version {
            return broken(1, "kubeadm is of another version");
        }
        if !self.cluster_up() {
            return broken(1, "connection refused");
        }
        let plane = self.machines.get(name).is_some_and(|m| m.has("/etc/kubernetes/manifests/kube-apiserver.yaml"));
        match mode {
            "apply" => {}
            _ if self.configured == version => {}
            _ => return broken(1, "the cluster is configured for another version"),
        }
        if let Some(said) = self.broken_upgrades.get(name) {
            return broken(1, said.clone());
        }
        if plane && !self.ready(name) {
            return broken(1, "timed out waiting for the kubelet to restart the static pods");
        }
        if plane {
            if self.machines.keys().filter(|m| *m != name).any(|m| self.is_plane(m) && !self.api_up(m)) {
                self.violations.push(format!("{name} is upgraded while another control plane is down"));
            }
            if !self.machines.values().any(|m| m.files.keys().any(|f| f.starts_with("/var/lib/provision/snapshots/"))) {
                self.violations.push(format!("{name} is upgraded before a snapshot was taken"));
            }
            self.write_components(name, version, now);
            if self.etcd.contains_key(name) && !self.etcd_is_apart() {
                self.write_etcd(name, now);
            }
        }
        if mode == "apply" {
            version.clone_into(&mut self.configured);
        }
        if half {
            return broken(1, "power lost");
        }
        // From 1.28 on with the control plane that is upgraded last, before that with the first.
        let minor = version.trim_start_matches('v').parse::<KubeVersion>().map_or(0, |v| v.minor);
        let with_this = if minor < 28 {
            mode == "apply"
        } else {
            plane && self.etcd.keys().all(|n| self.component_version(n, "kube-apiserver") == version)
        };
        if with_this {
            let there: Vec<String> = self.addons.keys().cloned().collect();
            self.upgrade_addons(|addon| there.iter().any(|a| a == addon));
        }
        let config = self.settings.get("KubeletConfiguration").cloned().unwrap_or_default();
        self.write(name, "/var/lib/kubelet/config.yaml", config.as_bytes(), now);
        self.write(name, MARK, version.as_bytes(), now);
        done("")
    }

    fn rollback(&mut self, name: &str, list: &str, now: u64) -> Output {
        let Some(m) = self.machines.get_mut(name) else { return broken(255, "no machine") };
        let text = m.text(list);
        if text.is_empty() {
            return broken(1, "nothing was kept");
        }
        for (hex, path) in text.lines().filter_map(|l| l.split_once(' ')) {
            if let (Ok(digest), Some(file)) = (hex.parse::<Digest>(), m.files.get_mut(path)) {
                file.digest = digest;
                file.mtime = now;
            }
        }
        m.files.remove(MARK);
        if text.contains(" /usr/local/bin/containerd\n") {
            m.reloaded = now;
            m.start("containerd.service", now);
        }
        m.start("kubelet.service", now);
        done(self.kubelet_version(name))
    }

    /// `kubectl drain`
    pub(super) fn drain(&mut self, node: &str, flags: &[&str]) -> Output {
        if !self.nodes.get(node).is_some_and(|n| n.unschedulable) {
            self.violations.push(format!("{node} was drained before it was cordoned"));
        }
        let free: Vec<String> = self
            .nodes
            .iter()
            .filter(|(name, n)| {
                !n.unschedulable && self.ready(name) && !n.labels.contains_key("node-role.kubernetes.io/control-plane")
            })
            .map(|(name, _)| name.clone())
            .collect();
        self.dns.leave(node);
        let here = |pods: &BTreeSet<String>| pods.iter().any(|p| self.pods.get(p).is_some_and(|on| on == node));
        // kubectl says so before it evicts the first one.
        if here(&self.bare) && !flags.contains(&"--force") {
            return broken(1, "cannot delete Pods that declare no controller (use --force to override)");
        }
        if here(&self.local_data) && !flags.contains(&"--delete-emptydir-data") {
            return broken(1, "cannot delete Pods with local storage (use --delete-emptydir-data to override)");
        }
        let bare = self.bare.clone();
        self.pods.retain(|pod, on| on != node || !bare.contains(pod));
        let stuck = if flags.contains(&"--disable-eviction") { BTreeSet::new() } else { self.stuck.clone() };
        let mut left = false;
        for (n, (pod, on)) in self.pods.iter_mut().filter(|(_, on)| *on == node).enumerate() {
            match free.get(n % free.len().max(1)) {
                _ if stuck.contains(pod) => left = true,
                Some(to) => on.clone_from(to),
                // It waits for a node.
                None => on.clear(),
            }
        }
        if left { broken(1, "Cannot evict pod as it would violate the pod's disruption budget.") } else { done("") }
    }

    /// Whether kubeadm made the machine a control plane.
    fn is_plane(&self, name: &str) -> bool {
        self.machines.get(name).is_some_and(|m| m.has("/etc/kubernetes/manifests/kube-apiserver.yaml"))
    }

    /// Looked at after every effect.
    pub(super) fn check_upgrade(&mut self) {
        let away = |plane: bool| {
            self.nodes
                .iter()
                .filter(|(_, n)| n.labels.contains_key("node-role.kubernetes.io/control-plane") == plane)
                .filter(|(name, n)| n.marks.contains_key("upgrading-to") && (n.unschedulable || !self.ready(name)))
                .count()
        };
        let (planes, workers) = (away(true), away(false));
        if planes > 1 {
            self.violations.push(format!("{planes} control planes are away at once"));
        }
        if workers > self.most_away {
            self.violations.push(format!("{workers} workers are away at once"));
        }
        let newest = self.machines.keys().map(|n| self.kubelet_version(n)).filter(|_| !self.etcd.is_empty()).max();
        let planes = self.machines.keys().filter(|n| self.is_plane(n));
        let oldest = planes.map(|n| self.component_version(n, "kube-apiserver")).filter(|v| !v.is_empty()).min();
        // Text order does as long as the tests' versions have as many digits.
        if let (Some(newest), Some(oldest)) = (newest, oldest)
            && newest > oldest
        {
            self.violations.push(format!("a kubelet of {newest} beside an API server of {oldest}"));
        }
    }
}
