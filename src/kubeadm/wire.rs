//! The shape of kubeadm's configuration documents in its three API versions. v1beta2 and v1beta3 write extra
//! arguments as a map, v1beta4 as a list of name and value; the rest of what we use has one shape.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::version::KubeadmApi;

/// Extra arguments in the form of the API version.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum Args {
    Map(BTreeMap<String, String>),
    List(Vec<Arg>),
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Arg {
    name: String,
    value: String,
}

impl Args {
    pub(super) fn new(api: KubeadmApi, args: BTreeMap<String, String>) -> Option<Self> {
        if args.is_empty() {
            return None;
        }
        Some(match api {
            KubeadmApi::V1Beta2 | KubeadmApi::V1Beta3 => Self::Map(args),
            KubeadmApi::V1Beta4 => Self::List(args.into_iter().map(|(name, value)| Arg { name, value }).collect()),
        })
    }
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Taint {
    pub key: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub value: String,
    pub effect: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NodeRegistration {
    pub name: String,
    pub cri_socket: String,
    /// Left out, kubeadm taints a control plane and nothing else; an empty list means no taint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taints: Option<Vec<Taint>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubelet_extra_args: Option<Args>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LocalApiEndpoint {
    pub advertise_address: String,
    pub bind_port: u16,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct InitConfiguration {
    pub api_version: String,
    pub kind: &'static str,
    #[serde(rename = "localAPIEndpoint")]
    pub local_api_endpoint: LocalApiEndpoint,
    pub node_registration: NodeRegistration,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Networking {
    pub dns_domain: String,
    pub pod_subnet: String,
    pub service_subnet: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Component {
    #[serde(rename = "certSANs", skip_serializing_if = "Vec::is_empty")]
    pub cert_sans: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra_args: Option<Args>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LocalEtcd {
    pub data_dir: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_tag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra_args: Option<Args>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ExternalEtcd {
    pub endpoints: Vec<String>,
    pub ca_file: String,
    pub cert_file: String,
    pub key_file: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Etcd {
    Local(LocalEtcd),
    External(ExternalEtcd),
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Dns {
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_tag: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ClusterConfiguration {
    pub api_version: String,
    pub kind: &'static str,
    pub cluster_name: String,
    pub kubernetes_version: String,
    pub control_plane_endpoint: String,
    pub image_repository: String,
    pub networking: Networking,
    pub api_server: Component,
    pub controller_manager: Component,
    pub scheduler: Component,
    #[serde(with = "serde_yaml_ng::with::singleton_map")]
    pub etcd: Etcd,
    pub dns: Dns,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub feature_gates: BTreeMap<String, bool>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct JoinControlPlane {
    #[serde(rename = "localAPIEndpoint")]
    pub local_api_endpoint: LocalApiEndpoint,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct JoinConfiguration {
    pub api_version: String,
    pub kind: &'static str,
    pub node_registration: NodeRegistration,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control_plane: Option<JoinControlPlane>,
}
