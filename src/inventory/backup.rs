//! `[backup]`: who can read a backup, and how many are kept.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[backup]`: what `etcd snapshot` writes. It holds every secret of the cluster, so it takes recipients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Backup {
    /// The public keys of age, like "age1...", that a backup is encrypted to. Any one of their owners can read it.
    pub recipients: Vec<String>,
    /// Writes backups that everybody who gets hold of the file can read, with a warning each time.
    pub allow_unencrypted: Option<UnencryptedBackup>,
    /// How many backups of the cluster stay in a directory: the oldest beyond that go once a new one is verified.
    pub keep: u32,
    /// When every control plane takes a backup of its own into `/var/lib/provision-backups`: an `OnCalendar=` expression of
    /// systemd, like "daily" or "*-*-* 02:30". Left out: never.
    pub schedule: Option<String>,
}

impl Default for Backup {
    fn default() -> Self {
        Self { recipients: Vec::new(), allow_unencrypted: None, keep: 7, schedule: None }
    }
}

/// The words that switch the encryption off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum UnencryptedBackup {
    /// Nothing else will do.
    #[serde(rename = "I accept backups that anybody can read")]
    Accepted,
}
