//! Desired state against observed state: which read-only questions an action asks ([`probes`]) and whether the
//! answers say that nothing is left to do ([`satisfied`]). Pure: the planner and the engine call the same functions.

mod addons;
mod cluster;
mod dns;
mod etcd;
mod file;
mod found;
mod identity;
mod judge;
mod leave;
mod node_state;
mod packages;
mod pki;
mod registry;
mod settings;
mod shell;
mod static_pods;
mod strays;
mod system;
pub mod template;
mod unit;
mod upgrade;

pub(crate) use addons::RELEASE_LABEL;
pub use addons::{left_over_releases, release_mark, releases_probe};
pub use cluster::{
    ControlPlaneHealth, certs_probe, cluster_status, cluster_status_probe, control_plane_health, control_plane_probe,
    etcd_probe, nodes_probe,
};
pub(crate) use dns::{Crowded, DNS, DNS_MARK, crowded};
pub use etcd::{
    ETCD_CLIENT, ETCD_DIR, ETCD_FORMED, ETCD_INITIAL, ETCD_UNIT, EtcdHost, etcd_client_probe, etcd_host,
    etcd_host_probe, etcd_identity_probe, external_etcd, external_etcd_probe,
};
pub use file::{block_of, with_block};
pub use found::found;
pub use identity::{RENEW_DAYS, is_valid_ca};
pub(crate) use judge::{VERIFY_NAMESPACE, blob_path, kept_path, node_object, same_taint};
pub use judge::{probes, satisfied};
pub(crate) use leave::kubeadm_status;
pub use leave::kubeadm_status_probe;
pub use node_state::{Membership, NodeState, membership, node_state, node_state_probe};
pub(crate) use pki::place_words;
pub use pki::{NODE_KEYS, NodeKeys, SERVICE_ACCOUNTS, node_keys, node_keys_probe};
pub use registry::{REGISTRY_CA, REGISTRY_DIR, registry_ca, registry_probe};
pub use settings::{
    CONTAINERD, CONTAINERD_CONFIG, CONTAINERD_UNIT, CONTROL_PLANE_KEPT, KUBELET_KEPT, PROXY_KEPT, RUNTIME_BEFORE,
};
pub(crate) use settings::{control_plane_behind, has_uploaded, ready_pods, ready_pods_probe};
pub use shell::{SHELL_PROBES, shell_probe};
pub(crate) use static_pods::restless;
pub use strays::{Strays, strays, strays_probe};
pub use system::{ModuleState, module_probe, module_state};
pub use upgrade::{UpgradeState, is_marked, plain_version, upgrade_probe, upgrade_state};
pub(crate) use upgrade::{losses, movable_pods, pods_probe};
