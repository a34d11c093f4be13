//! Answers to probes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::world::World;
use crate::host::{Answer, FileKind, FileState, Probe, UnitState};

impl World {
    /// The answer of machine `name`.
    pub(super) fn answer(&self, name: &str, probe: &Probe) -> Answer {
        let Some(m) = self.machines.get(name) else { return Answer::Absent };
        match probe {
            Probe::File(path) | Probe::Content(path) => m.files.get(path).map_or(Answer::Absent, |f| {
                Answer::File(FileState {
                    kind: FileKind::File,
                    mode: f.mode,
                    uid: 0,
                    gid: 0,
                    size: f.content.len() as u64,
                    mtime_us: f.mtime,
                    digest: Some(f.digest.clone()),
                    content: matches!(probe, Probe::Content(_)).then(|| f.content.clone()),
                    target: None,
                })
            }),
            Probe::Unit(unit) => {
                if !m.has_unit(unit) {
                    return Answer::Absent;
                }
                let state = m.units.get(unit).cloned().unwrap_or_default();
                let (file, dropins) = (format!("/etc/systemd/system/{unit}"), format!("/etc/systemd/system/{unit}.d/"));
                let newer = m
                    .files
                    .iter()
                    .any(|(path, f)| (*path == file || path.starts_with(&dropins)) && f.mtime > m.reloaded);
                Answer::Unit(UnitState {
                    active: if state.active { "active" } else { "inactive" }.into(),
                    enabled: if state.enabled { "enabled" } else { "disabled" }.into(),
                    needs_reload: newer,
                    started_us: state.started,
                })
            }
            Probe::Sysctl(key) => m.sysctls.get(key).cloned().map_or(Answer::Absent, Answer::Sysctl),
            Probe::Dir(path) => {
                let prefix = format!("{path}/");
                let mut names: Vec<String> = m
                    .files
                    .keys()
                    .filter_map(|p| p.strip_prefix(&prefix))
                    .filter_map(|rest| rest.split('/').next().map(str::to_owned))
                    .collect();
                names.dedup();
                if names.is_empty() { Answer::Absent } else { Answer::Dir(names) }
            }
            Probe::Blob(digest) => m.blobs.get(digest).map_or(Answer::Absent, |size| Answer::Blob(*size)),
            Probe::Images if m.runs("containerd.service") => Answer::Images(m.images.clone()),
            Probe::Images => Answer::Absent,
            Probe::Shell(text) => self.shell(name, text),
        }
    }

    fn shell(&self, name: &str, text: &str) -> Answer {
        let first = text.lines().next().unwrap_or_default().strip_prefix("# probe:").unwrap_or_default();
        let mut words = first.split(' ');
        let which = words.next().unwrap_or_default();
        let arg = words.next().unwrap_or_default();
        let result = match which {
            "facts" => Ok(self.facts(name)),
            "node-state" => Ok(self.node_state(name, arg)),
            "module" => Ok(self.module(name, arg)),
            "swap" => Ok(if self.machines.get(name).is_some_and(|m| m.swap) {
                "/dev/sda2 partition 1 0 -2\n".into()
            } else {
                String::new()
            }),
            "packages-deb" => {
                let have = |n: &str| self.machines.get(name)?.packages.get(n).map(|v| format!("{n} {v}\n"));
                Ok(std::iter::once(arg).chain(words).filter_map(have).collect())
            }
            "budgets" => self.through_admin(name).map(|()| format!("{}\n{}\n", self.budgets, self.pods_json)),
            "upgrade" => Ok(self.upgrade_text(name)),
            "cluster-settings" => self.through_admin(name).map(|()| self.settings_text()),
            "ready-pods" => {
                self.through_admin(name).map(|()| format!("node {}\n", if self.ready(arg) { "True" } else { "False" }))
            }
            "pods" => self.through_admin(name).map(|()| self.pods_text(arg)),
            "snapshot" => {
                let has = self.machines.get(name).is_some_and(|m| m.has(arg));
                if has { Ok(String::new()) } else { Err("no snapshot".into()) }
            }
            "kubelet" => match self.ready(arg) {
                true => self.through_admin(name).map(|()| "ok".into()),
                false => Err("dial tcp: no route to host".into()),
            },
            "kubeadm-status" => self.through_admin(name).map(|()| self.cluster_status.clone()),
            "dns" => self.through_admin(name).map(|()| self.dns_json()),
            "nodes" => self.through_admin(name).map(|()| self.nodes_json()),
            "static-pods" => Ok(self.static_pods(name)),
            "control-plane" => Ok(self.control_plane(name)),
            "etcd" => self.etcd_json(name),
            "identity" => Ok(self.identity(name, arg, &words.collect::<Vec<_>>())),
            "etcd-host" => Ok(self.etcd_host(name)),
            "cluster-status" => Ok(self.cluster_status(name)),
            "strays" => Ok(self.strays(name)),
            "certs" => Ok(self.certificates(name) + &self.client_certificates(name)),
            "rotation" => Ok(self.rotation(name, arg, words.next().unwrap_or_default())),
            "token-pods" => self.through_admin(name).map(|()| self.token_pods.clone()),
            "release" => self.release_json(name, arg, words.next().unwrap_or_default()),
            "manifest" => self.applied(name, arg),
            "namespace" => self
                .through_admin(name)
                .map(|()| if self.test_namespace { format!("namespace/{arg}\n") } else { String::new() }),
            _ => return Answer::Shell { code: 127, stdout: String::new(), stderr: format!("unknown probe {first}") },
        };
        match result {
            Ok(stdout) => Answer::Shell { code: 0, stdout, stderr: String::new() },
            Err(stderr) => Answer::Shell { code: 1, stdout: String::new(), stderr },
        }
    }

    /// Whether kubectl with admin.conf works on this machine.
    pub(super) fn through_admin(&self, name: &str) -> Result<(), String> {
        let m = self.machines.get(name).ok_or("no machine")?;
        if !m.has("/usr/local/bin/kubectl") || !m.has("/etc/kubernetes/admin.conf") {
            return Err("kubectl: no admin.conf".into());
        }
        if self.cluster_up() { Ok(()) } else { Err("connection refused".into()) }
    }

    fn module(&self, name: &str, module: &str) -> String {
        let loaded = self.machines.get(name).is_some_and(|m| m.modules.contains(module));
        if loaded { "present\n" } else { "loadable\n" }.into()
    }

    fn facts(&self, name: &str) -> String {
        let Some(m) = self.machines.get(name) else { return String::new() };
        let bridge = if m.modules.contains("br_netfilter") { "yes" } else { "no" };
        let modules: String =
            ["overlay", "br_netfilter"].iter().map(|k| format!("module.{k}={}", self.module(name, k))).collect();
        let inotify: String = m
            .sysctls
            .iter()
            .filter_map(|(key, value)| Some(format!("inotify.{}={value}\n", key.strip_prefix("fs.inotify.")?)))
            .collect();
        format!(
            "hostname={name}\nmachine=x86_64\nkernel=6.1.0\nos_id=debian\nos_version=13\nboot_id=b-{name}\n\
             machine_id=m-{name}\nproduct_uuid=u-{name}\nmacs=mac-{name},\naddresses={},\nmemory_mib=8192\n\
             disk_free_mib=100000\ncpus=4\ncgroup=v2\nswap={}\nsystemd=running\nmissing_commands=\nports=22,\n\
             filesystems=overlay,\nbridge_nf={bridge}\n{modules}{inotify}",
            m.address,
            u8::from(m.swap),
        ) + &if self.now_s == 0 { String::new() } else { format!("now_ms={}\n", self.now_s * 1000) }
    }

    fn strays(&self, name: &str) -> String {
        let files = self.machines.get(name).into_iter().flat_map(|m| m.files.keys());
        files
            .filter_map(|path| {
                let unit = path.strip_prefix("/etc/systemd/system/").and_then(|rest| rest.split_once(".d/"));
                match unit {
                    Some(("kubelet.service" | "containerd.service", _)) => Some(format!("dropin {path}\n")),
                    _ if path.starts_with("/etc/kubernetes/manifests/") => Some(format!("pod {path} \n")),
                    _ => None,
                }
            })
            .collect()
    }

    fn node_state(&self, name: &str, node: &str) -> String {
        let Some(m) = self.machines.get(name) else { return String::new() };
        let has = |path: &str| if m.has(path) { "yes" } else { "no" };
        let manifests: String = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"]
            .iter()
            .filter(|c| m.has(&format!("/etc/kubernetes/manifests/{c}.yaml")))
            .map(|c| format!("{c},"))
            .collect();
        let mut out = format!(
            "kubelet_conf={}\nbootstrap_conf={}\nadmin_conf={}\netcd_data={}\nmanifests={manifests}\njoined={}\n",
            has("/etc/kubernetes/kubelet.conf"),
            has("/etc/kubernetes/bootstrap-kubelet.conf"),
            has("/etc/kubernetes/admin.conf"),
            has("/var/lib/etcd/member"),
            has("/etc/provision/joined"),
        );
        if let Some(ca) = m.files.get("/etc/kubernetes/pki/ca.crt") {
            out += &format!("ca={}\n", STANDARD.encode(&ca.content));
        }
        let rotation = m.files.keys().find_map(|path| path.strip_prefix(crate::rotation::ROTATIONS)?.split('/').next());
        if let Some(name) = rotation {
            out += &format!("rotation={name}\n");
        }
        if m.has("/etc/provision/cluster") {
            out += &format!("claim={}", m.text("/etc/provision/cluster"));
        }
        if m.has("/etc/kubernetes/kubelet.conf") && m.has("/usr/local/bin/kubectl") {
            out += match (self.cluster_up(), self.nodes.get(node)) {
                (false, _) => "node=unknown\n",
                (true, None) => "node=no\n",
                (true, Some(n)) if n.labels.contains_key("node-role.kubernetes.io/control-plane") => {
                    "node=yes\nrole=control-plane\n"
                }
                (true, Some(_)) => "node=yes\n",
            };
        }
        out
    }

    pub(super) fn nodes_json(&self) -> String {
        let items: Vec<serde_json::Value> = self
            .nodes
            .iter()
            .map(|(name, n)| {
                let taints: Vec<serde_json::Value> = n
                    .taints
                    .iter()
                    .map(|t| {
                        let (left, effect) = t.rsplit_once(':').unwrap_or((t, ""));
                        let (key, value) = left.split_once('=').unwrap_or((left, ""));
                        serde_json::json!({"key": key, "value": value, "effect": effect})
                    })
                    .collect();
                let marks: std::collections::BTreeMap<String, &String> =
                    n.marks.iter().map(|(k, v)| (format!("{}{k}", crate::kubeadm::MARK_PREFIX), v)).collect();
                serde_json::json!({
                    "metadata": {"name": name, "labels": n.labels, "annotations": marks},
                    "spec": {"taints": taints, "unschedulable": n.unschedulable},
                    "status": {
                        "addresses": self.machines.get(name).map(|m| [serde_json::json!({"type": "InternalIP", "address": m.address})]),
                        "conditions": [{"type": "Ready", "status": if self.ready(name) { "True" } else { "False" }}],
                        "nodeInfo": {"kubeletVersion": self.kubelet_version(name), "containerRuntimeVersion": "containerd://2"},
                    },
                })
            })
            .collect();
        serde_json::json!({ "items": items }).to_string()
    }

    fn control_plane(&self, node: &str) -> String {
        let word = |up: bool| if up && self.through_admin(node).is_ok() { "ok" } else { "down" };
        let pod = |component: &str| {
            self.machines.get(node).is_some_and(|m| {
                // A static pod runs on without its kubelet.
                m.has(&format!("/etc/kubernetes/manifests/{component}.yaml")) && m.runs("containerd.service")
            })
        };
        format!(
            "kube-apiserver={}\nkube-controller-manager={}\nkube-scheduler={}\n",
            word(self.api_up(node)),
            word(pod("kube-controller-manager")),
            word(pod("kube-scheduler"))
        )
    }

    fn cluster_status(&self, name: &str) -> String {
        let endpoint = self.through_admin(name).map_or_else(|e| e, |()| "ok".into());
        // The member that was there first leads.
        let leader = self.etcd.values().min().copied().unwrap_or(0);
        let members: Vec<_> = self
            .etcd
            .iter()
            .filter(|(n, _)| self.etcd_up(n))
            .map(|(_, id)| {
                serde_json::json!({"Status": {"header": {"member_id": id}, "leader": leader, "version": "3.6.8", "dbSize": 25_000_000}})
            })
            .collect();
        format!("endpoint={endpoint}\netcd={}\n", serde_json::json!(members))
    }

    fn etcd_json(&self, name: &str) -> Result<String, String> {
        let has = self.machines.get(name).is_some_and(|m| m.has("/usr/local/bin/etcdctl"));
        if !has || !self.reaches_etcd(name) || !self.quorum() {
            return Err("etcd does not answer".into());
        }
        let apart = self.etcd_is_apart();
        let address = |n: &str| self.machines.get(n).map(|m| m.address.clone()).unwrap_or_default();
        let members: Vec<_> = self
            .etcd
            .iter()
            .map(|(n, id)| serde_json::json!({"ID": id, "name": if apart && !self.etcd_started.contains(n) { "" } else { n.as_str() }, "peerURLs": [format!("https://{}:2380", address(n))]}))
            .collect();
        let health: Vec<_> = self
            .etcd
            .keys()
            .map(|n| serde_json::json!({"endpoint": format!("https://{}:2379", address(n)), "health": self.etcd_up(n)}))
            .collect();
        Ok(format!("{}\n{}\n", serde_json::json!({ "members": members }), serde_json::json!(health)))
    }
}
