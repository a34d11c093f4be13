//! The programs of Kubernetes that take flags and feature gates.

use std::fmt;

use serde::Deserialize;

/// A program that takes flags and feature gates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Component {
    /// kube-apiserver
    KubeApiserver,
    /// kube-controller-manager
    KubeControllerManager,
    /// kube-scheduler
    KubeScheduler,
    /// kubelet
    Kubelet,
    /// kube-proxy
    KubeProxy,
}

impl Component {
    /// The table of the inventory that has its settings.
    #[must_use]
    pub fn table(self) -> &'static str {
        match self {
            Self::KubeApiserver => "apiserver",
            Self::KubeControllerManager => "controller_manager",
            Self::KubeScheduler => "scheduler",
            Self::Kubelet => "kubelet",
            Self::KubeProxy => "kube_proxy",
        }
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::KubeApiserver => "kube-apiserver",
            Self::KubeControllerManager => "kube-controller-manager",
            Self::KubeScheduler => "kube-scheduler",
            Self::Kubelet => "kubelet",
            Self::KubeProxy => "kube-proxy",
        })
    }
}
