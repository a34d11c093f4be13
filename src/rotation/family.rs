//! The CAs that kubeadm makes.

use clap::ValueEnum;

use crate::kubeadm::authority;

/// A CA that kubeadm made, with all that it signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Family {
    /// The cluster's own: API servers, kubelets, administrators, service accounts' trust.
    Kubernetes,
    /// The one by which API servers prove to aggregated ones that they speak for a user.
    FrontProxy,
    /// That of etcd on the control planes: its members, and API servers as their clients.
    Etcd,
}

impl Family {
    /// As the command line calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kubernetes => "kubernetes",
            Self::FrontProxy => "front-proxy",
            Self::Etcd => "etcd",
        }
    }

    /// The file with its certificate, for a while with two.
    #[must_use]
    pub fn cert(self) -> &'static str {
        match self {
            Self::Kubernetes => "/etc/kubernetes/pki/ca.crt",
            Self::FrontProxy => "/etc/kubernetes/pki/front-proxy-ca.crt",
            Self::Etcd => "/etc/kubernetes/pki/etcd/ca.crt",
        }
    }

    /// The file with its key.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Kubernetes => "/etc/kubernetes/pki/ca.key",
            Self::FrontProxy => "/etc/kubernetes/pki/front-proxy-ca.key",
            Self::Etcd => "/etc/kubernetes/pki/etcd/ca.key",
        }
    }

    /// The directory on a node that is there while its rotation is not done. `kubeadm reset` empties the one it is in.
    #[must_use]
    pub fn dir(self) -> String {
        format!("{ROTATIONS}{}", self.name())
    }

    /// Whether workers know it.
    #[must_use]
    pub fn on_workers(self) -> bool {
        self == Self::Kubernetes
    }

    /// Whether it has to have signed what is in `path`.
    #[must_use]
    pub fn signs(self, path: &str) -> bool {
        authority(path).as_deref() == Some(self.cert())
    }

    /// The static pods that read its certificate or what it signed when they start, in the order in which they are
    /// started anew; of controller managers and schedulers others lead meanwhile, so both may be away at once.
    #[must_use]
    pub fn components(self) -> &'static [&'static [&'static str]] {
        match self {
            Self::Kubernetes => &[&["kube-apiserver"], &["kube-controller-manager", "kube-scheduler"]],
            Self::FrontProxy => &[&["kube-apiserver"], &["kube-controller-manager"]],
            Self::Etcd => &[&["etcd"], &["kube-apiserver"]],
        }
    }
}

/// What the directories of [`Family::dir`] begin with.
pub(crate) const ROTATIONS: &str = "/etc/kubernetes/pki/rotation-";
