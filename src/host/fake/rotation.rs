//! The rotation of a CA on a machine.

use super::effect::{broken, done};
use super::world::World;
use crate::host::Output;

const MANAGER: &str = "/etc/kubernetes/manifests/kube-controller-manager.yaml";
const SIGNER: &str = "    - --cluster-signing-cert-file=";

/// The values of a field, wherever it stands in a text.
fn fields<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines().filter_map(move |l| l.trim().strip_prefix(name)?.strip_prefix(": "))
}

fn with_field(text: &str, name: &str, value: &str) -> String {
    let line = |l: &str| match l.split_once(&format!("{name}: ")) {
        Some((before, _)) => format!("{before}{name}: {value}\n"),
        None => format!("{l}\n"),
    };
    text.lines().map(line).collect()
}

impl World {
    /// What the probe `rotation` prints.
    pub(super) fn rotation(&self, name: &str, dir: &str, key: &str) -> String {
        let Some(m) = self.machines.get(name) else { return String::new() };
        let mut out = String::new();
        if m.files.keys().any(|path| path.starts_with(&format!("{dir}/"))) {
            out += "begun=yes\n";
        }
        if m.has(key) {
            out += "key=yes\n";
        }
        if ["old.crt", "old.key", "new.crt", "new.key"].iter().all(|f| m.has(&format!("{dir}/{f}"))) {
            out += "staged=yes\n";
        }
        for mark in ["reached", "cluster", "since"] {
            if m.has(&format!("{dir}/{mark}")) {
                out += &format!("{mark}={}\n", m.text(&format!("{dir}/{mark}")).trim());
            }
        }
        for line in m.text(MANAGER).lines() {
            if let Some(file) = line.strip_prefix(SIGNER) {
                out += &format!("signer={file}\n");
            }
        }
        for path in m.files.keys().filter(|p| p.starts_with("/etc/kubernetes/") && p.ends_with(".conf")) {
            for data in fields(&m.text(path), "certificate-authority-data") {
                out += &format!("data {path} {data}\n");
            }
        }
        out
    }

    /// What the certs probe prints of kubeconfigs.
    pub(super) fn client_certificates(&self, name: &str) -> String {
        let Some(m) = self.machines.get(name) else { return String::new() };
        let confs = m.files.keys().filter(|p| p.starts_with("/etc/kubernetes/") && p.ends_with(".conf"));
        confs
            .flat_map(|path| {
                let text = m.text(path);
                let all: Vec<String> =
                    fields(&text, "client-certificate-data").map(|d| format!("data {path} {d}\n")).collect();
                all
            })
            .collect()
    }

    pub(super) fn rotation_script(
        &mut self,
        name: &str,
        script: &str,
        args: &[&str],
        stdin: &[u8],
        now: u64,
    ) -> Output {
        let up = self.cluster_up();
        let Some(m) = self.machines.get_mut(name) else { return broken(255, "no machine") };
        let input = String::from_utf8_lossy(stdin).into_owned();
        match (script, args) {
            ("rotation-keep", [dir, cert, key]) => {
                for (from, to) in [(key, "old.key"), (cert, "old.crt")] {
                    let content = m.text(from);
                    m.write(&format!("{dir}/{to}"), content.as_bytes(), 0o600, now);
                }
            }
            ("rotation-place-key", [from, to]) => {
                let content = m.text(from);
                m.write(to, content.as_bytes(), 0o600, now);
            }
            ("rotation-kubeconfig", [path]) => {
                let mut lines = input.lines();
                let mut text =
                    with_field(&m.text(path), "certificate-authority-data", lines.next().unwrap_or_default());
                if let Some(cert) = lines.next() {
                    text = with_field(&text, "client-certificate-data", cert);
                }
                m.write(path, text.as_bytes(), 0o600, now);
            }
            ("rotation-kubelet-pem", [path]) => {
                let old = m.text(path);
                let key = old.find("-----BEGIN PRIVATE KEY").map(|at| old[at..].to_owned()).unwrap_or_default();
                m.write(path, format!("{input}{key}").as_bytes(), 0o600, now);
            }
            ("rotation-publish", [_, cert, ..]) if up => {
                self.accounts = m.text(cert);
                return done("2026-01-01T00:00:09Z\n");
            }
            ("kubelet-anew", [_]) => m.start("kubelet.service", now),
            _ => return broken(1, format!("the fake cannot do {script} here")),
        }
        done("")
    }

    /// The controller manager's manifest says by which CA it signs.
    pub(super) fn signs_by(&mut self, name: &str, args: &[&str], now: u64) {
        let (["kube-controller-manager", cert, _], Some(m)) = (args, self.machines.get_mut(name)) else { return };
        let line = |l: &str| if l.starts_with(SIGNER) { format!("{SIGNER}{cert}\n") } else { format!("{l}\n") };
        let text: String = m.text(MANAGER).lines().map(line).collect();
        m.write(MANAGER, text.as_bytes(), 0o600, now);
    }
}
