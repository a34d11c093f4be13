//! The inventory's hosts as written: role, address, how to log in and how to become root.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A host's role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Runs the control plane and nothing else.
    ControlPlane,
    /// Runs workloads.
    Worker,
    /// Runs the control plane and workloads (no control-plane taint).
    Both,
    /// Runs a member of the external etcd and nothing of Kubernetes; `[etcd] hosts` names it.
    Etcd,
}

impl Role {
    /// Whether the host is a control plane.
    #[must_use]
    pub fn is_control_plane(self) -> bool {
        matches!(self, Self::ControlPlane | Self::Both)
    }

    /// Whether the host is a node of the cluster and no control plane.
    #[must_use]
    pub fn is_worker(self) -> bool {
        self == Self::Worker
    }
}

/// A host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// The node's name in the cluster: a DNS label.
    pub name: String,
    /// The address that nodes and `provision` reach it by.
    #[schemars(with = "super::schema::IpText")]
    pub address: IpAddr,
    /// Its role.
    pub role: Role,
    /// The pool whose settings it takes.
    #[serde(default)]
    pub pool: Option<String>,
    /// Where SSH listens, when it is not `address` (a NAT or a management network).
    #[serde(default)]
    pub ssh_address: Option<String>,
    /// The pinned SSH host key, as in `ssh-ed25519 AAAA...`; known_hosts is asked when there is none.
    #[serde(default)]
    pub host_key: Option<String>,
    /// Node labels; merged over those of defaults and pool.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Node taints, `key=value:Effect` or `key:Effect`; added to those of defaults and pool.
    #[serde(default)]
    pub taints: Vec<String>,
    /// SSH port.
    #[serde(default)]
    pub port: Option<u16>,
    /// SSH user.
    #[serde(default)]
    pub user: Option<String>,
    /// SSH private key file; the agent is asked when there is none.
    #[serde(default)]
    pub key_file: Option<PathBuf>,
    /// How root is reached.
    #[serde(default)]
    pub sudo: Option<Sudo>,
    /// The jump host.
    #[serde(default)]
    pub jump: Option<Jump>,
}

/// Settings of hosts that `[defaults]` and `[pools.NAME]` may hold.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HostSettings {
    /// SSH port.
    pub port: Option<u16>,
    /// SSH user.
    pub user: Option<String>,
    /// SSH private key file; the agent is asked when there is none.
    pub key_file: Option<PathBuf>,
    /// The environment variable that holds the key file's passphrase.
    pub key_passphrase_env: Option<String>,
    /// How root is reached.
    pub sudo: Option<Sudo>,
    /// The jump host.
    pub jump: Option<Jump>,
    /// Node labels.
    pub labels: BTreeMap<String, String>,
    /// Node taints.
    pub taints: Vec<String>,
}

/// How root is reached on a host. A password itself is never in the inventory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sudo {
    /// The way.
    pub method: SudoMethod,
    /// The environment variable with the password (method `env`).
    #[serde(default)]
    pub env: Option<String>,
    /// The file with the password (method `file`).
    #[serde(default)]
    pub file: Option<PathBuf>,
}

/// The way root is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SudoMethod {
    /// The SSH user is root.
    None,
    /// sudo asks for no password.
    Passwordless,
    /// The password is in an environment variable.
    Env,
    /// The password is in a file.
    File,
    /// The password is asked for once, on the terminal.
    Prompt,
}

/// An SSH jump host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Jump {
    /// Its address or name.
    pub address: String,
    /// Its SSH port.
    #[serde(default)]
    pub port: Option<u16>,
    /// Its SSH user.
    #[serde(default)]
    pub user: Option<String>,
    /// Its SSH private key file.
    #[serde(default)]
    pub key_file: Option<PathBuf>,
    /// Its pinned host key.
    #[serde(default)]
    pub host_key: Option<String>,
}
