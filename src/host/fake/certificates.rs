//! Certificates on a machine.

use super::world::World;

impl World {
    /// What the certs probe prints: the machine's own files, no keys among them.
    pub(super) fn certificates(&self, name: &str) -> String {
        let files = self.machines.get(name).into_iter().flat_map(|m| &m.files);
        let of_pki = |path: &str| path.starts_with("/etc/kubernetes/pki/") && path.ends_with(".crt");
        let certificates = files.filter(|(path, _)| of_pki(path) || path.ends_with("-current.pem"));
        let print = |(path, file): (&String, &super::machine::FakeFile)| {
            let text = String::from_utf8_lossy(&file.content);
            let certificate = text.split("-----BEGIN PRIVATE KEY").next().unwrap_or_default();
            format!("pem {path}\n{certificate}")
        };
        certificates.map(print).collect()
    }
}
