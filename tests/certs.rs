//! `provision certs check`: the hosts' answers against machines in memory, and the command itself.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;

use provision::facts::gather_certificates;
use provision::host::{Connector as _, FakeCluster, FakeConnector, Fault, Host};
use provision::inventory::{self, Inventory};
use provision::kubeadm::{Standing, certificates, standing};
use provision::resource::SHELL_PROBES;

const INVENTORY: &str = r#"
[cluster]
name = "lab"
version = "1.36.2"
[endpoint]
mode = "first-node"
[defaults]
user = "root"
[[hosts]]
name = "cp1"
role = "control-plane"
address = "192.168.10.11"
[[hosts]]
name = "w1"
role = "worker"
address = "192.168.10.21"
"#;
const CA: &[u8] = include_bytes!("../src/host/fake/ca.pem");

fn inventory() -> Inventory {
    inventory::parse(INVENTORY).unwrap().inventory
}

async fn connected(inv: &Inventory, cluster: &FakeCluster) -> BTreeMap<String, Arc<dyn Host>> {
    let mut hosts = BTreeMap::new();
    for node in inv.nodes() {
        hosts.insert(node.name.clone(), FakeConnector(cluster.clone()).connect(&node).await.unwrap());
    }
    hosts
}

#[tokio::test]
async fn one_round_trip_a_host_and_each_tells_for_itself() {
    let inv = inventory();
    let cluster = FakeCluster::new(&inv.nodes(), &inv.cluster.version);
    let hosts = connected(&inv, &cluster).await;
    for path in ["ca.crt", "apiserver.crt", "etcd/ca.crt"] {
        let path = format!("/etc/kubernetes/pki/{path}");
        cluster.world().machines.get_mut("cp1").unwrap().write(&path, CA, 0o644, 1);
    }
    let mut found = gather_certificates(&inv, &hosts, 4).await;
    assert!(hosts.values().all(|h| h.round_trips() == 1));
    let of_cp1 = found.remove("cp1").unwrap().unwrap();
    assert_eq!(
        of_cp1.iter().map(|c| c.path.rsplit('/').next().unwrap()).collect::<Vec<_>>(),
        ["apiserver.crt", "ca.crt", "ca.crt"]
    );
    assert!(of_cp1.iter().all(|c| c.ca && c.subject == "CN=kubernetes" && c.issuer == "CN=kubernetes"));
    assert_eq!(standing(&of_cp1[0], 1_800_000_000, 30), Standing::Ok);
    assert_eq!(standing(&of_cp1[0], 4_950_000_000, 30), Standing::Expired);
    // A worker with nothing on it must not look well.
    let none = found.remove("w1").unwrap().unwrap_err();
    assert!(none.to_string().starts_with("w1: there is no certificate") && !none.hints().is_empty(), "{none}");

    // A certificate that cannot be read is named; a lost host is one error, and the rest is told.
    cluster.world().machines.get_mut("w1").unwrap().write("/etc/kubernetes/pki/ca.crt", b"junk\n", 0o644, 2);
    cluster.world().host_faults.insert(("cp1".into(), 1), Fault::Refuse);
    let mut found = gather_certificates(&inv, &hosts, 4).await;
    let error = found.remove("w1").unwrap().unwrap_err().to_string();
    assert!(error.contains("w1: failed to read the certificate in /etc/kubernetes/pki/ca.crt"), "{error}");
    assert_eq!(found.remove("cp1").unwrap().unwrap_err().kind(), provision::error::Kind::Unreachable);
}

#[test]
fn the_command_says_what_it_could_not_look_at() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("inventory.toml");
    // Nothing listens there.
    let key = dir.path().join("key");
    std::fs::write(&key, "").unwrap();
    let text = INVENTORY.replace("user = \"root\"", &format!("user = \"root\"\nkey_file = \"{}\"", key.display()));
    let text = text.replace("192.168.10.11\"", "192.168.10.11\"\nssh_address = \"127.0.0.1\"\nport = 1");
    let text = text.replace("192.168.10.21\"", "192.168.10.21\"\nssh_address = \"127.0.0.1\"\nport = 2");
    std::fs::write(&path, text).unwrap();
    let run = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_provision"));
        command.args(["certs", "check", "-i", path.to_str().unwrap()]).args(args).output().unwrap()
    };
    let out = run(&["--format", "json"]);
    assert_eq!(out.status.code(), Some(4), "{}", String::from_utf8_lossy(&out.stderr));
    let report: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(
        (&report["well"], report["errors"].as_array().unwrap().len(), &report["days"]),
        (&serde_json::json!(false), 2, &serde_json::json!(30))
    );
    assert_eq!(run(&["--days", "x"]).status.code(), Some(64));
}

/// The snippet itself, on a tree like a node's: every certificate, and no byte of a key.
#[test]
fn no_key_leaves_the_node() {
    use base64::Engine as _;
    let ca = std::str::from_utf8(CA).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().to_string_lossy().into_owned();
    let key = "-----BEGIN RSA PRIVATE KEY-----\nVEhJU0lTU0VDUkVU\n-----END RSA PRIVATE KEY-----\n";
    let data = base64::engine::general_purpose::STANDARD.encode(ca);
    let conf = format!(
        "users:\n- name: a\n  user:\n    client-certificate-data: {data}\n    client-key-data: VEhJU0lTU0VDUkVU\n"
    );
    let files = [
        ("/etc/kubernetes/pki/ca.crt", ca.to_owned()),
        ("/etc/kubernetes/pki/ca.key", key.to_owned()),
        ("/etc/kubernetes/pki/etcd/ca.crt", format!("{ca}{ca}")),
        ("/var/lib/kubelet/pki/kubelet-client-current.pem", format!("{ca}{key}")),
        ("/var/lib/kubelet/pki/kubelet-client-2026-01-01.pem", format!("{ca}{key}")),
        ("/etc/kubernetes/admin.conf", conf),
        ("/etc/kubernetes/kubelet.conf", "users:\n- user:\n    client-certificate: /var/lib/x\n".to_owned()),
        ("/own/etcd.crt", ca.to_owned()),
    ];
    let put = |path: &str, text: &str| {
        let path = std::path::PathBuf::from(format!("{root}{path}"));
        std::fs::create_dir_all(path.parent().unwrap_or(dir.path())).and_then(|()| std::fs::write(path, text))
    };
    for (path, text) in &files {
        put(path, text).unwrap();
    }
    let (_, body) = SHELL_PROBES.iter().find(|(name, _)| *name == "certs").copied().unwrap_or_default();
    let body = ["/etc/kubernetes", "/var/lib/kubelet"]
        .iter()
        .fold(body.to_owned(), |body, path| body.replace(path, &format!("{root}{path}")));
    let out = std::process::Command::new("sh").args(["-c", &body, "sh", &format!("{root}/own/etcd.crt")]).output();
    let out = String::from_utf8(out.unwrap().stdout).unwrap_or_default();
    assert!(!out.contains("PRIVATE") && !out.contains("VEhJU0lT"), "{out}");
    let found = certificates(&out).unwrap();
    let paths: Vec<&str> = found.iter().filter_map(|c| c.path.strip_prefix(&root)).collect();
    assert_eq!(
        paths,
        [
            "/etc/kubernetes/pki/ca.crt",
            "/etc/kubernetes/pki/etcd/ca.crt",
            "/etc/kubernetes/pki/etcd/ca.crt",
            "/var/lib/kubelet/pki/kubelet-client-current.pem",
            "/own/etcd.crt",
            "/etc/kubernetes/admin.conf",
        ]
    );
    assert!(found.iter().all(|c| c.not_after > c.not_before && c.subject == found[0].subject));
}
