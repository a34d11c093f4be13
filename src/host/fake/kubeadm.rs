//! kubeadm.

use super::effect::{broken, done};
use super::world::{NodeRecord, World};
use crate::host::Output;

const CA: &[u8] = include_bytes!("ca.pem");

impl World {
    pub(super) fn kubeadm(&mut self, name: &str, args: &[&str], stdin: &[u8], now: u64, half: bool) -> Output {
        let missing: Vec<&String> = self
            .needed_images
            .iter()
            .filter(|(host, images)| {
                self.machines.get(*host).is_none_or(|m| !images.iter().all(|i| m.images.contains_key(i)))
            })
            .map(|(host, _)| host)
            .collect();
        if !missing.is_empty() {
            self.violations.push(format!("kubeadm on {name} before all images are on {missing:?}"));
        }
        if !self.machines.get(name).is_some_and(|m| m.has("/usr/local/bin/kubeadm")) {
            return broken(127, "kubeadm: not found");
        }
        let config = String::from_utf8_lossy(stdin).into_owned();
        match args {
            ["certs", "renew", "all"] => {
                self.renew_certificate(name, now);
                done("Done renewing certificates\n")
            }
            ["token", "create", ..] => match self.through_admin(name) {
                Ok(()) => {
                    let token = format!("tok{:03}.{:016}", self.next_serial() % 1000, 1);
                    self.tokens.insert(token.clone());
                    done(format!("{token}\n"))
                }
                Err(e) => broken(1, e),
            },
            ["token", "delete", id] => {
                self.tokens.retain(|t| !t.starts_with(id));
                done("")
            }
            ["init", "phase", "upload-certs", ..] => match self.through_admin(name) {
                Ok(()) => done(format!("key:\n{}\n", "ab".repeat(32))),
                Err(e) => broken(1, e),
            },
            ["init", "--config", "/dev/stdin", ..] => {
                if !self.etcd.is_empty() && self.cluster_up() {
                    self.violations.push(format!("a second init on {name}"));
                }
                let output = self.enter(name, &config, true, now, half);
                let skipped = |addon: &str| {
                    let skip = args.iter().find_map(|a| a.strip_prefix("--skip-phases="));
                    skip.is_some_and(|s| s.split(',').any(|p| p == "addon" || p == format!("addon/{addon}")))
                };
                self.upgrade_addons(|addon| !skipped(addon));
                if !skipped("coredns") {
                    self.dns.install();
                }
                output
            }
            ["join", "--config", "/dev/stdin", ..] => {
                if !self.cluster_up() || !self.tokens.iter().any(|t| config.contains(t.as_str())) {
                    return broken(1, "couldn't validate the identity of the API Server");
                }
                self.enter(name, &config, config.contains("controlPlane:"), now, half)
            }
            _ => broken(127, format!("the fake knows no kubeadm {}", args.join(" "))),
        }
    }

    fn enter(&mut self, name: &str, config: &str, control_plane: bool, now: u64, half: bool) -> Output {
        let serial = self.next_serial();
        let apart = self.etcd_is_apart();
        if apart && control_plane && !(self.quorum() && self.has_etcd_client(name)) {
            return broken(1, "[ERROR ExternalEtcdVersion]: couldn't reach etcd");
        }
        let first = if apart { self.nodes.is_empty() } else { self.etcd.is_empty() };
        let Some(m) = self.machines.get_mut(name) else { return broken(255, "no machine") };
        if config.is_empty() {
            return broken(1, "no configuration");
        }
        if m.has("/etc/kubernetes/kubelet.conf") || m.has("/etc/kubernetes/manifests/etcd.yaml") {
            return broken(1, "[ERROR FileAvailable]: already exists");
        }
        if !m.runs("containerd.service") || m.swap {
            return broken(1, "[ERROR CRI]: container runtime is not running");
        }
        m.write("/etc/kubernetes/pki/ca.crt", CA, 0o644, now);
        m.write("/etc/kubernetes/kubelet.conf", b"kubelet", 0o600, now);
        m.start("kubelet.service", now);
        self.first_settings(name, config, now);
        let version = self.version_of(name, "/usr/local/bin/kubeadm");
        let Some(m) = self.machines.get_mut(name) else { return broken(255, "no machine") };
        if control_plane {
            for conf in ["admin", "controller-manager", "scheduler"] {
                m.write(&format!("/etc/kubernetes/{conf}.conf"), b"conf", 0o600, now);
            }
            if !apart {
                m.write("/var/lib/etcd/member", b"", 0o700, now);
            }
            self.write_pki(name, now);
            if !apart {
                self.write_etcd(name, now);
            }
            self.write_components(name, &version, now);
            if first {
                self.configured.clone_from(&version);
            }
            if !apart {
                self.etcd.insert(name.to_owned(), serial);
            }
        }
        let mut node = NodeRecord::default();
        node.labels.insert("kubernetes.io/hostname".into(), name.to_owned());
        if half {
            // The kubelet has made its node object, kubeadm has not marked it.
            self.nodes.insert(name.to_owned(), node);
            if let Some(m) = self.machines.get_mut(name) {
                m.write("/etc/kubernetes/bootstrap-kubelet.conf", b"half", 0o600, now);
            }
            return broken(1, "power lost");
        }
        if control_plane {
            node.labels.insert("node-role.kubernetes.io/control-plane".into(), String::new());
            if !config.contains("taints: []") {
                node.taints.insert("node-role.kubernetes.io/control-plane:NoSchedule".into());
            }
        }
        self.nodes.insert(name.to_owned(), node);
        done("joined\n")
    }
}
