//! The arguments.

use std::path::PathBuf;

use chrono::NaiveDate;
use clap::{Args, Parser, Subcommand, ValueEnum};

use super::args_etcd::{CertsCommand, EtcdCommand};
use super::args_node::NodeCommand;
pub use super::args_registry::{Push, Serve};
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
    /// The bundle: a directory, a tar, or a volume of a split tar [default: `bundle` beside the inventory]
    #[arg(short, long, value_name = "PATH", env = "PROVISION_BUNDLE")]
    pub bundle: Option<PathBuf>,
}

/// Where a bundle is written to.
#[derive(Debug, Clone, Args)]
pub struct OutArg {
    /// Where to
    #[arg(short, long, value_name = "PATH", default_value = "bundle")]
    pub out: PathBuf,
    /// dir or tar; a tar when left out and PATH ends in .tar
    #[arg(long, value_enum)]
    pub form: Option<FormArg>,
    /// Volumes of this size, like 4GiB or 650MB: PATH.001, PATH.002 ... and PATH.volumes, their list
    #[arg(long, value_name = "SIZE", value_parser = crate::bundle::parse_size)]
    pub split: Option<u64>,
}

/// The form of a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FormArg {
    /// A directory
    Dir,
    /// One tar
    Tar,
}

/// Where the password of a secret key is; asked for when left out.
#[derive(Debug, Clone, Args)]
pub struct PasswordArg {
    /// The environment variable that holds the password
    #[arg(long, value_name = "VAR", conflicts_with = "password_file")]
    pub password_env: Option<String>,
    /// The file that holds the password
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}

fn date(text: &str) -> Result<NaiveDate, String> {
    crate::bundle::date(text).map_err(|e| e.hints().iter().fold(e.to_string(), |all, hint| format!("{all}: {hint}")))
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
    /// Serve a bundle as a read-only OCI registry
    Serve(Serve),
    /// Show the cluster against the inventory
    Status {
        /// The inventory
        #[command(flatten)]
        inventory: InventoryArg,
        /// Write it as a page too, with a picture of the cluster
        #[arg(long, value_name = "FILE")]
        html: Option<PathBuf>,
    },
    /// Fetch an administrator's kubeconfig
    ///
    /// It leads to the cluster's endpoint. With endpoint.mode "haproxy" that answers on the nodes alone: the current context
    /// leads to the first control plane whose API server is ready, and there is a context NAME-admin@NAME-NODE for each.
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
    /// Take nodes out of the cluster, and replace one by another
    #[command(subcommand)]
    Node(NodeCommand),
    /// Back up and bring back the cluster's state
    #[command(subcommand)]
    Etcd(EtcdCommand),
    /// Look after the cluster's certificates
    #[command(subcommand)]
    Certs(CertsCommand),
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
        /// Ask upstream only about this file, image, chart, manifest or set of packages (deb, rpm), or about all `files`,
        /// `images`, `charts`, `manifests` or `packages`, and keep every other pin; may be given several times
        #[arg(long, value_name = "NAME")]
        update: Vec<String>,
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
        #[command(flatten)]
        out: OutArg,
        /// Who builds it, for the provenance: best a URI, like that of the job
        #[arg(long, value_name = "ID", default_value = "unknown")]
        builder: String,
    },
    /// Make one tar of a bundle, or volumes of it
    Pack {
        /// The bundle, in any form; a delta too
        #[arg(value_name = "BUNDLE")]
        bundle: PathBuf,
        /// The tar, or what the names of its volumes begin with
        #[arg(short, long, value_name = "FILE")]
        out: PathBuf,
        /// Volumes of this size: FILE.001, FILE.002 ... and FILE.volumes, their list
        #[arg(long, value_name = "SIZE", value_parser = crate::bundle::parse_size)]
        split: Option<u64>,
    },
    /// Make a directory of a bundle
    Unpack {
        /// The bundle, in any form; a delta too
        #[arg(value_name = "BUNDLE")]
        bundle: PathBuf,
        /// The directory
        #[arg(short, long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Make a bundle of only the blobs that the far side lacks
    Delta {
        /// What the far side has: a bundle, its bundle.json, or its lock; may be given several times
        #[arg(long, value_name = "BUNDLE|MANIFEST|LOCK", required = true)]
        have: Vec<PathBuf>,
        /// The whole bundle
        #[arg(value_name = "BUNDLE")]
        bundle: PathBuf,
        /// The delta
        #[command(flatten)]
        out: OutArg,
    },
    /// Make a delta whole with the bundles it was made against, and verify the result
    Merge {
        /// Deltas and their bases, in any order
        #[arg(value_name = "BUNDLE", required = true)]
        bundles: Vec<PathBuf>,
        /// The whole bundle
        #[command(flatten)]
        out: OutArg,
    },
    /// Remove the blobs that nothing in a bundle's directory leads to
    Prune {
        /// The bundle's directory
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
    /// Show what differs between two locks or bundles
    Diff {
        /// A bundle in any form, its bundle.json, or a lock
        old: PathBuf,
        /// Another
        new: PathBuf,
        /// Exit with 2 when they differ
        #[arg(long)]
        detailed_exitcode: bool,
    },
    /// Make a key pair to sign bundles with
    Keygen {
        /// The secret key becomes NAME.key, the public one NAME.pub
        #[arg(short, long, value_name = "NAME")]
        out: PathBuf,
        /// The new key's password
        #[command(flatten)]
        password: PasswordArg,
    },
    /// Hash everything again and add a signature
    Sign {
        /// The bundle
        #[arg(value_name = "BUNDLE")]
        bundle: PathBuf,
        /// The secret key, of ours or of minisign
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// The key's password
        #[command(flatten)]
        password: PasswordArg,
        /// The last day (UTC) on which the signature counts, like 2027-01-31
        #[arg(long, value_name = "DATE", value_parser = date)]
        expires: Option<NaiveDate>,
    },
    /// Hash everything again, check the signatures, and prove that all an inventory will ask for is inside
    Verify {
        /// The bundle
        #[arg(value_name = "BUNDLE")]
        bundle: PathBuf,
        /// The inventory; its [trust] decides about the signatures
        #[arg(short, long, value_name = "FILE")]
        inventory: Option<PathBuf>,
        /// Refuse artifacts that were checked against nothing of their upstream
        #[arg(long)]
        strict: bool,
        /// A public key (or its file) that must have signed; may be given several times
        #[arg(long = "key", value_name = "PUBKEY", conflicts_with = "inventory")]
        keys: Vec<String>,
    },
    /// Push everything inside into a registry
    Push(Push),
    /// Show what is inside, how large, from where, under which licence, how verified
    Inspect {
        /// The bundle
        #[arg(value_name = "BUNDLE")]
        bundle: PathBuf,
        /// Write it as one page that needs nothing else, instead of the table
        #[arg(long, value_name = "FILE")]
        html: Option<PathBuf>,
    },
    /// Write the bill of materials, made anew from bundle.json
    Sbom {
        /// The bundle
        #[arg(value_name = "BUNDLE")]
        bundle: PathBuf,
        /// Its form
        #[arg(long = "as", value_enum, value_name = "FORM", default_value = "cyclonedx")]
        form: SbomForm,
        /// Where to; stdout when left out
        #[arg(short, long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// The form of a bill of materials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum SbomForm {
    /// CycloneDX 1.5, JSON
    Cyclonedx,
    /// SPDX 2.3, JSON
    Spdx,
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
    /// More of the inventory, laid over the lab's own: charts, packages, settings to try
    #[arg(long, value_name = "FILE")]
    pub with: Option<PathBuf>,
    /// The operating system of the nodes
    #[arg(long, value_enum, value_name = "OS", default_value_t)]
    pub os: crate::lab::Os,
    /// Stop before apply: hosts, inventory and bundle are ready
    #[arg(long)]
    pub no_apply: bool,
    /// An inventory and a bundle of this version of Kubernetes too, to upgrade to: in a directory of its name. From Debian's
    /// source it is the same program under another version; a directory of binaries needs one directory a version
    #[arg(long, value_name = "VERSION")]
    pub also: Option<String>,
}
