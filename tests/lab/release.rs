//! Which versions of Kubernetes a lab gets, and what differs between them.

use std::path::{Path, PathBuf};

use provision::version::KubeVersion;

use super::harness::Lab;

/// Debian's source under its own version and, as the same program, under another.
const DEBIAN: [&str; 2] = ["1.20.2", "1.20.5"];

/// The versions that an upgrade goes from and to: the oldest and the newest of `PROVISION_LAB_DIST`, which a lab comes up with
/// and `--also` names; without that directory those of Debian's source.
pub fn upgrade() -> [String; 2] {
    let Some(dir) = std::env::var_os("PROVISION_LAB_DIST").map(PathBuf::from) else {
        return DEBIAN.map(str::to_owned);
    };
    let found = versions(&dir);
    let [oldest, .., newest] = found.as_slice() else {
        panic!("{} needs two directories like v1.35.6 and v1.36.3 for an upgrade, and has {found:?}", dir.display());
    };
    [oldest, newest].map(ToString::to_string)
}

/// The arguments of `lab up` for an upgrade.
pub fn upgrade_args() -> Vec<String> {
    let [_, to] = upgrade();
    let source = std::env::var_os("PROVISION_LAB_DIST").is_none().then_some(["--source", "debian"]);
    source.into_iter().flatten().chain(["--also", &to]).map(str::to_owned).collect()
}

/// The versions of a directory of directories, the oldest first.
fn versions(dir: &Path) -> Vec<KubeVersion> {
    let names = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap());
    let whole = names.filter(|e| e.path().join("kubeadm").exists()).map(|e| e.file_name());
    let mut all: Vec<KubeVersion> = whole.filter_map(|n| n.to_str()?.strip_prefix('v')?.parse().ok()).collect();
    all.sort();
    all
}

/// The minor release of a lab's cluster.
pub fn minor(lab: &Lab) -> u32 {
    let text = std::fs::read_to_string(lab.inventory()).unwrap();
    let table: toml::Table = text.parse().unwrap();
    table["cluster"]["version"].as_str().unwrap().parse::<KubeVersion>().unwrap().minor
}

/// From 1.29 on `kubeadm init` leaves a second administrator's kubeconfig, super-admin.conf, on the host where it ran.
pub fn has_super_admin(minor: u32) -> bool {
    minor >= 29
}

/// To 1.21 kubeadm keeps a list of the API servers, ClusterStatus, in its ConfigMap.
pub fn keeps_cluster_status(minor: u32) -> bool {
    minor < 22
}

/// The objects of a file for a cluster of this minor release: disruption budgets are `policy/v1` from 1.21 on, and 1.25 has no
/// other.
pub fn objects(text: &str, minor: u32) -> String {
    if minor < 21 { text.replace("apiVersion: policy/v1\n", "apiVersion: policy/v1beta1\n") } else { text.to_owned() }
}
