//! The lab's inventory: an ordinary one, as any user could write it.

use std::fmt::Write as _;

use super::source::Parts;
use super::up::{LabOptions, Made};
use super::upstream::Upstream;
use crate::version::KubeVersion;

/// The first minor release whose kubeadm speaks to the container runtime itself, without crictl.
const NO_CRICTL: u32 = 32;
/// The first minor release whose kubelet refuses cgroup v1 unless its configuration says otherwise.
const NO_CGROUP_V1: u32 = 35;

/// The text of the inventory for `version`.
pub(super) fn inventory(
    options: &LabOptions,
    version: &str,
    made: &Made,
    local: Option<(&Parts, &Upstream)>,
) -> String {
    let mut out = String::new();
    let minor = version.parse::<KubeVersion>().map_or(0, |v| v.minor);
    let _ = write!(
        out,
        "# The inventory of lab `{name}`: containers on this machine.\n\n\
         [cluster]\nname = \"{name}\"\nversion = \"{version}\"\n\n\
         [network]\npods = [\"10.244.0.0/16\"]\nservices = [\"10.96.0.0/16\"]\n\n\
         [endpoint]\nmode = \"{mode}\"\n",
        name = options.name,
        mode = options.endpoint,
    );
    if local.is_some() && options.endpoint == "haproxy" {
        out.push_str("image = \"docker.io/library/haproxy:2.6\"\n");
    }
    out.push_str(
        "\n# Containers in containers: no access to oom_score_adj below the container's own, cgroup v1 without systemd's\n\
         # delegation, and a kernel whose conntrack table is not ours.\n\
         [runtime]\ncgroup_driver = \"cgroupfs\"\nrestrict_oom_score_adj = true\n",
    );
    if let Some((parts, _)) = local {
        out.push_str(&versions(parts));
    }
    out.push_str(&kubeadm(minor, local.map(|(parts, _)| parts)));
    out.push_str("\n[kubelet.config]\n");
    if minor >= NO_CGROUP_V1 {
        out.push_str("failCgroupV1 = false\n");
    }
    if minor < 25 {
        // A busy kubelet of this age may look at etcd's static pod before it knows its own disk, and then rejects it for
        // good: it is told not to count disk.
        out.push_str("featureGates = { LocalStorageCapacityIsolation = false }\n");
    }
    // Everybody waits for nodes to be Ready: a kubelet that is not at its first look looks again sooner than after 10 s.
    out.push_str(
        "nodeStatusUpdateFrequency = \"4s\"\nnodeStatusReportFrequency = \"5m\"\nimageGCHighThresholdPercent = 100\n\
         evictionHard = { \"memory.available\" = \"50Mi\", \"nodefs.available\" = \"1%\", \"imagefs.available\" = \"1%\" }\n\n\
         [kube_proxy.config]\nconntrack = { maxPerCore = 0, min = 0 }\n\n\
         [preflight]\nfree_disk_mib = 2048\n",
    );
    let _ = write!(out, "\n[[trust.signers]]\nname = \"lab\"\nkey = \"{}\"\n", made.signer);
    if let Some((_, upstream)) = local {
        let base = &upstream.http;
        let _ = write!(
            out,
            "\n[sources]\nkubernetes = \"{base}/k8s/release\"\ncontainerd = \"{base}/containerd\"\nrunc = \"{base}/runc\"\n\
             cni_plugins = \"{base}/cni\"\ncrictl = \"{base}/crictl\"\netcd = \"{base}/etcd\"\n\n\
             [sources.registries]\n\"registry.k8s.io\" = \"{r}\"\n\"docker.io\" = \"{r}\"\n",
            r = upstream.registry,
        );
    }
    let _ = write!(
        out,
        "\n[defaults]\nuser = \"admin\"\nkey_file = \"{}\"\nsudo = {{ method = \"passwordless\" }}\n",
        made.key_file
    );
    for node in &made.nodes {
        let _ = write!(
            out,
            "\n[[hosts]]\nname = \"{}\"\naddress = \"{}\"\nrole = \"{}\"\nhost_key = \"{}\"\n",
            node.name, node.address, node.role, node.host_key
        );
        if node.role == "worker" {
            out.push_str("labels = { \"provision.lab/pool\" = \"workers\" }\n");
        }
    }
    out
}

/// The versions of what is in a local upstream. A part that is not there has an empty version, which leaves it out.
fn versions(parts: &Parts) -> String {
    let mut out = String::new();
    for part in ["containerd", "runc", "cni_plugins", "crictl"] {
        if part == "crictl" && parts.get(part).is_empty() {
            out.push_str("# The source has no crictl\n");
        }
        let _ = writeln!(out, "{part}_version = \"{}\"", parts.get(part));
    }
    let _ = write!(out, "\n[etcd]\nversion = \"{}\"\n", parts.get("etcd"));
    let tag = parts.get("etcd_image_tag");
    if !tag.is_empty() {
        let _ = writeln!(out, "# Another release than the one kubeadm asks for\nimage_tag = \"{tag}\"");
    }
    out
}

/// What kubeadm of this minor release leaves out in containers, and for want of parts of a local upstream.
fn kubeadm(minor: u32, parts: Option<&Parts>) -> String {
    let lacks = |part: &str| parts.is_some_and(|parts| parts.get(part).is_empty());
    let mut out = "\n[kubeadm]\n".to_owned();
    let mut skipped = Vec::new();
    if lacks("crictl") && minor < NO_CRICTL {
        out.push_str(
            "# This kubeadm asks crictl, which the source does not have; provision's own preflight runs in any case.\n",
        );
        skipped.push("\"preflight\"");
    } else {
        out.push_str(
            "# A container has no kernel configuration to check, and may have cgroup v1.\n\
             ignore_preflight_errors = [\"SystemVerification\"]\n",
        );
    }
    if lacks("coredns") {
        out.push_str("# The source has no CoreDNS.\n");
        skipped.push("\"addon/coredns\"");
    }
    if !skipped.is_empty() {
        let _ = writeln!(out, "skip_phases = [{}]", skipped.join(", "));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::source::Parts;
    use super::super::up::MadeNode;
    use super::*;
    use crate::inventory::{Inventory, parse};

    fn parts(text: &str) -> Parts {
        Parts::read(text)
    }

    /// What is known of the source of Debian's packages, and of one with all release binaries.
    const DEBIAN: &str =
        "containerd=1.6.20\nrunc=1.1.5\ncni_plugins=1.1.1\ncrictl=\ncoredns=\netcd=3.4.23\netcd_image_tag=3.4.23-0\n";
    const DIST: &str = "containerd=2.1.9\nrunc=1.1.5\ncni_plugins=1.1.1\ncrictl=1.36.0\ncoredns=coredns/coredns:v1.14.2\netcd=3.6.8\netcd_image_tag=\n";

    fn made(version: &str, local: Option<&str>) -> (String, Inventory) {
        let options = LabOptions {
            name: "t".into(),
            control_planes: 1,
            workers: 1,
            source: None,
            endpoint: "haproxy".into(),
            with: None,
            os: super::super::node::Os::default(),
        };
        let node = |name: &str, address: &str, role| MadeNode {
            name: name.into(),
            address: address.into(),
            role,
            host_key: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIMqG4WUtJtU+7Manpdmh5LNsZ8rmFd1DeqplV7CG4zh".into(),
        };
        let made = Made {
            nodes: vec![node("cp1", "10.89.77.11", "control-plane"), node("w1", "10.89.77.101", "worker")],
            key_file: "/id".into(),
            signer: "RWQW+o4pUlwAC+4VmavCcAf/wMvRpbmOYbB1KQBIGs6o1vTHsRLZ+bgR".into(),
        };
        let parts = local.map(parts);
        let upstream = local.map(|_| Upstream::named("http://127.0.0.1:1", "http://127.0.0.1:2"));
        let text = inventory(&options, version, &made, parts.as_ref().zip(upstream.as_ref()));
        let read = parse(&text).unwrap_or_else(|e| panic!("{e:?}\n{text}"));
        (text, read.inventory)
    }

    #[test]
    fn an_old_kubeadm_without_crictl_and_coredns_skips_what_needs_them() {
        let (text, inv) = made("1.20.2", Some(DEBIAN));
        assert_eq!(inv.kubeadm.skip_phases, ["preflight", "addon/coredns"], "{text}");
        assert!(inv.kubeadm.ignore_preflight_errors.is_empty() && inv.kubeadm.pause_tag.is_none(), "{text}");
        assert_eq!(inv.etcd.image_tag.as_deref(), Some("3.4.23-0"), "{text}");
        assert_eq!(inv.runtime.crictl_version.as_deref(), Some(""), "{text}");
        assert!(!inv.kubelet.config.contains_key("failCgroupV1"), "{text}");
        assert!(inv.kubelet.config.contains_key("featureGates"), "{text}");
    }

    #[test]
    fn a_current_source_runs_kubeadms_preflight_and_coredns_with_kubeadms_own_tags() {
        let (text, inv) = made("1.36.3", Some(DIST));
        assert!(inv.kubeadm.skip_phases.is_empty(), "{text}");
        assert_eq!(inv.kubeadm.ignore_preflight_errors, ["SystemVerification"], "{text}");
        assert_eq!((inv.etcd.image_tag, inv.kubeadm.pause_tag, inv.kubeadm.coredns_tag), (None, None, None), "{text}");
        assert_eq!(inv.runtime.crictl_version.as_deref(), Some("1.36.0"), "{text}");
        assert_eq!(inv.kubelet.config.get("failCgroupV1"), Some(&serde_json::Value::Bool(false)), "{text}");
        assert!(!inv.kubelet.config.contains_key("featureGates"), "{text}");
        // Without crictl a current kubeadm's preflight runs all the same, and 1.34 knows no failCgroupV1 to unset.
        let (text, inv) = made("1.34.2", Some(&DIST.replace("crictl=1.36.0", "crictl=")));
        assert!(inv.kubeadm.skip_phases.is_empty() && !inv.kubelet.config.contains_key("failCgroupV1"), "{text}");
    }

    #[test]
    fn upstream_itself_has_everything() {
        let (text, inv) = made("1.34.2", None);
        assert!(inv.kubeadm.skip_phases.is_empty() && inv.runtime.containerd_version.is_none(), "{text}");
    }
}
