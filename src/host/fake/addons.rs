//! Releases and manifests.

use super::effect::{broken, done};
use super::world::World;
use crate::host::Output;

impl World {
    /// What `helm history` says.
    pub(super) fn release_json(&self, name: &str, release: &str, namespace: &str) -> Result<String, String> {
        self.through_helm(name)?;
        let mark = self.releases.get(&format!("{namespace}/{release}")).ok_or("Error: release: not found")?;
        Ok(serde_json::json!([{ "revision": 1, "status": "deployed", "description": mark }]).to_string())
    }

    /// Whether applying a file from the store would change nothing.
    pub(super) fn applied(&self, name: &str, hex: &str) -> Result<String, String> {
        self.through_admin(name)?;
        let stored = self.machines.get(name).is_some_and(|m| m.blobs.keys().any(|b| b.hex() == hex));
        if stored && self.manifests.contains(hex) { Ok(String::new()) } else { Err("it differs".into()) }
    }

    fn through_helm(&self, name: &str) -> Result<(), String> {
        self.through_admin(name)?;
        let has = self.machines.get(name).is_some_and(|m| m.has("/usr/local/bin/helm"));
        if has { Ok(()) } else { Err("helm: not found".into()) }
    }

    /// The script that installs a release.
    pub(super) fn release(&mut self, name: &str, args: &[&str]) -> Output {
        let &[_, hex, release, namespace, mark, ..] = args else { return broken(2, "bad arguments") };
        let stored = self.machines.get(name).is_some_and(|m| m.blobs.keys().any(|b| b.hex() == hex));
        match self.through_helm(name) {
            Err(e) => broken(1, e),
            Ok(()) if !stored => broken(65, "blob is damaged or missing"),
            Ok(()) => {
                self.releases.insert(format!("{namespace}/{release}"), mark.to_owned());
                done("")
            }
        }
    }

    /// The script that applies a manifest.
    pub(super) fn manifest(&mut self, name: &str, args: &[&str]) -> Output {
        let &[_, hex, _] = args else { return broken(2, "bad arguments") };
        let stored = self.machines.get(name).is_some_and(|m| m.blobs.keys().any(|b| b.hex() == hex));
        match self.through_admin(name) {
            Err(e) => broken(1, e),
            Ok(()) if !stored => broken(65, "blob is damaged or missing"),
            Ok(()) => {
                self.manifests.insert(hex.to_owned());
                done("")
            }
        }
    }
}
