//! The inventory as the planner reads it: defaults, pools and hosts merged into one [`Node`] each.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use super::host::{Host, HostSettings, Jump, Role, Sudo, SudoMethod};
use super::model::{EndpointMode, Inventory};

/// One host with every setting decided. Precedence: host over pool over defaults over built-in; labels are merged by
/// key with the same precedence; taints are added up.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The node's name.
    pub name: String,
    /// The node's address in the cluster.
    pub address: IpAddr,
    /// Its role.
    pub role: Role,
    /// Its pool.
    pub pool: Option<String>,
    /// How to reach it.
    pub ssh: SshTarget,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its taints.
    pub taints: Vec<String>,
}

/// How to reach a host by SSH.
#[derive(Debug, Clone, PartialEq)]
pub struct SshTarget {
    /// Address or name SSH connects to.
    pub address: String,
    /// TCP port.
    pub port: u16,
    /// Login name.
    pub user: String,
    /// Private key file.
    pub key_file: Option<PathBuf>,
    /// Environment variable with the passphrase of `key_file`.
    pub key_passphrase_env: Option<String>,
    /// Pinned host key.
    pub host_key: Option<String>,
    /// How root is reached.
    pub sudo: Sudo,
    /// Jump host.
    pub jump: Option<Jump>,
}

/// Where a control plane keeps what it reaches an etcd by that we built. Not below /etc/kubernetes: that goes when a
/// broken join is cleared.
pub const ETCD_CLIENT_DIR: &str = "/etc/provision/etcd-client";

/// How the control planes reach an external etcd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdAccess {
    /// Client URLs.
    pub endpoints: Vec<String>,
    /// Path on every control plane of etcd's CA.
    pub ca_file: String,
    /// Path on every control plane of the client certificate.
    pub cert_file: String,
    /// Path on every control plane of the client key.
    pub key_file: String,
}

/// The API endpoint, decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiEndpoint {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl ApiEndpoint {
    /// `host:port`, with brackets round an IPv6 address.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl Inventory {
    /// The Kubernetes version that is asked for, as nodes and images name it: with a `v`.
    #[must_use]
    pub fn version_name(&self) -> String {
        format!("v{}", self.cluster.version.trim_start_matches('v'))
    }

    /// The hosts that are nodes of the cluster, with their settings decided, in the inventory's order.
    #[must_use]
    pub fn nodes(&self) -> Vec<Node> {
        self.hosts.iter().filter(|h| h.role != Role::Etcd).map(|host| self.node(host)).collect()
    }

    /// Every host, those that run etcd and nothing else among them, in the inventory's order.
    #[must_use]
    pub fn machines(&self) -> Vec<Node> {
        self.hosts.iter().map(|host| self.node(host)).collect()
    }

    /// The hosts of the etcd that is built as units, in the order of `[etcd] hosts`; none with any other etcd.
    #[must_use]
    pub fn etcd_nodes(&self) -> Vec<Node> {
        let named = |name: &String| self.hosts.iter().find(|h| h.name == *name && self.etcd.runs_on(name));
        self.etcd.hosts.iter().filter_map(named).map(|host| self.node(host)).collect()
    }

    /// The control planes, in the inventory's order; the first of them runs `kubeadm init`.
    #[must_use]
    pub fn control_planes(&self) -> Vec<Node> {
        self.hosts.iter().filter(|h| h.role.is_control_plane()).map(|host| self.node(host)).collect()
    }

    /// The nodes that are not control planes, in the inventory's order.
    #[must_use]
    pub fn workers(&self) -> Vec<Node> {
        self.hosts.iter().filter(|h| h.role.is_worker()).map(|host| self.node(host)).collect()
    }

    /// How the control planes reach an external etcd: as the inventory says, or as we built it.
    #[must_use]
    pub fn etcd_access(&self) -> EtcdAccess {
        let etcd = &self.etcd;
        if etcd.hosts.is_empty() {
            let path = |file: &Option<String>| file.clone().unwrap_or_default();
            return EtcdAccess {
                endpoints: etcd.endpoints.clone(),
                ca_file: path(&etcd.ca_file),
                cert_file: path(&etcd.cert_file),
                key_file: path(&etcd.key_file),
            };
        }
        let url = |node: &Node| format!("https://{}", std::net::SocketAddr::new(node.address, 2379));
        EtcdAccess {
            endpoints: self.etcd_nodes().iter().map(url).collect(),
            ca_file: format!("{ETCD_CLIENT_DIR}/ca.crt"),
            // kubeadm's own name for it.
            cert_file: format!("{ETCD_CLIENT_DIR}/apiserver-etcd-client.crt"),
            key_file: format!("{ETCD_CLIENT_DIR}/apiserver-etcd-client.key"),
        }
    }

    /// The API endpoint with its defaults filled in.
    #[must_use]
    pub fn api_endpoint(&self) -> ApiEndpoint {
        let first = || {
            let host = self.hosts.iter().find(|h| h.role.is_control_plane());
            host.map_or_else(String::new, |h| h.address.to_string())
        };
        let (host, port) = match self.endpoint.mode {
            EndpointMode::FirstNode => (first(), 6443),
            EndpointMode::Haproxy => (format!("api.{}.internal", self.cluster.name), 8443),
            EndpointMode::KeepalivedHaproxy => (first(), 8443),
            EndpointMode::External | EndpointMode::KubeVip => (first(), 6443),
        };
        ApiEndpoint { host: self.endpoint.host.clone().unwrap_or(host), port: self.endpoint.port.unwrap_or(port) }
    }

    fn node(&self, host: &Host) -> Node {
        let empty = HostSettings::default();
        let pool = host.pool.as_ref().and_then(|p| self.pools.get(p)).unwrap_or(&empty);
        let defaults = &self.defaults;
        let mut labels = defaults.labels.clone();
        labels.extend(pool.labels.clone());
        labels.extend(host.labels.clone());
        let mut taints: Vec<String> = Vec::new();
        for taint in defaults.taints.iter().chain(&pool.taints).chain(&host.taints) {
            if !taints.contains(taint) {
                taints.push(taint.clone());
            }
        }
        let user = host.user.clone().or(pool.user.clone()).or(defaults.user.clone()).unwrap_or_else(|| "root".into());
        let sudo = host.sudo.clone().or(pool.sudo.clone()).or(defaults.sudo.clone()).unwrap_or_else(|| Sudo {
            method: if user == "root" { SudoMethod::None } else { SudoMethod::Passwordless },
            env: None,
            file: None,
        });
        Node {
            name: host.name.clone(),
            address: host.address,
            role: host.role,
            pool: host.pool.clone(),
            ssh: SshTarget {
                address: host.ssh_address.clone().unwrap_or_else(|| host.address.to_string()),
                port: host.port.or(pool.port).or(defaults.port).unwrap_or(22),
                user,
                key_file: host.key_file.clone().or(pool.key_file.clone()).or(defaults.key_file.clone()),
                key_passphrase_env: pool.key_passphrase_env.clone().or(defaults.key_passphrase_env.clone()),
                host_key: host.host_key.clone(),
                sudo,
                jump: host.jump.clone().or(pool.jump.clone()).or(defaults.jump.clone()),
            },
            labels,
            taints,
        }
    }
}
