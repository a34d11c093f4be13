//! Where a lab keeps its files.

use std::path::PathBuf;

use crate::error::{Context as _, Error, Kind, Result};
use crate::exec::state_dir;

/// The directory of a lab: `$PROVISION_LAB_DIR/NAME`, else `lab/NAME` under the state directory.
///
/// # Errors
/// A name that is not a DNS label: it becomes part of paths that `down` removes.
pub fn lab_dir(name: &str) -> Result<PathBuf> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > 30 || name.starts_with('-') || !name.chars().all(plain) {
        return Err(Error::new(Kind::Usage, format!("`{name}` is not a lab's name"))
            .hint("lower-case letters, digits and dashes, at most 30, no dash first"));
    }
    let base = match std::env::var_os("PROVISION_LAB_DIR") {
        Some(dir) => PathBuf::from(dir),
        None => state_dir()?.join("lab"),
    };
    Ok(base.join(name))
}

/// The files of a lab.
#[derive(Debug, Clone)]
pub struct LabState {
    /// All of it.
    pub dir: PathBuf,
}

impl LabState {
    /// Makes the directory.
    pub fn create(name: &str) -> Result<Self> {
        let dir = lab_dir(name)?;
        std::fs::create_dir_all(&dir).context(|| format!("failed to make {}", dir.display()))?;
        Ok(Self { dir })
    }
    /// The same for another version of Kubernetes, which has an inventory, a lock and a bundle of its own.
    pub fn of_version(&self, version: &str) -> Result<Self> {
        let dir = self.dir.join(version);
        std::fs::create_dir_all(&dir).context(|| format!("failed to make {}", dir.display()))?;
        Ok(Self { dir })
    }
    /// The inventory.
    #[must_use]
    pub fn inventory(&self) -> PathBuf {
        self.dir.join("inventory.toml")
    }
    /// The lock.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.dir.join("bundle.lock.toml")
    }
    /// The bundle.
    #[must_use]
    pub fn bundle(&self) -> PathBuf {
        self.dir.join("bundle")
    }
    /// The SSH key.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.dir.join("id_ed25519")
    }
    /// The keys that sign the bundle: `signer.key` and `signer.pub`.
    #[must_use]
    pub fn signer(&self) -> PathBuf {
        self.dir.join("signer")
    }
    /// The SSH host keys of the nodes.
    #[must_use]
    pub fn known_hosts(&self) -> PathBuf {
        self.dir.join("known_hosts")
    }
    /// The kubectl of the bundle.
    #[must_use]
    pub fn kubectl(&self) -> PathBuf {
        self.dir.join("kubectl")
    }
    /// The admin kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.join("kubeconfig")
    }
}

#[cfg(test)]
mod tests {
    use super::lab_dir;
    use crate::error::Kind;

    #[test]
    fn a_name_stays_in_its_directory() {
        for name in ["", ".", "..", "../x", "a/b", "/etc", "-x", "A", "a b", &"a".repeat(31)] {
            assert_eq!(lab_dir(name).err().map(|e| e.kind()), Some(Kind::Usage), "{name}");
        }
        for name in ["lab", "e2e", "a-1"] {
            assert!(lab_dir(name).is_ok_and(|dir| dir.ends_with(name)), "{name}");
        }
    }
}
