//! The arguments of `provision certs` and `provision etcd`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::args::{Inputs, InventoryArg};
use crate::exec::rotation::Workloads;
use crate::rotation::{Family, Phase};

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
    /// Make keys on the nodes and bring the requests for their certificates; for CAs that somebody else keeps
    ///
    /// Keys that are there are kept. They stay on the nodes; DIR gets one HOST/NAME.csr each, and a README.txt and an
    /// index.json that say who has to sign what.
    Csr {
        /// The inventory, with [certificates] mode = "external"
        #[command(flatten)]
        inventory: InventoryArg,
        /// Where to
        #[arg(short, long, value_name = "DIR", default_value = "requests")]
        out: PathBuf,
    },
    /// Check the certificates that came back and bring them onto the nodes
    ///
    /// Each HOST/NAME.crt is held against the node's key, the CA, subject, names, usages and dates; when one is wrong no
    /// node is touched. Hosts without a folder in DIR are left out. A living cluster goes on with the new certificates:
    /// one control plane after the other restarts, with health checks between.
    Install {
        /// The inventory, with [certificates] mode = "external"
        #[command(flatten)]
        inventory: InventoryArg,
        /// The folder that `certs csr` wrote
        #[arg(long, value_name = "DIR", default_value = "requests")]
        from: PathBuf,
        /// Do not ask before a living cluster's control planes restart
        #[arg(short, long)]
        yes: bool,
    },
    /// On a node: make the keys that standard input names
    #[command(hide = true)]
    Keys,
    /// Put a new CA in the place of one of the cluster's, while the cluster serves
    ///
    /// In Kubernetes' own order. Trust: every node, service account and joining host learns the new CA beside the old one.
    /// Switch: certificates and kubeconfigs are signed by the new one, with the names and keys they had (`certs renew`
    /// makes new keys). Drop: the old one is forgotten, where nothing is signed by it any more. One node after the other,
    /// control planes first, each only while all control planes are well.
    ///
    /// Every node of the inventory must answer. Killed anywhere, the same command goes on from what it finds on the nodes;
    /// until it is through, `plan` and `apply` are refused.
    RotateCa(RotateCa),
}

/// `provision certs rotate-ca`
#[derive(Debug, Clone, Args)]
pub struct RotateCa {
    /// The inventory
    #[command(flatten)]
    pub inventory: InventoryArg,
    /// The CA
    #[arg(long, value_enum, default_value = "kubernetes")]
    pub ca: Family,
    /// Stop when this phase is done everywhere, to hand out kubeconfigs or to restart workloads
    #[arg(long, value_enum, value_name = "PHASE", default_value = "drop")]
    pub until: Phase,
    /// Pods outside kube-system that were made before they could trust the new CA: before the switch, wait (exit 5) until
    /// somebody restarted them, restart their owners, or leave them
    #[arg(long, value_enum, default_value = "wait")]
    pub workloads: Workloads,
    /// The confirmation, instead of being asked: the cluster's name
    #[arg(long, value_name = "TEXT")]
    pub confirm: Option<String>,
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
