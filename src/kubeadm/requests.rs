//! The certificates that a node needs when somebody else keeps the CAs: what kubeadm would make by itself, as requests.
//! Pure.
//!
//! Subjects, names and usages are those of kubeadm (cmd/kubeadm/app/phases/certs/certlist.go and phases/kubeconfig).

use std::collections::BTreeSet;
use std::net::SocketAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::config::{API_PORT, shared_sans};
use crate::error::Result;
use crate::inventory::{EtcdMode, Inventory, Node};
use crate::version::KubeVersion;

/// The group that may do everything, whatever the cluster's roles say.
const MASTERS: &str = "system:masters";
/// The group that kubeadm binds to cluster-admin, from 1.29 on.
const CLUSTER_ADMINS: &str = "kubeadm:cluster-admins";
/// The minor that brought that group, and an upgrade to which has kubeadm sign a certificate of its own.
pub(crate) const CLUSTER_ADMINS_SINCE: u32 = 29;
const KUBELET: &str = "kubelet";
const CONFIG_DIR: &str = "/etc/kubernetes";
const PKI_DIR: &str = "/etc/kubernetes/pki";

/// A CA of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Authority {
    /// Of the API server, the kubelets and their clients.
    Cluster,
    /// Of the API aggregation layer.
    FrontProxy,
    /// Of etcd.
    Etcd,
}

impl Authority {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Cluster, Self::FrontProxy, Self::Etcd];

    /// The key of `[certificates]` that names its file.
    #[must_use]
    pub fn setting(self) -> &'static str {
        match self {
            Self::Cluster => "ca",
            Self::FrontProxy => "front_proxy_ca",
            Self::Etcd => "etcd_ca",
        }
    }

    /// The name of its file among those that a node was given, without `.crt`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cluster => "ca",
            Self::FrontProxy => "front-proxy-ca",
            Self::Etcd => "etcd-ca",
        }
    }

    /// Where kubeadm looks for its certificate.
    #[must_use]
    pub fn path(self) -> String {
        match self {
            Self::Cluster | Self::FrontProxy => format!("{PKI_DIR}/{}.crt", self.name()),
            Self::Etcd => format!("{PKI_DIR}/etcd/ca.crt"),
        }
    }

    /// Its certificate in PEM, as the inventory's file has it.
    #[must_use]
    pub fn pem(self, inv: &Inventory) -> Option<&str> {
        let all = &inv.certificates.authorities;
        match self {
            Self::Cluster => all.ca.as_deref(),
            Self::FrontProxy => all.front_proxy_ca.as_deref(),
            Self::Etcd => all.etcd_ca.as_deref(),
        }
    }
}

/// What a certificate is used as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Usage {
    /// By a server.
    ServerAuth,
    /// By a client.
    ClientAuth,
}

impl Usage {
    /// As openssl's configuration names it.
    #[must_use]
    pub fn openssl(self) -> &'static str {
        match self {
            Self::ServerAuth => "serverAuth",
            Self::ClientAuth => "clientAuth",
        }
    }
}

/// A kubeconfig that a certificate and its key go into.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KubeConfig {
    /// The URL of the API.
    pub server: String,
    /// The name of the user in it.
    pub user: String,
}

/// A certificate that a node needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// What its files are called, without their endings.
    pub name: String,
    /// Who has to sign it.
    pub authority: Authority,
    /// The subject's common name.
    pub common_name: String,
    /// The subject's organization: the group that Kubernetes takes the user to be in.
    pub organization: Option<String>,
    /// The names and addresses that it is for.
    pub sans: Vec<String>,
    /// What it is used as.
    pub usages: Vec<Usage>,
    /// Where it goes: a kubeconfig, or the path of certificate and key without `.crt` and `.key`.
    pub path: String,
    /// With a kubeconfig, what it says beside the certificate.
    pub kubeconfig: Option<KubeConfig>,
}

impl Request {
    fn pair(name: &str, authority: Authority, common_name: &str, usages: &[Usage]) -> Self {
        let path = match authority {
            Authority::Etcd if name != "apiserver-etcd-client" => {
                format!("{PKI_DIR}/etcd/{}", name.trim_start_matches("etcd-"))
            }
            _ => format!("{PKI_DIR}/{name}"),
        };
        Self {
            name: name.into(),
            authority,
            common_name: common_name.into(),
            organization: None,
            sans: Vec::new(),
            usages: usages.into(),
            path,
            kubeconfig: None,
        }
    }

    fn config(name: &str, common_name: &str, organization: Option<&str>, server: &str) -> Self {
        Self {
            organization: organization.map(str::to_owned),
            path: format!("{CONFIG_DIR}/{name}.conf"),
            kubeconfig: Some(KubeConfig { server: server.into(), user: common_name.into() }),
            ..Self::pair(name, Authority::Cluster, common_name, &[Usage::ClientAuth])
        }
    }

    /// Whether only `kubeadm init` asks for it, and nothing afterwards.
    #[must_use]
    pub fn is_for_init_alone(&self) -> bool {
        self.name == "super-admin"
    }
}

/// What a node holds, and where Kubernetes finds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Placed {
    /// A certificate alone.
    Certificate {
        /// Its name on the node.
        name: String,
        /// The file.
        path: String,
    },
    /// A certificate and its key.
    Pair {
        /// Its name on the node.
        name: String,
        /// The files without `.crt` and `.key`.
        path: String,
    },
    /// The key pair that service account tokens are signed with.
    ServiceAccounts {
        /// The files without `.key` and `.pub`.
        path: String,
    },
    /// A kubeconfig.
    Config {
        /// Its certificate's name on the node.
        name: String,
        /// The file.
        path: String,
        /// The URL of the API.
        server: String,
        /// The user in it.
        user: String,
        /// The cluster in it.
        cluster: String,
        /// The pair that it names, without `.crt` and `.key`; it holds them itself when left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pair: Option<String>,
    },
}

/// Where all that this node needs goes.
///
/// Errors: as [`requests`].
pub fn placed(inv: &Inventory, node: &Node) -> Result<Vec<Placed>> {
    let all = requests(inv, node)?;
    let of = |authority: Authority| all.iter().any(|r| r.authority == authority);
    let authorities = Authority::ALL.into_iter().filter(|a| of(*a));
    let mut placed: Vec<Placed> =
        authorities.map(|a| Placed::Certificate { name: a.name().into(), path: a.path() }).collect();
    if node.role.is_control_plane() {
        placed.push(Placed::ServiceAccounts { path: format!("{PKI_DIR}/sa") });
    }
    for request in all {
        let Request { name, path, kubeconfig, .. } = request;
        let Some(KubeConfig { server, user }) = kubeconfig else {
            placed.push(Placed::Pair { name, path });
            continue;
        };
        // The kubelet reads the files that its kubeconfig names again every few minutes: a new certificate needs no
        // restart, which would take every pod of the node for not ready for a moment.
        let pair = (name == KUBELET).then(|| format!("{PKI_DIR}/{KUBELET}"));
        placed.extend(pair.clone().map(|path| Placed::Pair { name: name.clone(), path }));
        placed.push(Placed::Config { name, path, server, user, cluster: inv.cluster.name.clone(), pair });
    }
    Ok(placed)
}

/// What this node needs; nothing for a host that is no node.
///
/// Errors (`Invalid`): the version is none.
pub fn requests(inv: &Inventory, node: &Node) -> Result<Vec<Request>> {
    let endpoint = format!("https://{}", inv.api_endpoint().authority());
    let user = format!("system:node:{}", node.name);
    let kubelet = Request::config(KUBELET, &user, Some("system:nodes"), &endpoint);
    if !node.role.is_control_plane() {
        return Ok(if node.role.is_worker() { vec![kubelet] } else { Vec::new() });
    }
    let version: KubeVersion = inv.cluster.version.parse()?;
    let bound = version.minor >= CLUSTER_ADMINS_SINCE;
    let admins = if bound { CLUSTER_ADMINS } else { MASTERS };
    // These two speak to their own host's API server alone: a newer one must not be asked by them in an upgrade.
    let local = format!("https://{}", SocketAddr::new(node.address, API_PORT));
    let client = [Usage::ClientAuth];
    let mut all = vec![
        Request {
            sans: api_server_names(inv, node),
            ..Request::pair("apiserver", Authority::Cluster, "kube-apiserver", &[Usage::ServerAuth])
        },
        Request {
            organization: Some(admins.into()),
            ..Request::pair("apiserver-kubelet-client", Authority::Cluster, "kube-apiserver-kubelet-client", &client)
        },
        Request::pair("front-proxy-client", Authority::FrontProxy, "front-proxy-client", &client),
    ];
    if inv.etcd.mode == EtcdMode::Stacked {
        let names = [&node.name, "localhost", &node.address.to_string(), "127.0.0.1", "::1"].map(str::to_owned);
        // etcd calls itself and its peers with what it serves with.
        let both = [Usage::ServerAuth, Usage::ClientAuth];
        for name in ["etcd-server", "etcd-peer"] {
            all.push(Request { sans: names.to_vec(), ..Request::pair(name, Authority::Etcd, &node.name, &both) });
        }
        for name in ["etcd-healthcheck-client", "apiserver-etcd-client"] {
            let subject = format!("kube-{}", name);
            all.push(Request::pair(name, Authority::Etcd, &subject, &client));
        }
    }
    all.push(Request::config("admin", "kubernetes-admin", Some(admins), &endpoint));
    let first = inv.control_planes().first().is_some_and(|n| n.name == node.name);
    if bound && first {
        all.push(Request::config("super-admin", "kubernetes-super-admin", Some(MASTERS), &endpoint));
    }
    all.push(Request::config("controller-manager", "system:kube-controller-manager", None, &local));
    all.push(Request::config("scheduler", "system:kube-scheduler", None, &local));
    all.push(kubelet);
    Ok(all)
}

/// The names and addresses by which the API server of this node is asked for.
fn api_server_names(inv: &Inventory, node: &Node) -> Vec<String> {
    let mut names = shared_sans(inv);
    names.extend(["kubernetes", "kubernetes.default", "kubernetes.default.svc"].map(str::to_owned));
    names.insert(format!("kubernetes.default.svc.{}", inv.network.domain));
    names.extend([node.name.clone(), node.address.to_string()]);
    // The Service of the API has the first address of the first network.
    names.extend(inv.network.services.first().and_then(first_address));
    names.into_iter().collect::<BTreeSet<_>>().into_iter().collect()
}

fn first_address(network: &IpNet) -> Option<String> {
    network.hosts().next().map(|a| a.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::parse;

    fn inventory(version: &str, more: &str) -> Inventory {
        let text = format!(
            "[cluster]\nname = \"t\"\nversion = \"{version}\"\n[endpoint]\nmode = \"external\"\nhost = \"api.example\"\n\
             [apiserver]\ncert_sans = [\"10.9.9.9\"]\n{more}\
             [[hosts]]\nname = \"cp1\"\naddress = \"10.0.0.1\"\nrole = \"control-plane\"\n\
             [[hosts]]\nname = \"cp2\"\naddress = \"10.0.0.2\"\nrole = \"control-plane\"\n\
             [[hosts]]\nname = \"w1\"\naddress = \"10.0.0.3\"\nrole = \"worker\"\n"
        );
        parse(&text).unwrap_or_else(|e| panic!("{e:?}")).inventory
    }

    fn of(inv: &Inventory, at: usize) -> Vec<Request> {
        requests(inv, &inv.nodes()[at]).unwrap_or_else(|e| panic!("{e}"))
    }

    fn names(all: &[Request]) -> Vec<&str> {
        all.iter().map(|r| r.name.as_str()).collect()
    }

    #[test]
    fn a_worker_needs_its_kubelet_s_and_a_control_plane_all() {
        let inv = inventory("1.28.4", "");
        assert_eq!(names(&of(&inv, 2)), ["kubelet"]);
        let all = of(&inv, 0);
        assert_eq!(
            names(&all),
            [
                "apiserver",
                "apiserver-kubelet-client",
                "front-proxy-client",
                "etcd-server",
                "etcd-peer",
                "etcd-healthcheck-client",
                "apiserver-etcd-client",
                "admin",
                "controller-manager",
                "scheduler",
                "kubelet"
            ]
        );
        let by = |name: &str| all.iter().find(|r| r.name == name).cloned().unwrap_or_else(|| panic!("{name}"));
        let paths = ["apiserver", "etcd-peer", "apiserver-etcd-client", "admin"].map(|n| by(n).path);
        let pki = "/etc/kubernetes/pki";
        assert_eq!(
            paths,
            [
                format!("{pki}/apiserver"),
                format!("{pki}/etcd/peer"),
                format!("{pki}/apiserver-etcd-client"),
                "/etc/kubernetes/admin.conf".into()
            ]
        );
        for name in ["10.0.0.1", "10.96.0.1", "10.9.9.9", "api.example", "cp1", "kubernetes.default.svc.cluster.local"]
        {
            assert!(by("apiserver").sans.contains(&name.to_owned()), "{name}");
        }
        assert_eq!(by("admin").organization.as_deref(), Some(MASTERS));
        let server = |name: &str| by(name).kubeconfig.map(|k| k.server).unwrap_or_default();
        assert_eq!((&*server("kubelet"), &*server("scheduler")), ("https://api.example:6443", "https://10.0.0.1:6443"));
    }

    #[test]
    fn from_1_29_on_the_admin_is_bound_and_the_first_control_plane_has_a_super_admin() {
        let inv = inventory("1.29.0", "");
        let admin = |at| of(&inv, at).into_iter().find(|r| r.name == "admin").and_then(|r| r.organization);
        assert_eq!(admin(0).as_deref(), Some(CLUSTER_ADMINS));
        assert!(names(&of(&inv, 0)).contains(&"super-admin") && !names(&of(&inv, 1)).contains(&"super-admin"));
    }

    #[test]
    fn an_etcd_of_others_has_its_own_certificates() {
        let etcd = "[etcd]\nmode = \"external\"\nendpoints = [\"https://10.0.0.9:2379\"]\nca_file = \"/a\"\ncert_file = \"/b\"\nkey_file = \"/c\"\n";
        let inv = inventory("1.30.0", etcd);
        assert!(of(&inv, 0).iter().all(|r| r.authority != Authority::Etcd));
    }
}
