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
    // Everybody waits for nodes to be Ready: a kubelet that is not at its first look looks again sooner than after 10 s.
    out.push_str(
        "nodeStatusUpdateFrequency = \"4s\"\nnodeStatusReportFrequency = \"5m\"\nimageGCHighThresholdPercent = 100\n\
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

/// An inventory of the lab for another version, and for the parts that go with it.
pub(super) fn of_version(text: &str, version: &str, parts: Option<&Parts>) -> String {
    let mut text = set(text, "cluster", "version", version);
    for (table, key, part) in [
        ("runtime", "containerd_version", "containerd"),
        ("runtime", "runc_version", "runc"),
        ("runtime", "cni_plugins_version", "cni_plugins"),
        ("etcd", "version", "etcd"),
        ("etcd", "image_tag", "etcd_image_tag"),
    ] {
        if let Some(parts) = parts {
            text = set(&text, table, key, parts.get(part));
        }
    }
    text
}

/// The text with another value of a key that a table has.
fn set(text: &str, table: &str, key: &str, value: &str) -> String {
    let (header, key) = (format!("[{table}]"), format!("{key} = "));
    let mut inside = false;
    let lines = text.lines().map(|line| {
        if line.starts_with('[') {
            inside = line == header;
        }
        if inside && line.starts_with(&key) { format!("{key}\"{value}\"\n") } else { format!("{line}\n") }
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::set;

    #[test]
    fn a_key_is_set_in_its_own_table() {
        let text = "# a lab\n[cluster]\nname = \"x\"\nversion = \"1.2.3\"\n[etcd]\nversion = \"1.2.3\"\n[[hosts]]\nversion = \"1.2.3\"\n";
        let wanted = text.replace("[etcd]\nversion = \"1.2.3\"", "[etcd]\nversion = \"4.5.6\"");
        assert_eq!(set(text, "etcd", "version", "4.5.6"), wanted);
        assert_eq!(set(text, "runtime", "version", "4.5.6"), text);
    }
}
