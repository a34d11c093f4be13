//! Backups of a cluster: what is in one, how it is named, how it is written and read. Pure but for the reader or writer
//! that the caller brings.

mod archive;
mod manifest;
mod name;

pub use archive::{Backup, Writer, identities, read, recipient};
pub use manifest::{
    BACKUP_FORMAT, BackupManifest, ENCRYPTION_CONFIG, KUBEADM_CONFIG, Kept, PKI_FILES, SNAPSHOT, Snapshot, entry_name,
    is_key,
};
pub use name::{file_name, surplus};
