//! The read-only shell snippets behind `Probe::Shell`. Each begins with a line `# probe:<name> <arguments>` that names
//! it; arguments are host names, addresses and kernel names that the inventory has checked, quoted all the same.

use crate::host::{Probe, shell_quote};

/// Name and body of every snippet; a body sees its arguments as `$1`, `$2` ...
pub const SHELL_PROBES: &[(&str, &str)] = &[
    ("facts", concat!("module_state() {\n", include_str!("module.sh"), "}\n", include_str!("../facts/facts.sh"))),
    ("node-state", include_str!("node_state.sh")),
    ("module", include_str!("module.sh")),
    ("swap", "tail -n +2 /proc/swaps\ngrep -E '^[^#]*[[:space:]]swap[[:space:]]' /etc/fstab 2>/dev/null || true\n"),
    (
        "nodes",
        "export PATH=$PATH:/usr/local/bin\nkubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout=10s get nodes -o json\n",
    ),
    // A name that is not installed is said on stderr, and is no error here.
    (
        "packages-deb",
        "dpkg-query -W -f '${db:Status-Status} ${Package} ${Version}\\n' \"$@\" 2>/dev/null | sed -n 's/^installed //p'\n",
    ),
    (
        "packages-rpm",
        "rpm -q --qf '%{NAME} %{EPOCHNUM}:%{VERSION}-%{RELEASE}\\n' \"$@\" 2>/dev/null | grep -v ' is not installed$' || true\n",
    ),
    ("control-plane", include_str!("control_plane.sh")),
    ("static-pods", include_str!("static_pods.sh")),
    ("etcd", concat!(include_str!("etcd_access.sh"), include_str!("etcd.sh"))),
    ("etcd-host", include_str!("etcd_host.sh")),
    ("external-etcd", include_str!("external_etcd.sh")),
    ("cluster-status", concat!(include_str!("etcd_access.sh"), include_str!("status.sh"))),
    ("strays", include_str!("strays.sh")),
    ("certs", concat!(include_str!("kubeconfigs.sh"), include_str!("certs.sh"))),
    ("rotation", concat!(include_str!("kubeconfigs.sh"), include_str!("rotation.sh"))),
    ("token-pods", include_str!("token_pods.sh")),
    (
        "release",
        "export KUBECONFIG=/etc/kubernetes/admin.conf PATH=$PATH:/usr/local/bin\nhelm history \"$1\" --namespace \"$2\" --max 1 -o json\n",
    ),
    (
        "releases",
        "export KUBECONFIG=/etc/kubernetes/admin.conf PATH=$PATH:/usr/local/bin\ncommand -v helm >/dev/null || exit 0\nhelm list --all-namespaces --selector \"$1\" -o json\n",
    ),
    ("manifest", include_str!("manifest.sh")),
    ("identity", include_str!("identity.sh")),
    ("node-keys", include_str!("node_keys.sh")),
    ("place-certificates", include_str!("place_certificates.sh")),
    ("upgrade", include_str!("upgrade.sh")),
    ("cluster-settings", include_str!("cluster_settings.sh")),
    ("budgets", include_str!("budgets.sh")),
    ("snapshot", include_str!("snapshot.sh")),
    // Name, phase, owner, whether it is a static pod's mirror, its controller and its emptyDir volumes, one pod a line.
    (
        "pods",
        "export PATH=$PATH:/usr/local/bin\nkubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout=10s get pods --all-namespaces --field-selector \"spec.nodeName=$1\" -o 'jsonpath={range .items[*]}{.metadata.namespace}/{.metadata.name}|{.status.phase}|{.metadata.ownerReferences[0].kind}|{.metadata.annotations.kubernetes\\.io/config\\.mirror}|{.metadata.ownerReferences[?(@.controller==true)].kind}|{.spec.volumes[*].emptyDir}{\"\\n\"}{end}'\n",
    ),
    // The kubelet of a node, asked by way of the API server.
    (
        "kubelet",
        "export PATH=$PATH:/usr/local/bin\nkubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout=8s get --raw \"/api/v1/nodes/$1/proxy/healthz\"\n",
    ),
    (
        "dns",
        "export PATH=$PATH:/usr/local/bin\nkubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout=10s -n kube-system get deployments,pods -l k8s-app=kube-dns -o json\n",
    ),
    // Nothing from 1.22 on.
    (
        "kubeadm-status",
        "export PATH=$PATH:/usr/local/bin\nkubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout=10s -n kube-system get configmap kubeadm-config -o 'jsonpath={.data.ClusterStatus}'\n",
    ),
    // The node, and its pods that have not ended: name and readiness, one a line; and of a static pod's mirror, what makes it one.
    (
        "ready-pods",
        "export PATH=$PATH:/usr/local/bin\nk=\"kubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout=10s get\"\n$k node \"$1\" -o 'jsonpath=node {.status.conditions[?(@.type==\"Ready\")].status}{\"\\n\"}' || exit 1\n$k pods --all-namespaces --field-selector \"spec.nodeName=$1,status.phase=Running\" -o 'jsonpath={range .items[*]}{.metadata.namespace}/{.metadata.name} {.status.conditions[?(@.type==\"Ready\")].status} {.metadata.annotations.kubernetes\\.io/config\\.mirror}{\"\\n\"}{end}'\n",
    ),
    (
        "namespace",
        "export PATH=$PATH:/usr/local/bin\nkubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout=10s get namespace \"$1\" --ignore-not-found -o name\n",
    ),
];

/// The probe of this name with these arguments.
///
/// # Panics
/// Never on input: `name` is one of the constants above, and a test asks for each.
#[must_use]
pub fn shell_probe(name: &str, arguments: &[&str]) -> Probe {
    let body = SHELL_PROBES.iter().find(|(n, _)| *n == name).map_or("exit 127\n", |(_, body)| body);
    let quoted: Vec<String> = arguments.iter().map(|a| shell_quote(a)).collect();
    let words = quoted.join(" ");
    Probe::Shell(format!("# probe:{name} {words}\nset -- {words}\n{body}").replace("set -- \n", ""))
}
