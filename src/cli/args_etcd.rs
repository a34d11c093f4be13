//! The arguments of `provision certs` and `provision etcd`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::args::{Inputs, InventoryArg};

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
    /// Renew the control planes' certificates, one control plane after the other
    Renew {
        /// The inventory
        #[command(flatten)]
        inventory: InventoryArg,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
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
        /// This program runs on that control plane itself, as root: nothing goes over SSH
        #[arg(long, value_name = "NAME", hide = true)]
        here: Option<String>,
    },
    /// Build the control planes anew from a backup, once etcd's majority is lost
    Restore(Restore),
}

/// `provision etcd restore`
#[derive(Debug, Clone, Args)]
pub struct Restore {
    /// Inventory and bundle: the hosts that the cluster shall have now, the same or others
    #[command(flatten)]
    pub inputs: Inputs,
    /// The backup
    #[arg(value_name = "SNAPSHOT")]
    pub snapshot: PathBuf,
    /// The file with your secret key of age
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// The control plane that is restored first, the others join it; the inventory's first when left out
    #[arg(long, value_name = "NAME")]
    pub on: Option<String>,
    /// The confirmation, instead of being asked: the cluster's name
    #[arg(long, value_name = "TEXT")]
    pub confirm: Option<String>,
    /// Throw away what a living etcd holds
    #[arg(long)]
    pub even_though_etcd_has_quorum: bool,
}
