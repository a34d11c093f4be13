//! Three control planes in memory that are members of a cluster.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use provision::backup::PKI_FILES;
use provision::bundle::Digest;
use provision::error::Error;
use provision::exec::{Context, Event, Sink};
use provision::host::{Connector as _, FakeCluster, FakeConnector};
use provision::inventory;

pub const INVENTORY: &str = r#"
[cluster]
name = "lab"
version = "1.36.2"
[endpoint]
mode = "haproxy"
[verify]
timeout_s = 5
[defaults]
user = "root"
[[hosts]]
name = "cp1"
role = "control-plane"
address = "192.168.10.11"
[[hosts]]
name = "cp2"
role = "control-plane"
address = "192.168.10.12"
[[hosts]]
name = "cp3"
role = "control-plane"
address = "192.168.10.13"
"#;
const CA: &[u8] = include_bytes!("../../src/host/fake/ca.pem");
pub const KEY: &str = "-----BEGIN RSA PRIVATE KEY-----\nVEhJU0lTU0VDUkVU\n";

/// What lies at a path: a certificate, or what must never be shown.
pub fn content(path: &str) -> Vec<u8> {
    if path.ends_with(".crt") { CA.to_vec() } else { format!("{path} {KEY}").into_bytes() }
}

#[derive(Default)]
pub struct Recorded(Mutex<Vec<String>>);
impl Recorded {
    pub fn text(&self) -> String {
        self.0.lock().unwrap().join("\n")
    }
}
impl Sink for Recorded {
    fn event(&self, event: &Event) {
        self.0.lock().unwrap().push(serde_json::to_string(event).unwrap());
    }
}

/// Three control planes that are members, and what a context for them records.
pub async fn standing() -> (FakeCluster, Context, Arc<Recorded>) {
    let inv = inventory::parse(INVENTORY).unwrap().inventory;
    let cluster = FakeCluster::new(&inv.nodes(), &inv.cluster.version);
    let mut hosts: BTreeMap<_, _> = BTreeMap::new();
    for (id, node) in inv.nodes().iter().enumerate() {
        {
            let mut world = cluster.world();
            world.etcd.insert(node.name.clone(), id as u64);
            world.nodes.insert(node.name.clone(), Default::default());
            let m = world.machines.get_mut(&node.name).unwrap();
            for path in PKI_FILES {
                m.write(path, &content(path), 0o600, 1);
            }
            for path in [
                "/usr/local/bin/etcdctl",
                "/usr/local/bin/kubeadm",
                "/usr/local/bin/kubectl",
                "/etc/kubernetes/admin.conf",
            ] {
                m.write(path, b"", 0o755, 1);
            }
            for pod in ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"] {
                m.write(&format!("/etc/kubernetes/manifests/{pod}.yaml"), b"", 0o600, 1);
            }
            m.start("containerd.service", 1);
            m.start("kubelet.service", 1);
        }
        hosts.insert(node.name.clone(), FakeConnector(cluster.clone()).connect(node).await.unwrap());
    }
    let recorded = Arc::new(Recorded::default());
    let sink = Arc::clone(&recorded) as Arc<dyn Sink>;
    let blob = Box::new(|_: &Digest| Err(Error::failed("no blobs here")));
    (cluster, Context { hosts, blob, inventory: Arc::new(inv), sink }, recorded)
}
