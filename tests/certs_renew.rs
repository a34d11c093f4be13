//! A rolling renewal of certificates on machines in memory, and what the command refuses.

#![expect(clippy::unwrap_used, reason = "a test")]

#[path = "backup/standing.rs"]
mod standing;

use std::process::{Command, Stdio};

use provision::error::Kind;
use provision::exec::{Cancel, etcd};
use provision::host::{FakeCluster, Fault};
use standing::{INVENTORY, KEY, standing};

fn log(cluster: &FakeCluster) -> Vec<String> {
    let world = cluster.world();
    assert!(world.violations.is_empty(), "{:?}", world.violations);
    world.log.iter().map(|line| line.trim().to_owned()).collect()
}

#[tokio::test]
async fn one_control_plane_after_the_other_etcd_first() {
    let (cluster, ctx, recorded) = standing().await;
    etcd::renew(&ctx, &Cancel::new()).await.unwrap();
    let mut expected = Vec::new();
    for host in ["cp1", "cp2", "cp3"] {
        expected.push(format!("{host}: kubeadm certs renew all"));
        for pod in ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"] {
            expected.push(format!("{host}: static-pod-anew {pod}"));
        }
    }
    assert_eq!(log(&cluster), expected);
    assert!(recorded.text().contains("kubeadm certs renew all") && !recorded.text().contains(KEY));
}

#[tokio::test]
async fn nothing_begins_while_something_is_ill() {
    for path in ["etcd", "kube-apiserver", "kube-scheduler"] {
        let (cluster, ctx, _) = standing().await;
        let path = format!("/etc/kubernetes/manifests/{path}.yaml");
        cluster.world().machines.get_mut("cp3").unwrap().remove_below(&path);
        let error = etcd::renew(&ctx, &Cancel::new()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Refused, "{path}: {error}");
        assert!(log(&cluster).is_empty(), "{path}");
    }
}

/// Whatever breaks on one control plane, the next one is left alone.
#[tokio::test]
async fn the_first_failure_ends_it() {
    for call in 0..11 {
        let (cluster, ctx, _) = standing().await;
        // The machine goes down in the middle of the call and stays down: its containerd does not start by itself.
        cluster.world().host_faults.insert(("cp1".into(), call), Fault::Reboot);
        assert!(etcd::renew(&ctx, &Cancel::new()).await.is_err(), "call {call}");
        let made = cluster.world().host_faults.is_empty();
        assert!(made, "there is no call {call}");
        let done = log(&cluster);
        assert!(done.iter().all(|line| line.starts_with("cp1: ")), "call {call}: {done:?}");
    }
    let (cluster, ctx, _) = standing().await;
    let cancel = Cancel::new();
    cancel.request();
    assert_eq!(etcd::renew(&ctx, &cancel).await.unwrap_err().kind(), Kind::Interrupted);
    assert!(log(&cluster).is_empty());
}

#[test]
fn it_asks_first() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("inventory.toml");
    std::fs::write(&path, INVENTORY.replace("user = \"root\"", "")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_provision"));
    let out = command.args(["certs", "renew", "-i", path.to_str().unwrap()]).stdin(Stdio::null()).output().unwrap();
    assert_eq!(out.status.code(), Some(5));
    assert!(String::from_utf8_lossy(&out.stderr).contains("--yes"));
}
