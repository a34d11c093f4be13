//! Golden files of all that is written to nodes: kubeadm's configuration in its three API versions and every template.

#![expect(clippy::unwrap_used, reason = "a test")]

use provision::inventory::{Inventory, Node, parse};
use provision::kubeadm::{
    ClusterImages, Discovery, init_documents, join_document, upload_certs_document, with_discovery,
};
use provision::resource::template::{self, Mirror};

/// As a node without IPv6 and bridges gets them.
const SYSCTLS: [(&str, &str); 3] = [
    ("net.ipv4.ip_forward", "1"),
    ("fs.inotify.max_user_instances", "8192"),
    ("fs.inotify.max_user_watches", "524288"),
];

fn inventory(file: &str, edit: impl Fn(&str) -> String) -> Inventory {
    let path = format!("{}/inventories/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = edit(&std::fs::read_to_string(path).unwrap());
    parse(&text).unwrap().inventory
}

fn sample(file: &str, version: &str) -> Inventory {
    let mut inv = inventory(file, str::to_owned);
    inv.cluster.version = version.into();
    inv
}

fn first(inv: &Inventory) -> Node {
    inv.control_planes().remove(0)
}

fn images() -> ClusterImages {
    ClusterImages {
        repository: "registry.k8s.io".into(),
        etcd_tag: Some("3.6.8-0".into()),
        coredns_tag: Some("v1.14.2".into()),
        pause: "registry.k8s.io/pause:3.10.2".into(),
    }
}

#[test]
fn kubeadm_init_in_each_api_version() {
    for (version, api) in [("1.20.2", "v1beta2"), ("1.26.3", "v1beta3"), ("1.36.2", "v1beta4")] {
        let inv = sample("ha-haproxy.toml", version);
        let text = init_documents(&inv, &first(&inv), &images()).unwrap();
        assert!(text.contains(&format!("kubeadm.k8s.io/{api}")));
        insta::assert_snapshot!(format!("init-{api}"), text);
        let worker = inv.workers().remove(0);
        insta::assert_snapshot!(format!("join-worker-{api}"), join_document(&inv, &worker, false).unwrap());
        insta::assert_snapshot!(format!("join-control-plane-{api}"), join_document(&inv, &first(&inv), true).unwrap());
    }
}

#[test]
fn kubeadm_init_of_the_other_samples() {
    for file in [
        "dual-stack.toml",
        "external-ca.toml",
        "external-lb-external-etcd.toml",
        "ha-kube-vip.toml",
        "own-etcd.toml",
        "single-node.toml",
    ] {
        let inv = sample(file, "1.36.2");
        let text = init_documents(&inv, &first(&inv), &images()).unwrap();
        insta::assert_snapshot!(format!("init-{}", file.trim_end_matches(".toml")), text);
    }
}

#[test]
fn the_secret_half_of_a_join_is_added_last() {
    let inv = sample("ha-haproxy.toml", "1.36.2");
    let (token, key) = ("abcdef.0123456789abcdef".into(), "ab".repeat(32).into());
    let planned = join_document(&inv, &first(&inv), true).unwrap();
    let discovery =
        Discovery { api_endpoint: "10.0.0.11:6443", token: &token, ca_hash: "sha256:00", certificate_key: Some(&key) };
    assert!(!format!("{discovery:?}").contains("0123456789abcdef"), "a token in Debug output");
    let whole = with_discovery(&planned, &discovery).unwrap();
    assert!(whole.contains("abcdef.0123456789abcdef") && whole.contains(&"ab".repeat(32)));
    assert!(!planned.contains("abcdef."));
    assert!(with_discovery("- not a mapping", &discovery).is_err());
    assert!(upload_certs_document(&inv, &first(&inv)).unwrap().contains("kind: ClusterConfiguration"));
}

#[test]
fn containerd_of_both_major_versions() {
    let mut inv = sample("ha-haproxy.toml", "1.36.2");
    insta::assert_snapshot!("containerd-1", template::containerd_config(&inv, "1.7.28", &images().pause).unwrap());
    insta::assert_snapshot!("containerd-2", template::containerd_config(&inv, "2.2.1", &images().pause).unwrap());
    inv.runtime.containerd_config = serde_json::from_str(
        r#"{"oom_score": -500, "plugins": {"io.containerd.cri.v1.runtime": {"enable_selinux": true}}}"#,
    )
    .unwrap();
    let merged = template::containerd_config(&inv, "2.2.1", &images().pause).unwrap();
    insta::assert_snapshot!("containerd-2-merged", merged);
    let mirrors = ["https://a.example", "https://b.example"].map(Mirror::plain);
    insta::assert_snapshot!("hosts-toml", template::hosts_toml("docker.io", &mirrors, true).unwrap());
    let ours = ["https://10.0.0.1:5443", "https://10.0.0.2:5443/v2/k8s/docker.io"].map(|url| Mirror {
        ca: Some("/etc/provision/registry-ca.crt".into()),
        whole_path: url.contains("/v2/"),
        ..Mirror::plain(url)
    });
    insta::assert_snapshot!("hosts-toml-no-upstream", template::hosts_toml("docker.io", &ours, false).unwrap());
}

#[test]
fn units_and_small_files() {
    insta::assert_snapshot!("containerd-service", template::containerd_unit().unwrap());
    insta::assert_snapshot!("kubelet-service", template::kubelet_unit().unwrap());
    let listen = "192.168.10.21:5443".parse().unwrap();
    insta::assert_snapshot!("registry-service", template::registry_unit(listen).unwrap());
    let mut own = sample("own-etcd.toml", "1.36.2");
    own.etcd.extra_args.insert("heartbeat-interval".into(), "200".into());
    own.etcd.extra_args.insert("log-format".into(), "a b%$\"c".into());
    insta::assert_snapshot!("etcd-service", template::etcd_unit(&own, &own.etcd_nodes()[1]).unwrap());
    let members = [("a", "https://192.0.2.1:2380"), ("b", "https://[2001:db8::1]:2380")];
    let members = members.map(|(name, url)| (name.to_owned(), url.to_owned()));
    insta::assert_snapshot!("etcd-initial", template::etcd_initial("lab", &members, "existing"));
    insta::assert_snapshot!("etcd-snapshot-service", template::snapshot_service("cp-1").unwrap());
    insta::assert_snapshot!("etcd-snapshot-timer", template::snapshot_timer("*-*-* 02:30").unwrap());
    insta::assert_snapshot!("kubelet-dropin", template::kubelet_dropin().unwrap());
    insta::assert_snapshot!("sysctl", template::sysctl_conf(&SYSCTLS).unwrap());
    insta::assert_snapshot!("modules", template::modules_conf(&["br_netfilter", "overlay"]).unwrap());
    let routes = [
        ("10.244.1.0/24".parse().unwrap(), "10.0.0.12".parse().unwrap()),
        ("fd00:1::/64".parse().unwrap(), "fd00::2".parse().unwrap()),
    ];
    insta::assert_snapshot!("pod-routes", template::routes_unit(&routes).unwrap());
    let inv = sample("dual-stack.toml", "1.36.2");
    let shares = ["10.244.3.0/24".parse().unwrap(), "fd00:244:0:3::/64".parse().unwrap()];
    insta::assert_snapshot!("conflist-dual-stack", template::cni_conflist(&inv, &shares).unwrap());
}

#[test]
fn balancers_and_virtual_addresses() {
    let inv = sample("ha-haproxy.toml", "1.36.2");
    let worker = inv.workers().remove(0);
    let planes = inv.control_planes();
    let cfg = template::haproxy_cfg(&inv, &planes, &worker).unwrap();
    insta::assert_snapshot!("haproxy-control-plane", template::haproxy_cfg(&inv, &planes, &planes[0]).unwrap());
    insta::assert_snapshot!("haproxy-worker", cfg);
    insta::assert_snapshot!("haproxy-pod", template::haproxy_pod(&inv, &cfg, "docker.io/library/haproxy:3.2").unwrap());
    let inv = sample("ha-keepalived.toml", "1.36.2");
    let second = inv.control_planes().remove(1);
    insta::assert_snapshot!("keepalived-first", template::keepalived_conf(&inv, &first(&inv)).unwrap());
    insta::assert_snapshot!("keepalived-second", template::keepalived_conf(&inv, &second).unwrap());
    insta::assert_snapshot!(
        "keepalived-pod",
        template::keepalived_pod(&inv, &second, "example.org/keepalived:2").unwrap()
    );
    let inv = sample("ha-kube-vip.toml", "1.36.2");
    let image = "ghcr.io/kube-vip/kube-vip:v1.0.3";
    // From 1.29 the first control plane needs more rights while it inits, and only then.
    let init = template::kube_vip_pod(&inv, &first(&inv), image, true).unwrap();
    assert!(init.contains("/etc/kubernetes/super-admin.conf"));
    insta::assert_snapshot!("kube-vip", template::kube_vip_pod(&inv, &first(&inv), image, false).unwrap());
    let old = sample("ha-kube-vip.toml", "1.28.1");
    assert!(!template::kube_vip_pod(&old, &first(&old), image, true).unwrap().contains("super-admin"));
}
