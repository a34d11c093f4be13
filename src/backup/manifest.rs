//! The first entry of a backup: what the others are.

use serde::{Deserialize, Serialize};

use crate::bundle::Digest;
use crate::error::{Error, Result};

/// The version of the backup's form that this program writes and reads.
pub const BACKUP_FORMAT: u32 = 1;
/// The snapshot's entry.
pub const SNAPSHOT: &str = "etcd/snapshot.db";
/// The entry of the ConfigMap kubeadm-config.
pub const KUBEADM_CONFIG: &str = "kubeadm/kubeadm-config.json";

/// The API server's argument that names the file with its own key for encrypting secrets: without that file the restored
/// secrets could not be read.
pub const ENCRYPTION_CONFIG: &str = "encryption-provider-config";

/// What makes the same cluster of other hosts: its CAs, and the keys that signed its service accounts' tokens. Every
/// other certificate is made from these.
pub const PKI_FILES: [&str; 8] = [
    "/etc/kubernetes/pki/ca.crt",
    "/etc/kubernetes/pki/ca.key",
    "/etc/kubernetes/pki/sa.pub",
    "/etc/kubernetes/pki/sa.key",
    "/etc/kubernetes/pki/front-proxy-ca.crt",
    "/etc/kubernetes/pki/front-proxy-ca.key",
    "/etc/kubernetes/pki/etcd/ca.crt",
    "/etc/kubernetes/pki/etcd/ca.key",
];

/// What a backup is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupManifest {
    /// [`BACKUP_FORMAT`] when written.
    pub format_version: u32,
    /// The cluster's name.
    pub cluster: String,
    /// Its Kubernetes version, like "1.36.2".
    pub kubernetes: String,
    /// When it was taken, RFC 3339 in UTC.
    pub taken_at: String,
    /// The control plane it was taken on.
    pub node: String,
    /// etcd's snapshot.
    pub snapshot: Snapshot,
    /// The files that are put back where they were.
    pub files: Vec<Kept>,
}

/// etcd's snapshot, as `snapshot status` on the node told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// Of its bytes.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// etcd's revision.
    pub revision: u64,
    /// The number of keys.
    pub keys: u64,
}

/// A file of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// Where it was.
    pub path: String,
    /// Of its content.
    pub digest: Digest,
}

impl BackupManifest {
    /// Reads one; whether everything that a cluster is rebuilt from is named, and nothing that lies elsewhere.
    pub fn parse(text: &[u8]) -> Result<Self> {
        let manifest: Self =
            serde_json::from_slice(text).map_err(|e| Error::invalid("the backup's manifest is broken").source(e))?;
        if manifest.format_version != BACKUP_FORMAT {
            return Err(Error::invalid(format!("the backup has format {}", manifest.format_version))
                .hint("restore it with the version of provision that made it"));
        }
        if let Some(missing) = PKI_FILES.iter().find(|p| !manifest.files.iter().any(|f| f.path == **p)) {
            return Err(Error::invalid(format!("the backup has no {missing}")));
        }
        let strange =
            |p: &str| !p.starts_with("/etc/kubernetes/") || p.split('/').any(|part| part == ".." || part == ".");
        if let Some(file) = manifest.files.iter().find(|f| strange(&f.path)) {
            return Err(Error::invalid(format!("the backup would write {:?}", file.path)));
        }
        Ok(manifest)
    }
}

/// The entry that holds a file of the node.
#[must_use]
pub fn entry_name(path: &str) -> String {
    format!("root{path}")
}

/// Whether only root may read this file on a node.
#[must_use]
pub fn is_key(path: &str) -> bool {
    !(path.ends_with(".crt") || path.ends_with(".pub"))
}
