//! One line for people about what a step does.

use crate::plan::{Action, Step};

impl Step {
    /// What it does, in a few words that start with a verb; neither the host nor the phase is named.
    #[must_use]
    pub fn title(&self) -> String {
        match &self.action {
            Action::WriteFile { path, .. } => format!("write {path}"),
            Action::RemoveFile { path } => format!("remove {path}"),
            Action::WriteBlock { path, marker, .. } => format!("write block {marker} of {path}"),
            Action::LoadModule { module } => format!("load module {module}"),
            Action::SetSysctl { key, value } => format!("set {key} = {value}"),
            Action::SwapOff => "turn swap off".to_owned(),
            Action::PutBlob { artifact, digest, .. } => format!("send {artifact} ({})", digest.short()),
            Action::InstallBlob { path, .. } => format!("install {path}"),
            Action::UnpackBlob { members, digest } => match members.as_slice() {
                [one] => format!("unpack {}", one.path),
                [first, rest @ ..] => format!("unpack {} and {} more", first.path, rest.len()),
                [] => format!("unpack {}", digest.short()),
            },
            Action::InstallPackages { names, .. } => format!("install packages {}", names.join(", ")),
            Action::Unit { name, active: Some(true), .. } => format!("start {name}"),
            Action::Unit { name, active: Some(false), .. } => format!("stop {name}"),
            Action::Unit { name, enabled: true, active: None, .. } => format!("enable {name}"),
            Action::Unit { name, enabled: false, active: None, .. } => format!("disable {name}"),
            Action::ImportImage { name, .. } => format!("import {name}"),
            Action::RegistryIdentity { .. } => "make the registry's certificate".to_owned(),
            Action::RegistryTrust { .. } => "trust the registry's CA".to_owned(),
            Action::EtcdIdentity { .. } => "make etcd's certificates".to_owned(),
            Action::EtcdClient { .. } => "make the client certificate for etcd".to_owned(),
            Action::PlaceCertificates { .. } => "put the certificates to where Kubernetes finds them".to_owned(),
            Action::EtcdEnter { member, .. } => format!("enter {member} into etcd"),
            Action::RestartPods { components } => format!("restart {}", components.join(", ")),
            Action::ResetPartial { .. } => "clear what a broken init or join left".to_owned(),
            Action::KubeadmInit { .. } => "run kubeadm init".to_owned(),
            Action::KubeadmJoin { control_plane: true, .. } => "run kubeadm join as a control plane".to_owned(),
            Action::KubeadmJoin { control_plane: false, .. } => "run kubeadm join as a worker".to_owned(),
            Action::NodeMeta { node, .. } => format!("set labels and taints of {node}"),
            Action::WaitNodeReady { node, .. } => format!("wait until {node} is Ready"),
            Action::WaitControlPlane { node, .. } => format!("wait until the control plane on {node} is healthy"),
            Action::WaitStaticPods { node, .. } => format!("wait until static pods of {node} have settled"),
            Action::UpgradeAddons { .. } => "upgrade kube-proxy and CoreDNS".to_owned(),
            Action::WaitEtcdMembers { members, .. } => {
                format!("wait until etcd's members are {}", members.join(", "))
            }
            Action::SpreadDns { .. } => "spread CoreDNS over the nodes".to_owned(),
            Action::TestPodNetwork { nodes, .. } => format!("test the pod network on {} nodes", nodes.len()),
            Action::ApplyManifest { name, .. } => format!("apply manifest {name}"),
            Action::HelmRelease { release, namespace, .. } => format!("install release {release} in {namespace}"),
            Action::EtcdSnapshot { path } => format!("save etcd's data to {path}"),
            Action::KeepVersion { .. } => "keep what going back would take".to_owned(),
            Action::KubeadmUpgrade { version, first: true, .. } => format!("run kubeadm upgrade apply {version}"),
            Action::KubeadmUpgrade { version, first: false, .. } => format!("run kubeadm upgrade node to {version}"),
            Action::Cordon { node, .. } => format!("cordon {node}"),
            Action::Drain { node, .. } => format!("drain {node}"),
            Action::WaitNodeVersion { node, version, .. } => format!("wait until {node} is Ready at {version}"),
            Action::Uncordon { node, .. } => format!("uncordon {node}"),
            Action::Gate { nodes, soak_s, .. } => {
                format!("wait until all is well with {} for {soak_s} s", nodes.join(", "))
            }
            Action::Evacuate { node, .. } => format!("cordon and drain {node}"),
            Action::LeaveEtcd { node, .. } => format!("take {node} out of etcd"),
            Action::ForgetNode { node } => format!("delete the node object {node} and its pods"),
            Action::UploadSettings { .. } => "write the cluster's own configuration".to_owned(),
            Action::ControlPlaneSettings { .. } => "change settings of the control plane".to_owned(),
            Action::RuntimeSettings { .. } => "change settings of containerd".to_owned(),
            Action::KubeletSettings { .. } => "change settings of the kubelet".to_owned(),
            Action::ProxySettings { .. } => "change settings of kube-proxy".to_owned(),
            Action::ResetHost { .. } => "make the host bare".to_owned(),
        }
    }
}
