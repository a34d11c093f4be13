//! Settings of a running cluster.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::effect::{broken, done};
use super::world::World;
use crate::host::Output;
use crate::resource::RUNTIME_BEFORE;

const UNFINISHED: &[u8] = b"unfinished\n";
const PKI: &str = "/etc/kubernetes/pki";
/// The CA's and everybody's; the same in every world, so that the same settings make the same certificate.
const KEY: &str = include_str!("key.pem");
const CA: &str = include_str!("ca.pem");

fn documents(text: &str) -> Vec<Value> {
    text.split("---\n").filter_map(|d| serde_yaml_ng::from_str(d).ok()).collect()
}

fn document(text: &str, kind: &str) -> Value {
    documents(text).into_iter().find(|d| d["kind"] == kind).unwrap_or_default()
}

/// `--name=value` of extra arguments in either form.
fn arguments(args: &Value) -> Vec<String> {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    match args {
        Value::Object(map) => map.iter().map(|(k, v)| format!("--{k}={}", text(v))).collect(),
        Value::Array(list) => list.iter().map(|a| format!("--{}={}", text(&a["name"]), text(&a["value"]))).collect(),
        _ => Vec::new(),
    }
}

/// A manifest as kubeadm writes it: the image comes last.
pub(super) fn static_pod(component: &str, version: &str, cluster: &str) -> String {
    let all = document(cluster, "ClusterConfiguration");
    let (args, tag) = match component {
        "kube-apiserver" => (&all["apiServer"]["extraArgs"], version),
        "kube-controller-manager" => (&all["controllerManager"]["extraArgs"], version),
        "kube-scheduler" => (&all["scheduler"]["extraArgs"], version),
        _ => (&all["etcd"]["local"]["extraArgs"], all["etcd"]["local"]["imageTag"].as_str().unwrap_or("0")),
    };
    let command: String = arguments(args).iter().map(|a| format!("    - {a}\n")).collect();
    format!(
        "spec:\n  containers:\n  - command:\n    - {component}\n{command}    image: registry.k8s.io/{component}:{tag}\n"
    )
}

/// Renewed often, it holds longer.
fn certificate(sans: &Value, renewed: i32) -> Option<String> {
    let names: Vec<String> = sans.as_array()?.iter().filter_map(|s| Some(s.as_str()?.to_owned())).collect();
    let key = rcgen::KeyPair::from_pem(KEY).ok()?;
    let mut params = rcgen::CertificateParams::new(names).ok()?;
    params.serial_number = Some(1.into());
    params.not_after = rcgen::date_time_ymd(4000 + renewed, 1, 1);
    let issuer = rcgen::Issuer::from_ca_cert_pem(CA, rcgen::KeyPair::from_pem(KEY).ok()?).ok()?;
    Some(params.signed_by(&key, &issuer).ok()?.pem())
}

impl World {
    /// What kubeadm writes of the kubelet when a host enters; the first one brings the cluster's own settings.
    pub(super) fn first_settings(&mut self, name: &str, config: &str, now: u64) {
        for kind in ["ClusterConfiguration", "KubeletConfiguration", "KubeProxyConfiguration"] {
            let found = document(config, kind);
            if let (true, Ok(text)) = (found.is_object(), serde_yaml_ng::to_string(&found)) {
                self.settings.insert(kind.to_owned(), text);
            }
        }
        if self.proxy.is_empty() {
            self.proxy = self.settings.get("KubeProxyConfiguration").cloned().unwrap_or_default();
        }
        let kubelet = self.settings.get("KubeletConfiguration").cloned().unwrap_or_default();
        let own = documents(config).into_iter().find(|d| d.get("nodeRegistration").is_some()).unwrap_or_default();
        let flags = arguments(&own["nodeRegistration"]["kubeletExtraArgs"]).join(" ");
        if let Some(m) = self.machines.get_mut(name) {
            m.write("/var/lib/kubelet/config.yaml", kubelet.as_bytes(), 0o644, now);
            let flags = format!("KUBELET_KUBEADM_ARGS=\"{flags}\"\n");
            m.write("/var/lib/kubelet/kubeadm-flags.env", flags.as_bytes(), 0o644, now);
        }
    }

    pub(super) fn write_pki(&mut self, name: &str, now: u64) {
        let cluster = self.settings.get("ClusterConfiguration").cloned().unwrap_or_default();
        self.write_certificate(name, &cluster, now);
    }

    fn write_certificate(&mut self, name: &str, cluster: &str, now: u64) {
        let pem =
            certificate(&document(cluster, "ClusterConfiguration")["apiServer"]["certSANs"], 0).unwrap_or_default();
        if let Some(m) = self.machines.get_mut(name) {
            m.write(&format!("{PKI}/apiserver.crt"), pem.as_bytes(), 0o644, now);
            m.write(&format!("{PKI}/apiserver.key"), b"key", 0o600, now);
        }
    }

    /// `kubeadm certs renew all`, as far as there are certificates here.
    pub(super) fn renew_certificate(&mut self, name: &str, now: u64) {
        let renewed = i32::try_from(self.next_serial()).unwrap_or(i32::MAX).min(5000);
        let cluster = self.settings.get("ClusterConfiguration").cloned().unwrap_or_default();
        let pem = certificate(&document(&cluster, "ClusterConfiguration")["apiServer"]["certSANs"], renewed);
        if let (Some(m), Some(pem)) = (self.machines.get_mut(name), pem) {
            m.write(&format!("{PKI}/apiserver.crt"), pem.as_bytes(), 0o644, now);
        }
    }

    pub(super) fn write_etcd(&mut self, name: &str, now: u64) {
        let pod = static_pod("etcd", "", self.settings.get("ClusterConfiguration").map_or("", String::as_str));
        if let Some(m) = self.machines.get_mut(name) {
            m.write("/etc/kubernetes/manifests/etcd.yaml", pod.as_bytes(), 0o600, now);
        }
    }

    /// The API server of this machine has an argument that it does not come up with.
    pub(super) fn argument_is_broken(&self, name: &str) -> bool {
        let text = self.machines.get(name).map(|m| m.text("/etc/kubernetes/manifests/kube-apiserver.yaml"));
        text.is_some_and(|t| self.broken_arguments.iter().any(|a| t.contains(&format!("--{a}\n"))))
    }

    /// kubeadm's phases of these addons: they take on what the cluster's own configuration says.
    pub(super) fn upgrade_addons(&mut self, which: impl Fn(&str) -> bool) {
        let cluster = self.settings.get("ClusterConfiguration").map_or("", String::as_str);
        let dns =
            document(cluster, "ClusterConfiguration")["dns"]["imageTag"].as_str().unwrap_or("kubeadm's").to_owned();
        for (addon, tag) in [("kube-proxy", self.configured.clone()), ("coredns", dns)] {
            if which(addon) {
                self.addons.insert(addon.to_owned(), tag);
            }
        }
    }

    /// What the cluster-settings probe prints.
    pub(super) fn settings_text(&self) -> String {
        let say = |key: &str, kind: &str| {
            format!("{key}={}\n", STANDARD.encode(self.settings.get(kind).map_or("", String::as_str)))
        };
        say("cluster", "ClusterConfiguration")
            + &say("kubelet", "KubeletConfiguration")
            + &say("proxy", "KubeProxyConfiguration")
    }

    pub(super) fn settings_script(&mut self, name: &str, script: &str, args: &[&str], now: u64) -> Output {
        let read = |path: &str| self.machines.get(name).map(|m| m.text(path)).unwrap_or_default();
        match (script, args) {
            ("upload-settings", [path, dns]) => {
                let text = read(path);
                if let Err(e) = self.through_admin(name) {
                    return broken(1, e);
                }
                for kind in ["ClusterConfiguration", "KubeletConfiguration"] {
                    self.settings
                        .insert(kind.into(), serde_yaml_ng::to_string(&document(&text, kind)).unwrap_or_default());
                }
                self.upgrade_addons(|addon| addon == "coredns" && *dns == "yes");
                done("")
            }
            ("control-plane-settings", [path, certificate, components, kept]) => {
                let text = read(path);
                self.new_pods(name, &text, *certificate == "yes", components, kept, now)
            }
            ("settings-back", [before]) => {
                let Some(m) = self.machines.get_mut(name) else { return broken(255, "no machine") };
                let old: Vec<(String, Vec<u8>)> = m
                    .files
                    .iter()
                    .filter_map(|(p, f)| Some((p.strip_prefix(&format!("{before}/"))?.to_owned(), f.content.clone())))
                    .collect();
                for (file, content) in old {
                    let dir = if file.starts_with("apiserver.") { PKI } else { "/etc/kubernetes/manifests" };
                    m.write(&format!("{dir}/{file}"), &content, 0o600, now);
                }
                done("")
            }
            ("kubelet-settings", [_, flags, kept]) => {
                let flags = read(flags);
                self.new_kubelet(name, &flags, kept, now)
            }
            ("runtime-settings", [mode, kept, rest @ ..]) => self.new_containerd(name, mode, kept, rest, now),
            ("proxy-settings", [path, ..]) => {
                if let Err(e) = self.through_admin(name) {
                    return broken(1, e);
                }
                let text =
                    serde_yaml_ng::to_string(&document(&read(path), "KubeProxyConfiguration")).unwrap_or_default();
                self.settings.insert("KubeProxyConfiguration".into(), text.clone());
                self.upgrade_addons(|addon| addon == "kube-proxy");
                self.proxy = text;
                done("")
            }
            _ => broken(127, format!("the fake knows no script {script}")),
        }
    }

    fn new_pods(
        &mut self,
        name: &str,
        text: &str,
        certificate: bool,
        components: &str,
        kept: &str,
        now: u64,
    ) -> Output {
        if self.etcd.keys().any(|other| other != name && !self.api_up(other)) {
            self.violations.push(format!("new settings on {name} while another control plane is down"));
        }
        let version = self.version_of(name, "/usr/local/bin/kubeadm");
        self.begins(name, format!("{kept}/control-plane.yaml"), now);
        let Some(m) = self.machines.get_mut(name) else { return broken(255, "no machine") };
        let manifest = |c: &str| format!("/etc/kubernetes/manifests/{c}.yaml");
        let mut saved: Vec<(String, String)> =
            components.split_whitespace().map(|c| (manifest(c), format!("{c}.yaml"))).collect();
        if certificate {
            saved.extend(["apiserver.crt", "apiserver.key"].map(|f| (format!("{PKI}/{f}"), f.to_owned())));
        }
        for (from, to) in saved {
            let (to, old) = (format!("{kept}/before/{to}"), m.text(&from));
            if !m.has(&to) {
                m.write(&to, old.as_bytes(), 0o600, now);
            }
        }
        for c in components.split_whitespace() {
            m.write(&manifest(c), static_pod(c, &version, text).as_bytes(), 0o600, now);
        }
        if certificate {
            self.write_certificate(name, text, now);
        }
        done("")
    }

    fn new_kubelet(&mut self, name: &str, flags: &str, kept: &str, now: u64) -> Output {
        if !self.cluster_up() {
            return broken(1, "connection refused");
        }
        let config = self.settings.get("KubeletConfiguration").cloned().unwrap_or_default();
        let bad = self.broken_config.as_ref().is_some_and(|bad| config.contains(bad.as_str()));
        self.begins(name, format!("{kept}/kubelet.yaml"), now);
        let Some(m) = self.machines.get_mut(name) else { return broken(255, "no machine") };
        if bad {
            return broken(1, "the kubelet did not come up with the new settings and was given those before");
        }
        m.write("/var/lib/kubelet/config.yaml", config.as_bytes(), 0o644, now);
        m.write("/var/lib/kubelet/kubeadm-flags.env", flags.as_bytes(), 0o644, now);
        m.start("kubelet.service", now);
        done("")
    }

    /// The modes try, back and done. One that does not come up takes nothing with it that runs.
    fn new_containerd(&mut self, name: &str, mode: &str, kept: &str, files: &[&str], now: u64) -> Output {
        let places = ["/etc/containerd/config.toml", "/etc/systemd/system/containerd.service"];
        let kept_of = |path: &str| format!("{kept}/{}", path.rsplit('/').next().unwrap_or(path));
        let Some(m) = self.machines.get_mut(name) else { return broken(255, "no machine") };
        let change: Vec<(String, String)> = match mode {
            "try" => {
                let begins = !m.files.keys().any(|p| p.starts_with(kept));
                for path in places.iter().filter(|_| begins) {
                    let old = m.text(path);
                    m.write(&kept_of(path), old.as_bytes(), 0o600, now);
                }
                files.iter().zip(places).map(|(from, to)| ((*from).to_owned(), to.to_owned())).collect()
            }
            "back" => places.iter().map(|to| (kept_of(to), (*to).to_owned())).collect(),
            _ => Vec::new(),
        };
        for (from, to) in &change {
            let text = m.text(from);
            m.write(to, text.as_bytes(), 0o644, now);
        }
        if !change.is_empty() {
            m.reloaded = now;
            m.start("containerd.service", now);
            self.changing.insert((name.to_owned(), RUNTIME_BEFORE.to_owned()), self.generation);
        }
        if mode == "try" && self.runtime_is_broken(name) {
            return broken(1, "containerd does not answer with the new settings");
        }
        if let Some(m) = self.machines.get_mut(name).filter(|_| mode != "try") {
            m.remove_below(kept);
        }
        done("")
    }

    /// What containerd reads or is on this machine is such that no container starts with it.
    pub(super) fn runtime_is_broken(&self, name: &str) -> bool {
        let Some(m) = self.machines.get(name) else { return false };
        let config = m.text("/etc/containerd/config.toml");
        let program = m.files.get(crate::resource::CONTAINERD).map(|f| format!("{}@{name}", f.digest.hex()));
        self.broken_runtime.as_ref().is_some_and(|bad| config.contains(bad.as_str()))
            || program.is_some_and(|p| self.broken_kubelets.contains(&p))
    }

    /// A change of settings begins on a machine.
    fn begins(&mut self, name: &str, path: String, now: u64) {
        if let Some(m) = self.machines.get_mut(name) {
            m.write(&path, UNFINISHED, 0o600, now);
        }
        self.changing.insert((name.to_owned(), path), self.generation);
    }

    /// Looked at after every effect.
    pub(super) fn check_settings(&mut self) {
        // What a run that died left is none of this one's.
        let at_once = |planes: bool| {
            let now = self.changing.iter().filter(|(_, began)| **began == self.generation).map(|(place, _)| place);
            let left = |(name, path): &&(String, String)| {
                self.machines
                    .get(name)
                    .and_then(|m| m.files.get(path))
                    .is_some_and(|f| f.content == UNFINISHED || path == RUNTIME_BEFORE)
            };
            now.filter(left).filter(|(name, _)| self.etcd.contains_key(name) == planes).count()
        };
        let (planes, workers) = (at_once(true), at_once(false));
        if planes > 1 || workers > self.most_away {
            self.violations.push(format!("settings change at once on {planes} control planes and {workers} workers"));
        }
    }
}
