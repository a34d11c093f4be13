//! kubeadm's configuration documents from the inventory. Pure; golden-tested for each API version.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::wire::{
    Args, ClusterConfiguration, Component, Dns, Etcd, ExternalEtcd, InitConfiguration, JoinConfiguration,
    JoinControlPlane, LocalApiEndpoint, LocalEtcd, Networking, NodeRegistration, Taint,
};
use crate::error::{Context as _, Result};
use crate::inventory::{CgroupDriver, CniPlugin, EtcdAccess, EtcdMode, Inventory, Node, Role};
use crate::version::{KubeVersion, KubeadmApi};

/// What kubeadm's configuration says of images; taken from the bundle, so that it never asks for another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterImages {
    /// `registry.k8s.io`
    pub repository: String,
    /// The tag of etcd's image.
    pub etcd_tag: Option<String>,
    /// The tag of CoreDNS's image.
    pub coredns_tag: Option<String>,
    /// The whole name of the pause image.
    pub pause: String,
}

/// The port of every API server.
pub(crate) const API_PORT: u16 = 6443;

/// InitConfiguration, ClusterConfiguration, KubeletConfiguration and KubeProxyConfiguration in one YAML stream. No
/// secrets inside: kubeadm makes the first bootstrap token itself and we never read it.
pub fn init_documents(inv: &Inventory, node: &Node, images: &ClusterImages) -> Result<String> {
    let api = api(inv)?;
    let init = InitConfiguration {
        api_version: api.group_version(),
        kind: "InitConfiguration",
        local_api_endpoint: local_endpoint(node),
        node_registration: registration(inv, node, api)?,
    };
    let mut documents = vec![yaml(&init)?, yaml(&cluster_configuration(inv, images, api))?];
    documents.push(yaml(&kubelet_configuration(inv))?);
    documents.push(yaml(&proxy_configuration(inv))?);
    Ok(documents.join("---\n"))
}

/// What the phases of kubeadm that change a running cluster have to know. The ClusterConfiguration comes last.
pub fn settings_documents(inv: &Inventory, node: &Node, images: &ClusterImages) -> Result<String> {
    let api = api(inv)?;
    let init = InitConfiguration {
        api_version: api.group_version(),
        kind: "InitConfiguration",
        local_api_endpoint: local_endpoint(node),
        node_registration: registration(inv, node, api)?,
    };
    let documents = [
        yaml(&init)?,
        yaml(&kubelet_configuration(inv))?,
        yaml(&proxy_configuration(inv))?,
        yaml(&cluster_configuration(inv, images, api))?,
    ];
    Ok(documents.join("---\n"))
}

/// What `kubeadm init phase upload-certs` has to know. Without it kubeadm looks for a default route to guess an address
/// by, and for the newest version on the internet: an isolated host has neither.
pub fn upload_certs_document(inv: &Inventory, sponsor: &Node) -> Result<String> {
    let api = api(inv)?;
    let init = InitConfiguration {
        api_version: api.group_version(),
        kind: "InitConfiguration",
        local_api_endpoint: local_endpoint(sponsor),
        node_registration: registration(inv, sponsor, api)?,
    };
    // Images play no part in uploading certificates.
    let images =
        ClusterImages { repository: "registry.k8s.io".into(), etcd_tag: None, coredns_tag: None, pause: String::new() };
    Ok([yaml(&init)?, yaml(&cluster_configuration(inv, &images, api))?].join("---\n"))
}

/// A JoinConfiguration without its discovery part and certificate key, which are added right before use.
pub fn join_document(inv: &Inventory, node: &Node, control_plane: bool) -> Result<String> {
    let api = api(inv)?;
    yaml(&JoinConfiguration {
        api_version: api.group_version(),
        kind: "JoinConfiguration",
        node_registration: registration(inv, node, api)?,
        control_plane: control_plane.then(|| JoinControlPlane { local_api_endpoint: local_endpoint(node) }),
    })
}

fn api(inv: &Inventory) -> Result<KubeadmApi> {
    Ok(inv.cluster.version.parse::<KubeVersion>()?.kubeadm_api())
}

fn yaml(value: &impl Serialize) -> Result<String> {
    serde_yaml_ng::to_string(value).context(|| "failed to write kubeadm's configuration as YAML".into())
}

fn local_endpoint(node: &Node) -> LocalApiEndpoint {
    LocalApiEndpoint { advertise_address: node.address.to_string(), bind_port: API_PORT }
}

fn registration(inv: &Inventory, node: &Node, api: KubeadmApi) -> Result<NodeRegistration> {
    let version: KubeVersion = inv.cluster.version.parse()?;
    let mut taints = (node.role == Role::Both).then(Vec::new);
    if node.role == Role::Worker && !node.taints.is_empty() {
        // Set at registration, so that no pod slips in before the label phase.
        taints = Some(node.taints.iter().filter_map(|t| taint(t)).collect());
    }
    Ok(NodeRegistration {
        name: node.name.clone(),
        // kubeadm before 1.24 wants a path, later ones want a URL.
        cri_socket: if version.minor < 24 {
            "/run/containerd/containerd.sock".into()
        } else {
            "unix:///run/containerd/containerd.sock".into()
        },
        taints,
        kubelet_extra_args: Args::new(api, kubelet_args(inv, node)?),
    })
}

/// The kubelet's arguments on a node, beside those that kubeadm gives it.
pub(super) fn kubelet_args(inv: &Inventory, node: &Node) -> Result<BTreeMap<String, String>> {
    let version: KubeVersion = inv.cluster.version.parse()?;
    let mut args = BTreeMap::from([("node-ip".to_owned(), node.address.to_string())]);
    if version.minor < 24 {
        // Before 1.24 the kubelet means Docker unless it is told otherwise; from 1.27 the flag is gone.
        args.insert("container-runtime".into(), "remote".into());
        args.insert("container-runtime-endpoint".into(), "unix:///run/containerd/containerd.sock".into());
    }
    if inv.certificates.is_external() {
        // Nobody in the cluster signs what it would ask for. kubeadm turns this on in the kubelet's configuration,
        // whatever that is asked to say; the argument goes before it.
        args.insert("rotate-certificates".into(), "false".into());
    }
    args.extend(inv.kubelet.extra_args.clone());
    Ok(args)
}

/// The names under which the API server is asked for wherever it runs; each has its own host's as well.
pub(super) fn shared_sans(inv: &Inventory) -> BTreeSet<String> {
    let common = ["127.0.0.1".to_owned(), "localhost".to_owned(), inv.api_endpoint().host];
    common.into_iter().chain(inv.apiserver.cert_sans.iter().cloned()).collect()
}

/// The controller manager's arguments, beside those that kubeadm gives it.
pub(super) fn controller_manager_args(inv: &Inventory) -> BTreeMap<String, String> {
    let mut args = BTreeMap::new();
    if inv.cni.plugin == CniPlugin::Bridge {
        // We allot each node's share ourselves, so that a node keeps it over a rejoin and routes are known before.
        args.insert("allocate-node-cidrs".to_owned(), "false".to_owned());
    }
    args.extend(inv.controller_manager.extra_args.clone());
    args
}

fn taint(text: &str) -> Option<Taint> {
    let (left, effect) = text.rsplit_once(':')?;
    let (key, value) = left.split_once('=').unwrap_or((left, ""));
    Some(Taint { key: key.into(), value: value.into(), effect: effect.into() })
}

fn cluster_configuration(inv: &Inventory, images: &ClusterImages, api: KubeadmApi) -> ClusterConfiguration {
    let endpoint = inv.api_endpoint();
    let mut sans = shared_sans(inv);
    for node in inv.control_planes() {
        sans.insert(node.address.to_string());
        sans.insert(node.name);
    }
    let component =
        |args: BTreeMap<String, String>| Component { cert_sans: Vec::new(), extra_args: Args::new(api, args) };
    let join = |nets: &[ipnet::IpNet]| nets.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    ClusterConfiguration {
        api_version: api.group_version(),
        kind: "ClusterConfiguration",
        cluster_name: inv.cluster.name.clone(),
        kubernetes_version: inv.version_name(),
        control_plane_endpoint: endpoint.authority(),
        image_repository: images.repository.clone(),
        networking: Networking {
            dns_domain: inv.network.domain.clone(),
            pod_subnet: join(&inv.network.pods),
            service_subnet: join(&inv.network.services),
        },
        api_server: Component { cert_sans: sans.into_iter().collect(), ..component(inv.apiserver.extra_args.clone()) },
        controller_manager: component(controller_manager_args(inv)),
        scheduler: component(inv.scheduler.extra_args.clone()),
        etcd: match inv.etcd.mode {
            EtcdMode::Stacked => Etcd::Local(LocalEtcd {
                data_dir: "/var/lib/etcd".into(),
                image_tag: images.etcd_tag.clone(),
                extra_args: Args::new(api, inv.etcd.extra_args.clone()),
            }),
            EtcdMode::External => {
                let EtcdAccess { endpoints, ca_file, cert_file, key_file } = inv.etcd_access();
                Etcd::External(ExternalEtcd { endpoints, ca_file, cert_file, key_file })
            }
        },
        dns: Dns { kind: (api == KubeadmApi::V1Beta2).then_some("CoreDNS"), image_tag: images.coredns_tag.clone() },
        feature_gates: inv.kubeadm.feature_gates.clone(),
    }
}

pub(super) fn kubelet_configuration(inv: &Inventory) -> Value {
    let driver = match inv.runtime.cgroup_driver {
        CgroupDriver::Systemd => "systemd",
        CgroupDriver::Cgroupfs => "cgroupfs",
    };
    let mut base = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "cgroupDriver": driver,
    });
    merge(&mut base, inv.kubelet.config.clone().into_iter().collect());
    base
}

pub(super) fn proxy_configuration(inv: &Inventory) -> Value {
    let pods = inv.network.pods.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let mut base = json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clusterCIDR": pods,
    });
    merge(&mut base, inv.kube_proxy.config.clone().into_iter().collect());
    base
}

/// Merges `over` into `base`: objects key by key, anything else replaced.
pub(crate) fn merge(base: &mut Value, over: Map<String, Value>) {
    let Value::Object(map) = base else {
        *base = Value::Object(over);
        return;
    };
    for (key, value) in over {
        match (map.get_mut(&key), value) {
            (Some(inner @ Value::Object(_)), Value::Object(more)) => merge(inner, more),
            (_, value) => {
                map.insert(key, value);
            }
        }
    }
}
