//! What a cluster is made with and keeps: kubeadm reads it once, and afterwards it stands in certificates, kubeconfigs
//! and objects of which no tool makes others while the cluster serves. Pure.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::inventory::{EtcdMode, Inventory};

/// What cannot be changed by a rolling change. `None` is what a cluster's configuration does not say.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Foundation {
    /// `controlPlaneEndpoint`, host and port.
    pub endpoint: Option<String>,
    /// `networking.podSubnet`, the main family first.
    pub pods: Option<Vec<IpNet>>,
    /// `networking.serviceSubnet`, the main family first.
    pub services: Option<Vec<IpNet>>,
    /// `networking.dnsDomain`
    pub domain: Option<String>,
    /// Whether etcd is a static pod of the control planes or beside them.
    pub etcd: Option<EtcdMode>,
}

impl Foundation {
    /// What the inventory asks for.
    #[must_use]
    pub fn wanted(inv: &Inventory) -> Self {
        let plain = |nets: &[IpNet]| Some(nets.iter().map(IpNet::trunc).collect());
        Self {
            endpoint: Some(inv.api_endpoint().authority()),
            pods: plain(&inv.network.pods),
            services: plain(&inv.network.services),
            domain: Some(inv.network.domain.clone()),
            etcd: Some(inv.etcd.mode),
        }
    }

    /// Reads a ClusterConfiguration; `None` when it is none.
    #[must_use]
    pub fn read(configuration: &str) -> Option<Self> {
        let all: Value = serde_yaml_ng::from_str(configuration).ok()?;
        let text = |value: &Value| value.as_str().filter(|t| !t.is_empty()).map(str::to_owned);
        // Networks that cannot be read are not known, which is not the same as none.
        let networks = |value: &Value| -> Option<Vec<IpNet>> {
            text(value)?.split(',').map(|n| n.trim().parse::<IpNet>().map(|n| n.trunc()).ok()).collect()
        };
        let etcd = match &all["etcd"] {
            Value::Object(etcd) if etcd.contains_key("external") => Some(EtcdMode::External),
            Value::Object(etcd) if etcd.contains_key("local") => Some(EtcdMode::Stacked),
            _ => None,
        };
        let networking = &all["networking"];
        all.is_object().then(|| Self {
            endpoint: text(&all["controlPlaneEndpoint"]),
            pods: networks(&networking["podSubnet"]),
            services: networks(&networking["serviceSubnet"]),
            domain: text(&networking["dnsDomain"]),
            etcd,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As kubeadm keeps it: with its defaults, in its order.
    const KEPT: &str = "apiServer:\n  timeoutForControlPlane: 4m0s\napiVersion: kubeadm.k8s.io/v1beta3\n\
        clusterName: lab\ncontrolPlaneEndpoint: api.lab.internal:8443\netcd:\n  local:\n    dataDir: /var/lib/etcd\n\
        kind: ClusterConfiguration\nnetworking:\n  dnsDomain: cluster.local\n  podSubnet: 10.244.0.0/16,fd00:1::/56\n\
        serviceSubnet: 10.96.0.0/16\n";

    #[test]
    fn what_kubeadm_keeps_is_read() {
        let text = KEPT.replace("serviceSubnet", "  serviceSubnet");
        let nets = |all: &[&str]| Some(all.iter().filter_map(|n| n.parse::<IpNet>().ok()).collect::<Vec<_>>());
        let found = Foundation {
            endpoint: Some("api.lab.internal:8443".into()),
            pods: nets(&["10.244.0.0/16", "fd00:1::/56"]),
            services: nets(&["10.96.0.0/16"]),
            domain: Some("cluster.local".into()),
            etcd: Some(EtcdMode::Stacked),
        };
        assert_eq!(Foundation::read(&text), Some(found.clone()));
        let beside =
            text.replace("  local:\n    dataDir: /var/lib/etcd", "  external:\n    endpoints: [https://e1:2379]");
        assert_eq!(Foundation::read(&beside), Some(Foundation { etcd: Some(EtcdMode::External), ..found }));
    }

    #[test]
    fn what_is_not_said_is_not_known() {
        assert_eq!(Foundation::read("kubernetesVersion: v1.36.2\n"), Some(Foundation::default()));
        let odd = "networking:\n  podSubnet: ten\n  serviceSubnet: ''\netcd: {}\n";
        assert_eq!(Foundation::read(odd), Some(Foundation::default()));
        for nothing in ["", "- a\n", ":", "word"] {
            assert_eq!(Foundation::read(nothing), None, "{nothing}");
        }
    }
}
