//! The arguments of `provision certs` and `provision etcd`.

use std::path::PathBuf;

use clap::Subcommand;

use super::args::InventoryArg;

/// `provision certs`
#[derive(Debug, Subcommand)]
pub enum CertsCommand {
    /// Show every certificate of every host with its days left; exit 2 when one has too few
    Check {
        /// The inventory
        #[command(flatten)]
        inventory: InventoryArg,
        /// How many days a certificate must still hold
        #[arg(long, value_name = "N", default_value_t = 30)]
        days: u32,
    },
}

/// `provision etcd`
#[derive(Debug, Subcommand)]
pub enum EtcdCommand {
    /// Write an encrypted backup: a snapshot of etcd, the cluster's CAs and kubeadm's configuration
    Snapshot {
        /// The inventory; its [backup] names who can read it
        #[command(flatten)]
        inventory: InventoryArg,
        /// The directory for it and for those before it
        #[arg(short, long, value_name = "DIR", default_value = "backups")]
        out: PathBuf,
    },
}
