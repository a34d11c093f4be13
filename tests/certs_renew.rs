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

/// What is done on each control plane, one after the other.
fn on_each(steps: &[&str]) -> Vec<String> {
    let lines = |host: &str| steps.iter().map(|step| format!("{host}: {step}")).collect::<Vec<_>>();
    ["cp1", "cp2", "cp3"].into_iter().flat_map(|host| lines(host).into_iter()).collect()
}

/// The log without the addresses in it.
fn steps(cluster: &FakeCluster) -> Vec<String> {
    let short = |line: String| {
        if line.contains("served-certificates") { line[..line.find(" 192").unwrap()].into() } else { line }
    };
    log(cluster).into_iter().map(short).collect()
}

#[tokio::test]
async fn nothing_is_restarted_that_reads_its_certificates_again() {
    let (cluster, ctx, recorded) = standing().await;
    etcd::renew(&ctx, &Cancel::new()).await.unwrap();
    let wanted = on_each(&[
        "kubeadm certs renew all",
        "static-pod-restart kube-controller-manager 20",
        "static-pod-restart kube-scheduler 20",
        "served-certificates",
    ]);
    assert_eq!(steps(&cluster), wanted);
    assert!(recorded.text().contains("kubeadm certs renew all") && !recorded.text().contains(KEY));
}

#[tokio::test]
async fn a_server_that_still_serves_what_it_had_is_restarted() {
    let (cluster, ctx, _) = standing().await;
    cluster.world().reads_once = ["etcd", "kube-apiserver"].map(str::to_owned).into();
    etcd::renew(&ctx, &Cancel::new()).await.unwrap();
    let wanted = on_each(&[
        "kubeadm certs renew all",
        "static-pod-restart kube-controller-manager 20",
        "static-pod-restart kube-scheduler 20",
        "served-certificates",
        "static-pod-anew etcd",
        "static-pod-anew kube-apiserver",
    ]);
    assert_eq!(steps(&cluster), wanted);
}

#[tokio::test]
async fn a_container_that_the_kubelet_holds_back_comes_with_another_pod() {
    let (cluster, ctx, _) = standing().await;
    cluster.world().held_back.insert("kube-scheduler".into());
    etcd::renew(&ctx, &Cancel::new()).await.unwrap();
    let anew: Vec<String> = steps(&cluster).into_iter().filter(|l| l.contains("anew")).collect();
    assert_eq!(anew, on_each(&["static-pod-anew kube-scheduler"]));
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
    for call in 0..9 {
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
