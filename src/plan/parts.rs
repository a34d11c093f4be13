//! What the planner takes from a bundle. Pure.

use std::collections::BTreeSet;

use crate::bundle::{Addon, Artifact, ArtifactKind, BundleManifest, Digest, ImageName, package_name, wanted};
use crate::error::{Error, Result};
use crate::inventory::{Arch, Inventory, PackageKind, RegistryMode};
use crate::kubeadm::ClusterImages;

/// A bundle, asked by name.
pub(super) struct Parts<'a> {
    inv: &'a Inventory,
    bundle: &'a BundleManifest,
}

impl<'a> Parts<'a> {
    pub(super) fn new(inv: &'a Inventory, bundle: &'a BundleManifest) -> Self {
        Self { inv, bundle }
    }

    /// The artifact, or an error that names what is missing.
    pub(super) fn get(&self, kind: ArtifactKind, name: &str, arch: Arch) -> Result<&'a Artifact> {
        self.bundle.find(kind, name, arch).ok_or_else(|| {
            Error::invalid(format!("the bundle has no {name} for {}", arch.as_str()))
                .hint("`provision bundle lock` and `provision bundle build` with this inventory make one that has")
        })
    }

    /// The artifact if it is inside.
    pub(super) fn find(&self, kind: ArtifactKind, name: &str, arch: Arch) -> Option<&'a Artifact> {
        self.bundle.find(kind, name, arch)
    }

    /// What is put onto the cluster.
    pub(super) fn addons(&self) -> &'a [Addon] {
        &self.bundle.addons
    }

    /// The size in bytes of a blob; 0 when no artifact has it.
    pub(super) fn blob_size(&self, digest: &Digest) -> u64 {
        self.bundle.artifacts.iter().flat_map(|a| &a.blobs).find(|b| b.digest == *digest).map_or(0, |b| b.size)
    }

    /// All packages of a type for this architecture.
    pub(super) fn packages(&self, kind: PackageKind, arch: Arch) -> Vec<&'a Artifact> {
        let prefix = package_name(kind, "");
        let of = |a: &&Artifact| a.kind == ArtifactKind::Package && a.arch == Some(arch) && a.name.starts_with(&prefix);
        self.bundle.artifacts.iter().filter(of).collect()
    }

    /// All images, of every architecture.
    pub(super) fn images(&self) -> Vec<&'a Artifact> {
        self.bundle.artifacts.iter().filter(|a| a.kind == ArtifactKind::Image).collect()
    }

    /// A `bundle.json` of the images and nothing else.
    pub(super) fn images_alone(&self) -> String {
        let artifacts = self.images().into_iter().cloned().collect();
        BundleManifest { artifacts, addons: Vec::new(), ..self.bundle.clone() }.to_canonical_json()
    }

    /// The images for this architecture that a host in this role has beforehand. With a registry those are the
    /// cluster's own: what charts and manifests name is pulled.
    pub(super) fn preloaded(&self, arch: Arch, control_plane: bool) -> Result<Vec<&'a Artifact>> {
        const CONTROL_PLANE_ONLY: [&str; 6] =
            ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd", "kube-vip", "keepalived"];
        let pulled = self.pulled()?;
        Ok(self
            .images()
            .into_iter()
            .filter(|a| a.arch == Some(arch) && !pulled.contains(a.name.as_str()))
            .filter(|a| control_plane || !CONTROL_PLANE_ONLY.contains(&base_name(&a.name)))
            .collect())
    }

    /// The images that nodes pull when they need them.
    fn pulled(&self) -> Result<BTreeSet<&'a str>> {
        const OWN: [&str; 7] =
            ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "etcd", "pause", "coredns"];
        if self.inv.registry.mode == RegistryMode::Preload {
            return Ok(BTreeSet::new());
        }
        let own = wanted(self.inv)?.images;
        let of_addons = self.bundle.addons.iter().flat_map(|a| &a.images).map(String::as_str);
        Ok(of_addons.filter(|i| !OWN.contains(&base_name(i)) && !own.iter().any(|o| o == i)).collect())
    }

    /// The registries that the images' names begin with.
    pub(super) fn registries(&self) -> Result<BTreeSet<String>> {
        let images = self.bundle.artifacts.iter().filter(|a| a.kind == ArtifactKind::Image);
        images.map(|a| ImageName::parse(&a.name).map(|i| i.registry)).collect()
    }

    /// The full name of the image whose repository ends in `/name`.
    pub(super) fn image_named(&self, name: &str) -> Result<&'a str> {
        self.bundle
            .artifacts
            .iter()
            .find(|a| a.kind == ArtifactKind::Image && base_name(&a.name) == name)
            .map(|a| a.name.as_str())
            .ok_or_else(|| Error::invalid(format!("the bundle has no image named {name}")))
    }

    /// The pause image that containerd runs: of two tags in the bundle the inventory's.
    fn pause(&self) -> Result<&'a str> {
        let Some(tag) = &self.inv.kubeadm.pause_tag else { return self.image_named("pause") };
        let images = self.bundle.artifacts.iter().filter(|a| a.kind == ArtifactKind::Image);
        let own = images.map(|a| a.name.as_str()).find(|i| base_name(i) == "pause" && i.ends_with(&format!(":{tag}")));
        own.ok_or_else(|| {
            Error::invalid(format!("the bundle has no image pause:{tag}, which kubeadm.pause_tag names"))
                .hint("make one with `provision bundle lock` and `provision bundle build` and this inventory")
        })
    }

    /// What kubeadm's configuration says of images.
    pub(super) fn cluster_images(&self) -> Result<ClusterImages> {
        let apiserver = self.image_named("kube-apiserver")?;
        let repository = apiserver.rsplit_once('/').map_or("registry.k8s.io", |(r, _)| r).to_owned();
        let tag =
            |name: &str| self.image_named(name).ok().and_then(|i| i.rsplit_once(':')).map(|(_, tag)| tag.to_owned());
        Ok(ClusterImages {
            repository,
            etcd_tag: self.inv.etcd.image_tag.clone().or_else(|| tag("etcd")),
            coredns_tag: self.inv.kubeadm.coredns_tag.clone().or_else(|| tag("coredns")),
            pause: self.pause()?.to_owned(),
        })
    }
}

/// `kube-proxy` of `registry.k8s.io/kube-proxy:v1.36.2`.
fn base_name(image: &str) -> &str {
    let last = image.rsplit('/').next().unwrap_or(image);
    last.split([':', '@']).next().unwrap_or(last)
}
