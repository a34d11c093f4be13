//! The lab's inventory: an ordinary one, as any user could write it.

use std::fmt::Write as _;

use super::source::Parts;
use super::up::{LabOptions, MadeNode};
use super::upstream::Upstream;
use crate::version::KubeVersion;

/// Its text.
pub(super) fn inventory(
    options: &LabOptions,
    version: &str,
    nodes: &[MadeNode],
    key_file: &str,
    signer: &str,
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
        let _ = write!(
            out,
            "containerd_version = \"{}\"\nrunc_version = \"{}\"\ncni_plugins_version = \"{}\"\n# Debian has no crictl\ncrictl_version = \"\"\n\n\
             [etcd]\nversion = \"{}\"\nimage_tag = \"{}\"\n\n\
             [kubeadm]\n# Ours runs in its place; and the source has no CoreDNS\nskip_phases = [\"preflight\", \"addon/coredns\"]\npause_tag = \"3.2\"\n",
            parts.get("containerd"),
            parts.get("runc"),
            parts.get("cni_plugins"),
            parts.get("etcd"),
            parts.get("etcd_image_tag"),
        );
    } else {
        out.push_str("\n[kubeadm]\nskip_phases = [\"preflight\"]\n");
    }
    out.push_str("\n[kubelet.config]\n");
    if minor >= 35 {
        out.push_str("failCgroupV1 = false\n");
    }
    if minor < 25 {
        // A busy kubelet of this age may look at etcd's static pod before it knows its own disk, and then rejects it for
        // good: it is told not to count disk.
        out.push_str("featureGates = { LocalStorageCapacityIsolation = false }\n");
    }
    out.push_str(
        "imageGCHighThresholdPercent = 100\n\
         evictionHard = { \"memory.available\" = \"50Mi\", \"nodefs.available\" = \"1%\", \"imagefs.available\" = \"1%\" }\n\n\
         [kube_proxy.config]\nconntrack = { maxPerCore = 0, min = 0 }\n\n\
         [preflight]\nfree_disk_mib = 2048\n",
    );
    let _ = write!(out, "\n[[trust.signers]]\nname = \"lab\"\nkey = \"{signer}\"\n");
    if let Some((_, upstream)) = local {
        let base = &upstream.http;
        let _ = write!(
            out,
            "\n[sources]\nkubernetes = \"{base}/k8s/release\"\ncontainerd = \"{base}/containerd\"\nrunc = \"{base}/runc\"\n\
             cni_plugins = \"{base}/cni\"\netcd = \"{base}/etcd\"\n\n\
             [sources.registries]\n\"registry.k8s.io\" = \"{r}\"\n\"docker.io\" = \"{r}\"\n",
            r = upstream.registry,
        );
    }
    let _ = write!(
        out,
        "\n[defaults]\nuser = \"admin\"\nkey_file = \"{key_file}\"\nsudo = {{ method = \"passwordless\" }}\n"
    );
    for node in nodes {
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
