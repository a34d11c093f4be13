//! The arguments.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::report::Format;

/// Builds offline bundles and turns bare Linux hosts into highly available kubeadm clusters over SSH.
#[derive(Debug, Parser)]
#[command(name = "provision", version, disable_help_subcommand = true, max_term_width = 110)]
#[command(
    after_help = "Exit codes: 0 done or nothing to do; 1 failed; 2 changes pending; 3 bad inventory, lock or bundle; \
4 host unreachable or not trusted; 5 refused by a safeguard; 64 wrong usage; 130 interrupted."
)]
pub struct Cli {
    /// Settings of every command.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// Settings of every command.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// text for people, json for programs: data on stdout, progress on stderr
    #[arg(long, global = true, value_enum, default_value = "text")]
    pub format: Format,
    /// How many hosts or downloads are worked on at once
    #[arg(long, global = true, default_value_t = 10, value_name = "N")]
    pub concurrency: usize,
    /// Say more
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// Where host keys are looked up that the inventory does not pin
    #[arg(long, global = true, value_name = "FILE")]
    pub known_hosts: Option<PathBuf>,
}

/// The inventory.
#[derive(Debug, Clone, Args)]
pub struct InventoryArg {
    /// The inventory
    #[arg(short, long, value_name = "FILE", default_value = "inventory.toml", env = "PROVISION_INVENTORY")]
    pub inventory: PathBuf,
}

/// Inventory and bundle.
#[derive(Debug, Clone, Args)]
pub struct Inputs {
    /// The inventory
    #[command(flatten)]
    pub inventory: InventoryArg,
    /// The bundle
    #[arg(short, long, value_name = "DIR", env = "PROVISION_BUNDLE")]
    pub bundle: PathBuf,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a commented sample inventory
    Init {
        /// Where to
        #[arg(default_value = ".")]
        dir: PathBuf,
    },
    /// Check an inventory: every problem at once
    Validate(InventoryArg),
    /// Make, check and show bundles
    #[command(subcommand)]
    Bundle(BundleCommand),
    /// Check the hosts, read-only, each finding with its remedy
    Preflight(InventoryArg),
    /// Show what apply would change
    Plan {
        /// Inventory and bundle
        #[command(flatten)]
        inputs: Inputs,
        /// Save the plan as JSON
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Exit with 2 when there is something to change
        #[arg(long)]
        detailed_exitcode: bool,
    },
    /// Make the hosts what the inventory says
    Apply {
        /// Inventory and bundle
        #[command(flatten)]
        inputs: Inputs,
        /// Carry out this saved plan, and refuse when anything it was made from has changed
        #[arg(long, value_name = "FILE")]
        plan: Option<PathBuf>,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
    /// Show the cluster against the inventory
    Status(InventoryArg),
    /// Fetch an admin kubeconfig
    Kubeconfig {
        /// The inventory
        #[command(flatten)]
        inventory: InventoryArg,
        /// Where to (0600); - for stdout
        #[arg(short, long, value_name = "FILE", default_value = "kubeconfig")]
        out: PathBuf,
    },
    /// Make hosts bare again
    Reset {
        /// The inventory
        #[command(flatten)]
        inventory: InventoryArg,
        /// The host; may be given several times
        #[arg(long = "host", value_name = "NAME", required_unless_present = "all")]
        hosts: Vec<String>,
        /// Every host: the cluster ends
        #[arg(long, conflicts_with = "hosts")]
        all: bool,
        /// The confirmation, instead of being asked: the host names with commas, or the cluster's name with --all
        #[arg(long, value_name = "TEXT")]
        confirm: Option<String>,
    },
    /// Show and check journals
    #[command(subcommand)]
    Journal(JournalCommand),
    /// A real cluster in containers on this machine
    #[command(subcommand)]
    Lab(LabCommand),
}

/// `provision bundle`
#[derive(Debug, Subcommand)]
pub enum BundleCommand {
    /// Ask upstream and pin every digest
    Lock {
        /// The inventory
        #[command(flatten)]
        inventory: InventoryArg,
        /// The lock
        #[arg(short, long, value_name = "FILE", default_value = "bundle.lock.toml")]
        lock: PathBuf,
        /// Use package repositories also when their metadata or keys are expired
        #[arg(long)]
        allow_expired: bool,
    },
    /// Fetch what is locked and make the bundle
    Build {
        /// The inventory (its [sources])
        #[command(flatten)]
        inventory: InventoryArg,
        /// The lock
        #[arg(short, long, value_name = "FILE", default_value = "bundle.lock.toml")]
        lock: PathBuf,
        /// The bundle
        #[arg(short, long, value_name = "DIR", default_value = "bundle")]
        out: PathBuf,
    },
    /// Hash everything again, and prove that all an inventory will ask for is inside
    Verify {
        /// The bundle
        #[arg(value_name = "BUNDLE")]
        bundle: PathBuf,
        /// The inventory
        #[arg(short, long, value_name = "FILE")]
        inventory: Option<PathBuf>,
    },
    /// Show what is inside
    Inspect {
        /// The bundle
        #[arg(value_name = "BUNDLE")]
        bundle: PathBuf,
    },
}

/// `provision journal`
#[derive(Debug, Subcommand)]
pub enum JournalCommand {
    /// Show a journal; the newest when none is named
    Show {
        /// The cluster
        cluster: String,
        /// The journal's file
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Check a journal's chain of hashes
    Verify {
        /// The journal's file
        file: PathBuf,
    },
}

/// `provision lab`
#[derive(Debug, Subcommand)]
pub enum LabCommand {
    /// Bring up a cluster from nothing
    Up(LabUp),
    /// Take a lab away, with everything it made
    Down {
        /// Its name
        #[arg(long, default_value = "lab")]
        name: String,
    },
    /// List labs
    List,
}

/// `provision lab up`
#[derive(Debug, Clone, Args)]
pub struct LabUp {
    /// Its name
    #[arg(long, default_value = "lab")]
    pub name: String,
    /// Control planes
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub control_planes: u8,
    /// Workers
    #[arg(long, default_value_t = 2, value_name = "N")]
    pub workers: u8,
    /// Where Kubernetes comes from: upstream, debian, or dir:PATH; the first that answers when left out
    #[arg(long, value_name = "SOURCE")]
    pub source: Option<String>,
    /// How the API is reached: haproxy or first-node
    #[arg(long, default_value = "haproxy", value_name = "MODE")]
    pub endpoint: String,
    /// Stop before apply: hosts, inventory and bundle are ready
    #[arg(long)]
    pub no_apply: bool,
}
