//! What an inventory needs from upstream. Pure.

use super::program::PROGRAM;
use super::versions::versions;
use crate::bundle::ArtifactKind;
use crate::error::Result;
use crate::inventory::{Arch, EndpointMode, EtcdMode, Inventory, RegistryMode};
use crate::version::KubeVersion;

/// A file to fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileWant {
    /// Binary or archive.
    pub kind: ArtifactKind,
    /// `kubeadm`, `containerd` ...
    pub name: &'static str,
    /// Without a leading `v`.
    pub version: String,
    /// Its architecture.
    pub arch: Arch,
    /// Where it is.
    pub url: String,
    /// Where its checksum is published.
    pub checksum_url: String,
}

/// Everything an inventory needs, except the control plane's images: those the locked kubeadm names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Files for every architecture.
    pub files: Vec<FileWant>,
    /// Images by full name.
    pub images: Vec<String>,
}

/// The helm that installs charts, when the inventory names none: it speaks with every Kubernetes version of ours.
const HELM: &str = "4.2.3";

/// What the inventory needs.
pub fn wanted(inv: &Inventory) -> Result<Wanted> {
    let version: KubeVersion = inv.cluster.version.parse()?;
    let defaults = versions(version.minor)?;
    let pick = |own: &Option<String>, default: &str| own.clone().unwrap_or_else(|| default.to_owned());
    let (s, r) = (&inv.sources, &inv.runtime);
    let mut files = Vec::new();
    for arch in &inv.cluster.arch {
        let a = arch.as_str();
        let mut add = |kind, name, version: String, url: String, checksum_url: Option<String>| {
            // An empty version in the inventory leaves a part out.
            if !version.is_empty() {
                let checksum_url = checksum_url.unwrap_or_else(|| format!("{url}.sha256"));
                files.push(FileWant { kind, name, version, arch: *arch, url, checksum_url });
            }
        };
        for name in ["kubeadm", "kubelet", "kubectl"] {
            let url = format!("{}/v{version}/bin/linux/{a}/{name}", s.kubernetes);
            add(ArtifactKind::Binary, name, version.to_string(), url, None);
        }
        let v = pick(&r.runc_version, &defaults.runc);
        let sums = format!("{}/v{v}/runc.sha256sum", s.runc);
        add(ArtifactKind::Binary, "runc", v.clone(), format!("{}/v{v}/runc.{a}", s.runc), Some(sums));
        let v = pick(&r.containerd_version, &defaults.containerd);
        let url = format!("{}/v{v}/containerd-{v}-linux-{a}.tar.gz", s.containerd);
        add(ArtifactKind::Archive, "containerd", v, url.clone(), Some(format!("{url}.sha256sum")));
        let v = pick(&r.cni_plugins_version, &defaults.cni_plugins);
        let url = format!("{}/v{v}/cni-plugins-linux-{a}-v{v}.tgz", s.cni_plugins);
        add(ArtifactKind::Archive, "cni-plugins", v, url, None);
        let v = pick(&r.crictl_version, &defaults.crictl);
        add(
            ArtifactKind::Archive,
            "crictl",
            v.clone(),
            format!("{}/v{v}/crictl-v{v}-linux-{a}.tar.gz", s.crictl),
            None,
        );
        let v = pick(&inv.etcd.version, &defaults.etcd);
        let sums = format!("{}/v{v}/SHA256SUMS", s.etcd);
        add(
            ArtifactKind::Archive,
            "etcd",
            v.clone(),
            format!("{}/v{v}/etcd-v{v}-linux-{a}.tar.gz", s.etcd),
            Some(sums),
        );
        if inv.registry.mode == RegistryMode::Builtin || inv.backup.schedule.is_some() {
            // A release of this program's own, or the running program itself.
            let v = env!("CARGO_PKG_VERSION");
            let url = s.provision.as_ref().map_or_else(
                || format!("{PROGRAM}provision-linux-{a}"),
                |base| format!("{base}/v{v}/provision-linux-{a}"),
            );
            add(ArtifactKind::Binary, "provision", v.to_owned(), url, None);
        }
        if !inv.charts.is_empty() {
            let v = pick(&inv.tools.helm_version, HELM);
            let url = format!("{}/helm-v{v}-linux-{a}.tar.gz", s.helm);
            add(ArtifactKind::Archive, "helm", v, url.clone(), Some(format!("{url}.sha256sum")));
        }
    }
    let mut images = vec![inv.verify.image.clone()];
    let endpoint = |default: &str| inv.endpoint.image.clone().unwrap_or_else(|| default.to_owned());
    match inv.endpoint.mode {
        EndpointMode::Haproxy => images.push(endpoint("docker.io/library/haproxy:3.2")),
        EndpointMode::KeepalivedHaproxy => {
            images.push(endpoint("docker.io/library/haproxy:3.2"));
            images.push(
                inv.endpoint.keepalived_image.clone().unwrap_or_else(|| "docker.io/osixia/keepalived:2.0.20".into()),
            );
        }
        EndpointMode::KubeVip => images.push(endpoint("ghcr.io/kube-vip/kube-vip:v1.0.3")),
        EndpointMode::FirstNode | EndpointMode::External => {}
    }
    images.sort();
    images.dedup();
    Ok(Wanted { files, images })
}

/// The control plane's images out of what kubeadm listed, with the inventory's tags, without what is skipped. Of pause both
/// tags: containerd runs the inventory's, and the health check of `kubeadm upgrade` runs kubeadm's own, which no key of its
/// configuration changes (`GetPauseImage` in cmd/kubeadm/app/images/images.go of kubernetes/kubernetes).
pub(super) fn control_plane_images(inv: &Inventory, listed: &[String]) -> Vec<String> {
    let skipped = |phase: &str| inv.kubeadm.skip_phases.iter().any(|p| p == phase || p == "addon");
    let mut images = Vec::new();
    for image in listed {
        let Some((repository, tag)) = image.rsplit_once(':') else { continue };
        let name = repository.rsplit('/').next().unwrap_or(repository);
        let (keep, own) = match name {
            "etcd" => (inv.etcd.mode == EtcdMode::Stacked, inv.etcd.image_tag.as_deref()),
            "coredns" => (!skipped("addon/coredns"), inv.kubeadm.coredns_tag.as_deref()),
            "kube-proxy" => (!skipped("addon/kube-proxy"), None),
            "pause" => (true, inv.kubeadm.pause_tag.as_deref()),
            _ => (true, None),
        };
        if keep {
            images.push(format!("{repository}:{}", own.unwrap_or(tag)));
        }
        if name == "pause" && own.is_some_and(|own| own != tag) {
            images.push(image.clone());
        }
    }
    images
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(more: &str) -> Vec<String> {
        let text = format!("{}{more}", crate::inventory::SAMPLE);
        let inv = crate::inventory::parse(&text).unwrap_or_else(|d| panic!("{d:?}")).inventory;
        let listed = ["kube-apiserver:v1.36.3", "etcd:3.6.8-0", "pause:3.10.2"].map(|i| format!("registry.k8s.io/{i}"));
        control_plane_images(&inv, &listed)
    }

    #[test]
    fn pause_is_there_with_the_tag_of_the_inventory_and_with_the_one_that_kubeadm_runs() {
        let pauses = |more: &str| images(more).into_iter().filter(|i| i.contains("pause")).collect::<Vec<_>>();
        assert_eq!(pauses(""), ["registry.k8s.io/pause:3.10.2"]);
        let own = "[kubeadm]\npause_tag = \"3.9\"\n";
        assert_eq!(pauses(own), ["registry.k8s.io/pause:3.9", "registry.k8s.io/pause:3.10.2"]);
        assert_eq!(pauses("[kubeadm]\npause_tag = \"3.10.2\"\n"), ["registry.k8s.io/pause:3.10.2"]);
        // etcd is run with the tag of the inventory alone.
        let tags = images("[etcd]\nimage_tag = \"3.6.9-0\"\n");
        assert_eq!(tags.iter().filter(|i| i.contains("etcd")).collect::<Vec<_>>(), ["registry.k8s.io/etcd:3.6.9-0"]);
    }
}
