//! Which probes of a real cluster are recorded, and of which hosts. `@cp1` stands for that host's address.

/// Host, probe and arguments.
pub const RECORDED: [(&str, &str, &[&str]); 11] = [
    ("cp1", "cluster-settings", &["kubelet-config"]),
    ("cp1", "cluster-status", &[]),
    ("cp1", "control-plane", &["@cp1"]),
    ("cp1", "dns", &[]),
    ("cp1", "etcd", &[]),
    ("cp1", "node-state", &["cp1"]),
    ("cp1", "nodes", &[]),
    ("cp1", "static-pods", &["cp1"]),
    ("cp1", "upgrade", &[]),
    ("w1", "node-state", &["w1"]),
    ("w1", "upgrade", &[]),
];

/// The name of the file that keeps the answer.
pub fn file(host: &str, probe: &str) -> String {
    format!("{host}-{probe}.txt")
}
