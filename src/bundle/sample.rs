//! A bundle's manifest for the tests of what is derived from it.

use super::manifest::{Artifact, ArtifactKind, BUNDLE_FORMAT, BlobRef, BundleManifest, Digest, Member, Verified};
use crate::inventory::Arch;

/// An artifact of this kind; an archive has two members.
pub(super) fn artifact(kind: ArtifactKind, name: &str, version: &str) -> Artifact {
    let digest = Digest::of(format!("{kind:?} {name} {version}").as_bytes());
    let blob = BlobRef { digest: digest.clone(), size: 1000, media_type: "application/octet-stream".into() };
    let member = |path: &str| Member { path: path.into(), digest: Digest::of(path.as_bytes()), size: 10, mode: 0o755 };
    Artifact {
        kind,
        name: name.into(),
        version: version.into(),
        arch: (!matches!(kind, ArtifactKind::Chart | ArtifactKind::Manifest)).then_some(Arch::Amd64),
        digest: digest.clone(),
        size: 1000,
        source: format!("https://upstream.example/{version}/{}", name.rsplit('/').next().unwrap_or(name)),
        verified: Verified::LockOnly,
        manifest: digest,
        blobs: vec![blob],
        members: if kind == ArtifactKind::Archive { vec![member("bin/a"), member("LICENSE")] } else { Vec::new() },
    }
}

/// A manifest of one artifact of every kind.
pub(super) fn manifest() -> BundleManifest {
    let artifacts = [
        (ArtifactKind::Binary, "kubeadm", "1.36.2"),
        (ArtifactKind::Archive, "containerd", "2.2.1"),
        (ArtifactKind::Image, "registry.k8s.io/pause:3.10.2", "3.10.2"),
        (ArtifactKind::Chart, "ingress", "1.0.0"),
        (ArtifactKind::Manifest, "objects", "1"),
        (ArtifactKind::Package, "conntrack", "1.4.7-1"),
        (ArtifactKind::File, "notes", "1"),
    ];
    BundleManifest {
        format_version: BUNDLE_FORMAT,
        kubernetes: "1.36.2".into(),
        lock: Digest::of(b"lock"),
        artifacts: artifacts.map(|(kind, name, version)| artifact(kind, name, version)).into(),
        addons: Vec::new(),
    }
}
