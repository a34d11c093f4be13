//! The types of the inventory: what a user writes, with defaults filled in by serde.
//!
//! These types know nothing of files or spans; [`super::parse`] reads them and [`super::validate`] judges them. The
//! JSON Schema in `inventories/inventory.schema.json` is generated from them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::backup::Backup;
use super::certificates::Certificates;
use super::charts::{Chart, RawManifest, Tools};
use super::host::{Host, HostSettings};
use super::packages::Packages;
use super::registry::Registry;
use super::trust::Trust;
use super::upgrade::Upgrade;

/// A whole inventory file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Inventory {
    /// The cluster itself.
    pub cluster: Cluster,
    /// Pod and service networks.
    #[serde(default)]
    pub network: Network,
    /// How clients and nodes reach the API.
    pub endpoint: Endpoint,
    /// Where etcd runs.
    #[serde(default)]
    pub etcd: Etcd,
    /// Who signs the cluster's certificates.
    #[serde(default)]
    pub certificates: Certificates,
    /// Container runtime settings.
    #[serde(default)]
    pub runtime: Runtime,
    /// The pod network plugin.
    #[serde(default)]
    pub cni: Cni,
    /// Settings of kubeadm itself.
    #[serde(default)]
    pub kubeadm: Kubeadm,
    /// Extra API server settings.
    #[serde(default)]
    pub apiserver: Component,
    /// Extra controller manager settings.
    #[serde(default)]
    pub controller_manager: Component,
    /// Extra scheduler settings.
    #[serde(default)]
    pub scheduler: Component,
    /// Kubelet settings of every node.
    #[serde(default)]
    pub kubelet: Kubelet,
    /// kube-proxy settings.
    #[serde(default)]
    pub kube_proxy: KubeProxy,
    /// Limits the preflight checks hold hosts to.
    #[serde(default)]
    pub preflight: Preflight,
    /// How the finished cluster is tested.
    #[serde(default)]
    pub verify: Verify,
    /// How carefully a running cluster is taken to another version.
    #[serde(default)]
    pub upgrade: Upgrade,
    /// Where `bundle lock` and `bundle build` fetch from.
    #[serde(default)]
    pub sources: Sources,
    /// Where the nodes pull images from.
    #[serde(default)]
    pub registry: Registry,
    /// Programs that only some inventories need.
    #[serde(default)]
    pub tools: Tools,
    /// Helm releases, in the order they are installed in.
    #[serde(default)]
    pub charts: Vec<Chart>,
    /// Files of Kubernetes objects, applied before the charts.
    #[serde(default)]
    pub manifests: Vec<RawManifest>,
    /// The directory of the inventory file, which the paths of charts, manifests and values start from.
    #[serde(skip)]
    #[schemars(skip)]
    pub dir: PathBuf,
    /// Packages of the operating system.
    #[serde(default)]
    pub packages: Packages,
    /// Whose signatures a bundle needs before `plan` and `apply` use it.
    #[serde(default)]
    pub trust: Trust,
    /// Who can read backups of etcd, and how many are kept.
    #[serde(default)]
    pub backup: Backup,
    /// Settings of every host that a pool or the host itself does not set.
    #[serde(default)]
    pub defaults: HostSettings,
    /// Settings shared by the hosts of a pool; they win over `defaults` and lose to the host's own.
    #[serde(default)]
    pub pools: BTreeMap<String, HostSettings>,
    /// The hosts.
    #[serde(default)]
    pub hosts: Vec<Host>,
}

/// `[cluster]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// A DNS label that names the cluster.
    pub name: String,
    /// The Kubernetes version, like "1.36.2".
    pub version: String,
    /// The architectures of the nodes, as Go and OCI name them.
    #[serde(default = "default_arch")]
    pub arch: Vec<Arch>,
}

/// A CPU architecture, as Go and OCI name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Arch {
    /// x86_64
    Amd64,
    /// aarch64
    Arm64,
}

impl Arch {
    /// As Go and OCI name it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }
    /// From what `uname -m` prints.
    #[must_use]
    pub fn from_uname(machine: &str) -> Option<Self> {
        match machine {
            "x86_64" | "amd64" => Some(Self::Amd64),
            "aarch64" | "arm64" => Some(Self::Arm64),
            _ => None,
        }
    }
}

fn default_arch() -> Vec<Arch> {
    vec![Arch::Amd64]
}

/// `[network]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// Pod networks: one, or one IPv4 and one IPv6 for dual stack.
    #[schemars(with = "Vec<super::schema::CidrText>")]
    pub pods: Vec<IpNet>,
    /// Service networks: one, or one IPv4 and one IPv6 for dual stack.
    #[schemars(with = "Vec<super::schema::CidrText>")]
    pub services: Vec<IpNet>,
    /// The prefix length of each node's share of the (IPv4) pod network.
    pub node_prefix: u8,
    /// The prefix length of each node's share of the IPv6 pod network.
    pub node_prefix_v6: u8,
    /// The cluster's DNS domain.
    pub domain: String,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            pods: vec![IpNet::V4(ipnet::Ipv4Net::new_assert([10, 244, 0, 0].into(), 16))],
            services: vec![IpNet::V4(ipnet::Ipv4Net::new_assert([10, 96, 0, 0].into(), 16))],
            node_prefix: 24,
            node_prefix_v6: 64,
            domain: "cluster.local".into(),
        }
    }
}

/// `[endpoint]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// How the API is made reachable.
    pub mode: EndpointMode,
    /// The name (or, for a VIP and `external`, the address) of the endpoint, as written into kubeconfigs and
    /// certificates. With `haproxy` it is a name that every node resolves to itself through /etc/hosts. With
    /// `first-node` it may be left out: the first control plane's address is used.
    #[serde(default)]
    pub host: Option<String>,
    /// The endpoint's port. 6443 when left out, 8443 with the haproxy modes (the API servers hold 6443).
    #[serde(default)]
    pub port: Option<u16>,
    /// The network interface that carries a virtual address (keepalived-haproxy, kube-vip).
    #[serde(default)]
    pub interface: Option<String>,
    /// The virtual router id of keepalived, 1 to 255.
    #[serde(default)]
    pub virtual_router_id: Option<u8>,
    /// The image of the balancer's static pod; a default per mode.
    #[serde(default)]
    pub image: Option<String>,
    /// The image of keepalived in mode keepalived-haproxy; it has a default.
    #[serde(default)]
    pub keepalived_image: Option<String>,
}

/// How the API is made reachable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EndpointMode {
    /// The first control plane's own address: simple, and gone when that host is.
    FirstNode,
    /// A balancer that somebody else runs.
    External,
    /// A local TCP balancer on every node, as a static pod.
    Haproxy,
    /// A virtual address held by keepalived in front of haproxy on the control planes.
    KeepalivedHaproxy,
    /// A virtual address held by kube-vip on the control planes.
    KubeVip,
}

/// `[etcd]`
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Etcd {
    /// Stacked on the control planes, or external.
    pub mode: EtcdMode,
    /// The tag of the etcd image, when it is not the one kubeadm asks for.
    pub image_tag: Option<String>,
    /// The etcd release that etcdctl is taken from, like "3.6.8".
    pub version: Option<String>,
    /// Extra arguments of etcd (stacked, or on `hosts`).
    pub extra_args: BTreeMap<String, String>,
    /// With mode "external": the hosts of the inventory on which `provision` builds the etcd cluster itself, with a CA of
    /// its own. Hosts of role "etcd", or control planes; an odd number of them. Then none of the four keys below is set.
    pub hosts: Vec<String>,
    /// Client URLs of an external etcd.
    pub endpoints: Vec<String>,
    /// Path on every control plane of the external etcd's CA.
    pub ca_file: Option<String>,
    /// Path on every control plane of the client certificate.
    pub cert_file: Option<String>,
    /// Path on every control plane of the client key.
    pub key_file: Option<String>,
}

impl Etcd {
    /// Whether it is built and kept by us: by kubeadm on the control planes, or as units on `hosts`.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.mode == EtcdMode::Stacked || !self.hosts.is_empty()
    }

    /// Whether this host runs a member as a unit.
    #[must_use]
    pub fn runs_on(&self, host: &str) -> bool {
        self.mode == EtcdMode::External && self.hosts.iter().any(|h| h == host)
    }
}

/// Where etcd runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EtcdMode {
    /// A member on every control plane, made by kubeadm.
    #[default]
    Stacked,
    /// Beside Kubernetes: a cluster that exists already (`endpoints`), or one that `provision` builds (`hosts`).
    External,
}

/// `[runtime]`
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Runtime {
    /// containerd's version, like "2.1.4"; a default fit for the Kubernetes version.
    pub containerd_version: Option<String>,
    /// runc's version, like "1.3.0".
    pub runc_version: Option<String>,
    /// The CNI plugins' version, like "1.7.1".
    pub cni_plugins_version: Option<String>,
    /// crictl's version; `false`-like empty string leaves crictl out.
    pub crictl_version: Option<String>,
    /// The cgroup driver of kubelet and containerd.
    pub cgroup_driver: CgroupDriver,
    /// Passed to containerd's CRI plugin as it is (needed in nested containers).
    pub restrict_oom_score_adj: bool,
    /// More of containerd's config.toml, merged over ours: plugin settings and such.
    pub containerd_config: BTreeMap<String, serde_json::Value>,
    /// Registry mirrors: registry host to mirror URLs, tried in order.
    pub mirrors: BTreeMap<String, Vec<String>>,
}

/// The cgroup driver of kubelet and containerd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CgroupDriver {
    /// systemd's (the default of kubeadm).
    #[default]
    Systemd,
    /// Direct use of cgroupfs.
    Cgroupfs,
}

/// `[cni]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cni {
    /// The plugin.
    pub plugin: CniPlugin,
    /// The MTU of pod interfaces; the plugin's own default when left out.
    pub mtu: Option<u32>,
}

impl Default for Cni {
    fn default() -> Self {
        Self { plugin: CniPlugin::Bridge, mtu: None }
    }
}

/// A pod network plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CniPlugin {
    /// bridge + host-local with static routes between the nodes: for nodes on one flat L2 network.
    Bridge,
    /// None by us: the user installs one; nodes may stay NotReady until then and `verify` waits for nothing.
    None,
}

/// `[kubeadm]`
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Kubeadm {
    /// kubeadm init phases to leave out, like "addon/coredns".
    pub skip_phases: Vec<String>,
    /// kubeadm preflight errors to ignore, like "SystemVerification".
    pub ignore_preflight_errors: Vec<String>,
    /// Feature gates of kubeadm.
    pub feature_gates: BTreeMap<String, bool>,
    /// The image repository of the control plane.
    pub image_repository: Option<String>,
    /// The tag of the pause image, when it is not the default of this Kubernetes version.
    pub pause_tag: Option<String>,
    /// The tag of the CoreDNS image, when it is not the default of this Kubernetes version.
    pub coredns_tag: Option<String>,
}

impl Kubeadm {
    /// Whether kubeadm is given this check to ignore. As kubeadm compares them: in any case of letters, or all of them.
    #[must_use]
    pub fn ignores(&self, check: &str) -> bool {
        self.ignore_preflight_errors.iter().any(|i| i.eq_ignore_ascii_case("all") || i.eq_ignore_ascii_case(check))
    }

    /// Whether the preflight checks of `kubeadm init` and `kubeadm join` are skipped. `kubeadm upgrade` makes its own.
    #[must_use]
    pub fn skips_preflight(&self) -> bool {
        self.skip_phases.iter().any(|p| p == "preflight")
    }
}

/// Extra settings of a control-plane component.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Component {
    /// Extra command line arguments, without the leading dashes.
    pub extra_args: BTreeMap<String, String>,
    /// Extra subject alternative names (API server only).
    pub cert_sans: Vec<String>,
}

/// `[kubelet]`
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Kubelet {
    /// Extra command line arguments, without the leading dashes.
    pub extra_args: BTreeMap<String, String>,
    /// Merged into the KubeletConfiguration.
    pub config: BTreeMap<String, serde_json::Value>,
}

impl Kubelet {
    /// Whether the kubelet may start on cgroup v1 where its default is not to.
    #[must_use]
    pub fn accepts_cgroup_v1(&self) -> bool {
        self.config.get("failCgroupV1") == Some(&serde_json::Value::Bool(false))
    }
}

/// `[kube_proxy]`
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KubeProxy {
    /// Merged into the KubeProxyConfiguration.
    pub config: BTreeMap<String, serde_json::Value>,
}

/// `[preflight]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Preflight {
    /// Named checks whose failure becomes a warning.
    pub ignore: Vec<String>,
    /// The least memory of a control plane, in MiB.
    pub control_plane_memory_mib: u64,
    /// The least memory of a worker, in MiB.
    pub worker_memory_mib: u64,
    /// The least free disk under /var/lib, in MiB.
    pub free_disk_mib: u64,
    /// The largest clock difference between hosts, in milliseconds.
    pub clock_skew_ms: u64,
}

impl Default for Preflight {
    fn default() -> Self {
        Self {
            ignore: Vec::new(),
            control_plane_memory_mib: 1700,
            worker_memory_mib: 900,
            free_disk_mib: 5120,
            clock_skew_ms: 2000,
        }
    }
}

/// `[verify]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Verify {
    /// The image of the test pods: it must have /bin/busybox or `busybox` on PATH.
    pub image: String,
    /// How long nodes and pods may take to become ready, in seconds.
    pub timeout_s: u64,
}

impl Default for Verify {
    fn default() -> Self {
        Self { image: "docker.io/library/busybox:1.36".into(), timeout_s: 180 }
    }
}

/// `[sources]`: base URLs, for sites with proxies of their own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sources {
    /// kubeadm, kubelet, kubectl: `{base}/v{V}/bin/linux/{arch}/{name}`.
    pub kubernetes: String,
    /// `{base}/v{V}/containerd-{V}-linux-{arch}.tar.gz`
    pub containerd: String,
    /// `{base}/v{V}/runc.{arch}`
    pub runc: String,
    /// `{base}/v{V}/cni-plugins-linux-{arch}-v{V}.tgz`
    pub cni_plugins: String,
    /// `{base}/v{V}/crictl-v{V}-linux-{arch}.tar.gz`
    pub crictl: String,
    /// `{base}/v{V}/etcd-v{V}-linux-{arch}.tar.gz`
    pub etcd: String,
    /// `{base}/helm-v{V}-linux-{arch}.tar.gz`
    pub helm: String,
    /// `{base}/v{V}/provision-linux-{arch}`, this program for the hosts of a built-in registry. When left out, the
    /// running program itself goes into the bundle; the hosts must then have its architecture.
    pub provision: Option<String>,
    /// Registry host (as in an image's name) to the base URL that is asked instead, like
    /// `"registry.k8s.io" = "https://mirror.example/k8s"`. `http://` is allowed and said so in the bundle.
    pub registries: BTreeMap<String, String>,
    /// Registry host to how to log in there.
    pub auth: BTreeMap<String, RegistryAuth>,
}

impl Default for Sources {
    fn default() -> Self {
        Self {
            kubernetes: "https://dl.k8s.io/release".into(),
            containerd: "https://github.com/containerd/containerd/releases/download".into(),
            runc: "https://github.com/opencontainers/runc/releases/download".into(),
            cni_plugins: "https://github.com/containernetworking/plugins/releases/download".into(),
            crictl: "https://github.com/kubernetes-sigs/cri-tools/releases/download".into(),
            etcd: "https://github.com/etcd-io/etcd/releases/download".into(),
            helm: "https://get.helm.sh".into(),
            provision: None,
            registries: BTreeMap::new(),
            auth: BTreeMap::new(),
        }
    }
}

/// How to log in to a registry; the secret itself is never in the inventory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RegistryAuth {
    /// The user name.
    pub user: String,
    /// The environment variable that holds the password.
    #[serde(default)]
    pub password_env: Option<String>,
    /// The file that holds the password.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
}
