//! The arguments of `provision node`.

use clap::{Args, Subcommand};

use super::args::Inputs;

/// `provision node`
#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// Take nodes out of the cluster, alive or dead
    ///
    /// One after the other: its pods move as their disruption budgets allow ([upgrade.drain]; pods that are left let it
    /// stay in the cluster), the other hosts follow the inventory without it, its etcd member goes and is looked at again,
    /// its host is made bare when it answers, its node object goes. Before every step etcd must keep its quorum without it.
    ///
    /// The host stays in the inventory while this runs, for how else would one know how to reach it. Killed anywhere, the
    /// same command goes on from what it finds. In the end it names the lines to take out of the inventory: the next
    /// `apply` with them would join the host again. A node that is in the inventory no more is found in the cluster by its
    /// name; its host is then left as it is.
    ///
    /// A host whose role is to change is removed, then joins with its new role by `apply`.
    Remove(Remove),
    /// Put a new host in the place of a node, alive or dead, the first control plane too
    ///
    /// List NEW in the inventory, beside OLD or in place of it. An OLD that serves stays until NEW has joined and is
    /// healthy, so etcd never has fewer healthy voters than before. An OLD that is dead leaves first, because etcd counts
    /// it until its member is removed. Only a host that the inventory still lists can be reset, so list a live OLD beside
    /// NEW: without it OLD keeps what it has, and with the CNI plugin "bridge" its pods move before NEW joins (a worker
    /// leaves then). Killed anywhere, the same command goes on. The rest is as with `node remove`.
    Replace(Replace),
}

/// `provision node remove`
#[derive(Debug, Clone, Args)]
pub struct Remove {
    /// The nodes; those that are gone for good must leave together when none of them answers
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<String>,
    /// Inventory and bundle
    #[command(flatten)]
    pub inputs: Inputs,
    /// The confirmation, instead of being asked: the names with commas
    #[arg(long, value_name = "TEXT")]
    pub confirm: Option<String>,
}

/// `provision node replace`
#[derive(Debug, Clone, Args)]
pub struct Replace {
    /// The node that goes
    pub old: String,
    /// The host of the inventory that takes its place
    pub new: String,
    /// Inventory and bundle
    #[command(flatten)]
    pub inputs: Inputs,
    /// The confirmation, instead of being asked: the name of the node that goes
    #[arg(long, value_name = "TEXT")]
    pub confirm: Option<String>,
}
