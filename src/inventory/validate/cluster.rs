//! The cluster itself and its versions.

use super::judge::{at, under};
use super::syntax::{is_dns_label, is_dns_name, is_image_tag, is_release};
use crate::inventory::CHECKS;
use crate::inventory::model::Inventory;
use crate::inventory::structure::{nearest, shown};
use crate::inventory::tree::{Finding, Path};
use crate::kubernetes::CONTAINERD_2_FROM;
use crate::version::{KubeVersion, NEWEST_MINOR, OLDEST_MINOR};

/// The first minor whose kubelet speaks CRI v1. Those before it speak v1alpha2, which containerd 2.0 has no more.
/// Source: the changelog of Kubernetes 1.23, and containerd's list of what 2.0 removed, docs/containerd-2.0.md.
const CRI_V1_FROM_MINOR: u32 = 23;
/// The first minor whose kubelet speaks CRI v1 alone, which containerd has from 1.6 on. Source: the changelog of 1.26.
const CRI_V1_ONLY_FROM_MINOR: u32 = 26;

pub(super) fn check(inventory: &Inventory, found: &mut Vec<Finding>) {
    let cluster = &inventory.cluster;
    if !is_dns_label(&cluster.name) {
        found.push(Finding::error(
            at(["cluster", "name"]),
            format!("\"{}\" is not a DNS label", shown(&cluster.name)),
            "use lower-case letters, digits and dashes, at most 63 of them, like \"prod-1\"",
        ));
    }
    if !is_dns_name(&inventory.network.domain) {
        found.push(Finding::error(
            at(["network", "domain"]),
            format!("\"{}\" is not a DNS name", shown(&inventory.network.domain)),
            "the default is \"cluster.local\"",
        ));
    }
    if cluster.arch.is_empty() {
        found.push(Finding::error(
            at(["cluster", "arch"]),
            "no architecture is named",
            "name those of the nodes, like [\"amd64\"]",
        ));
    }
    for (index, arch) in cluster.arch.iter().enumerate() {
        if cluster.arch.iter().take(index).any(|a| a == arch) {
            found.push(Finding::error(
                under(&at(["cluster", "arch"]), index),
                format!("\"{}\" is named twice", arch.as_str()),
                "remove one of the two",
            ));
        }
    }
    for (index, name) in inventory.preflight.ignore.iter().enumerate() {
        if !CHECKS.contains(&name.as_str()) {
            found.push(Finding::error(
                under(&at(["preflight", "ignore"]), index),
                format!("there is no preflight check \"{}\"", shown(name)),
                match nearest(name, CHECKS) {
                    Some(near) => format!("did you mean \"{near}\"?"),
                    None => format!("they are {}", CHECKS.join(", ")),
                },
            ));
        }
    }
    versions(inventory, found);
    super::etcd::check(inventory, found);
    for (name, args) in [
        ("apiserver", &inventory.apiserver.extra_args),
        ("controller_manager", &inventory.controller_manager.extra_args),
        ("scheduler", &inventory.scheduler.extra_args),
        ("kubelet", &inventory.kubelet.extra_args),
        ("etcd", &inventory.etcd.extra_args),
    ] {
        for key in args.keys().filter(|k| k.is_empty() || k.starts_with('-')) {
            let mut finding = Finding::error(
                at([name, "extra_args", key]),
                format!("the argument \"{}\" is written with dashes", shown(key)),
                "leave the leading dashes out, like \"v\" = \"2\"",
            );
            finding.on_key = true;
            found.push(finding);
        }
    }
}

fn versions(inventory: &Inventory, found: &mut Vec<Finding>) {
    let path = || at(["cluster", "version"]);
    let version = match inventory.cluster.version.parse::<KubeVersion>() {
        Ok(version) => Some(version),
        Err(_) => {
            found.push(Finding::error(
                path(),
                format!("\"{}\" is not a Kubernetes version", shown(&inventory.cluster.version)),
                format!("write it as major.minor.patch, like \"1.{NEWEST_MINOR}.0\""),
            ));
            None
        }
    };
    if let Some(v) = version.filter(|v| v.major != 1 || !(OLDEST_MINOR..=NEWEST_MINOR).contains(&v.minor)) {
        found.push(Finding::error(
            path(),
            format!("Kubernetes {v} is not supported"),
            format!("supported are 1.{OLDEST_MINOR} to 1.{NEWEST_MINOR}"),
        ));
    }
    let runtime = &inventory.runtime;
    for (name, release) in [
        ("containerd_version", &runtime.containerd_version),
        ("runc_version", &runtime.runc_version),
        ("cni_plugins_version", &runtime.cni_plugins_version),
        // An empty string leaves crictl out.
        ("crictl_version", &runtime.crictl_version.clone().filter(|v| !v.is_empty())),
    ] {
        check_release(at(["runtime", name]), release.as_deref(), found);
    }
    check_release(at(["etcd", "version"]), inventory.etcd.version.as_deref(), found);
    for (path, tag) in [
        (at(["etcd", "image_tag"]), &inventory.etcd.image_tag),
        (at(["kubeadm", "pause_tag"]), &inventory.kubeadm.pause_tag),
        (at(["kubeadm", "coredns_tag"]), &inventory.kubeadm.coredns_tag),
    ] {
        if let Some(tag) = tag.as_deref().filter(|t| !is_image_tag(t)) {
            found.push(Finding::error(
                path,
                format!("\"{}\" is not an image tag", shown(tag)),
                "write the tag alone, like \"3.10.1\"",
            ));
        }
    }
    if let (Some(containerd), Some(v)) = (runtime.containerd_version.as_deref(), version)
        && let Some(fitting) = containerd_for(v.minor, containerd)
    {
        found.push(Finding::error(
            at(["runtime", "containerd_version"]),
            format!("Kubernetes {v} does not work with containerd {}", shown(containerd)),
            format!("use containerd {fitting}, or leave the key out: the default fits the Kubernetes version"),
        ));
    }
}

/// Which containerd goes with a minor, when this one does not. The last minor with containerd 1: [`CONTAINERD_2_FROM`].
fn containerd_for(minor: u32, containerd: &str) -> Option<&'static str> {
    // One that is no release has its own finding.
    let mut parts = containerd.split('.').map_while(|p| p.parse::<u32>().ok());
    let release = (parts.next()?, parts.next()?);
    match minor {
        CONTAINERD_2_FROM.. => (release.0 < 2).then_some("2.0 or newer"),
        CRI_V1_ONLY_FROM_MINOR.. => (release < (1, 6)).then_some("1.6 or newer"),
        CRI_V1_FROM_MINOR.. => None,
        _ => (release.0 >= 2).then_some("1.6 or 1.7"),
    }
}

fn check_release(path: Path, release: Option<&str>, found: &mut Vec<Finding>) {
    if let Some(text) = release.filter(|r| !is_release(r)) {
        found.push(Finding::error(
            path,
            format!("\"{}\" is not a release", shown(text)),
            "write it as major.minor.patch without a leading v, like \"2.1.4\"",
        ));
    }
}
