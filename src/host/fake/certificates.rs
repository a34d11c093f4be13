//! Certificates on a machine.

use super::world::World;

impl World {
    /// What the certs probe prints: the machine's own files, no keys among them.
    pub(super) fn certificates(&self, name: &str) -> String {
        let files = self.machines.get(name).into_iter().flat_map(|m| &m.files);
        let certificates = files.filter(|(path, _)| path.starts_with("/etc/kubernetes/pki/") && path.ends_with(".crt"));
        certificates.map(|(path, file)| format!("pem {path}\n{}", String::from_utf8_lossy(&file.content))).collect()
    }
}
