//! An upgrade on machines in memory.

use provision::bundle::{BundleManifest, Digest};
use provision::error::Kind;
use provision::host::{FakeCluster, Fault};
use provision::inventory::{Inventory, Unfinished};

use super::world::{
    INVENTORY, apply_once, assert_sound, bundle, converge, every_call_faulted, need, plan_ids, read, snapshot,
    undisturbed,
};

const MORE: &str = r#"
[[hosts]]
name = "w3"
role = "worker"
address = "192.168.10.23"
[[hosts]]
name = "w4"
role = "worker"
address = "192.168.10.24"
[upgrade]
canary = 1
max_unavailable = 2
soak_s = 0
gate_timeout_s = 1
[upgrade.drain]
timeout_s = 1
[[upgrade.gates]]
name = "site"
command = "true"
"#;

fn at(version: &str) -> Inventory {
    read(&(INVENTORY.replace("1.36.2", version) + MORE))
}

/// A cluster of 1.36.2 with pods on its workers, and inventory and bundle of 1.36.3.
async fn before() -> (FakeCluster, Inventory, BundleManifest) {
    let old = at("1.36.2");
    let fake = undisturbed(&old, &bundle(&old)).await;
    let inv = at("1.36.3");
    let new = bundle(&inv);
    need(&fake, &inv, &new);
    {
        let mut world = fake.world();
        for name in ["kubeadm", "kubelet", "kubectl"] {
            let digest = Digest::of(format!("{name} 1.36.3").as_bytes());
            world.versions.insert(digest.hex().to_owned(), "1.36.3".into());
        }
        for (pod, node) in [("web-1", "w1"), ("web-2", "w2"), ("web-3", "w3"), ("web-4", "w4"), ("web-5", "w4")] {
            world.pods.insert(pod.into(), node.into());
        }
        world.most_away = 2;
        world.calls = 0;
        world.log.clear();
    }
    (fake, inv, new)
}

fn assert_upgraded(fake: &FakeCluster, what: &str) {
    assert_sound(fake, what);
    let world = fake.world();
    for name in world.machines.keys() {
        assert_eq!(world.kubelet_version(name), "v1.36.3", "{what}: {name}");
    }
    for name in world.etcd.keys() {
        assert_eq!(world.component_version(name, "kube-apiserver"), "v1.36.3", "{what}: {name}");
    }
    assert_eq!(world.configured, "v1.36.3", "{what}");
    // The etcd of the new bundle, not the one that the cluster was made with.
    assert!(world.cluster_configuration.contains("imageTag: 3.6.8-0"), "{what}: {}", world.cluster_configuration);
    for (name, node) in &world.nodes {
        assert!(!node.unschedulable && node.marks.is_empty(), "{what}: {name} {node:?}");
    }
    assert_eq!(world.pods.len(), 5, "{what}");
}

#[tokio::test]
async fn a_cluster_is_upgraded_and_then_there_is_nothing_to_do() {
    let (fake, inv, bundle) = before().await;
    apply_once(&fake, &inv, &bundle).await.unwrap_or_else(|e| panic!("{}", e.report()));
    assert_upgraded(&fake, "undisturbed");
    assert_eq!(plan_ids(&fake, &inv, &bundle).await.unwrap(), Vec::<String>::new());
    let upgrades: Vec<String> =
        fake.world().log.iter().filter(|l| l.contains("kubeadm-upgrade")).map(|l| l.trim_end().to_owned()).collect();
    assert_eq!(
        upgrades[..3],
        [
            "cp1: kubeadm-upgrade apply v1.36.3",
            "cp2: kubeadm-upgrade node v1.36.3",
            "cp3: kubeadm-upgrade node v1.36.3"
        ]
    );
    assert_eq!(upgrades[3], "w1: kubeadm-upgrade node v1.36.3", "the canary is the first worker");
    assert_eq!(upgrades.len(), 7);
}

async fn every_call_killed(fault: Fault) {
    let (start, inv, bundle) = before().await;
    every_call_faulted(&start, &inv, &bundle, fault, assert_upgraded).await;
}

#[tokio::test]
async fn killed_before_any_call_of_an_upgrade_a_second_run_converges() {
    every_call_killed(Fault::Kill).await;
}

#[tokio::test]
async fn killed_after_any_call_of_an_upgrade_a_second_run_converges() {
    every_call_killed(Fault::KillAfterEffect).await;
}

#[tokio::test]
async fn a_canary_whose_gate_stays_closed_goes_back_and_nobody_follows() {
    let (fake, inv, bundle) = before().await;
    fake.world().gate_closed = true;
    let error = apply_once(&fake, &inv, &bundle).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Failed);
    assert!(
        error.report().contains("gate site") && error.report().contains("w1 was put back to v1.36.2"),
        "{}",
        error.report()
    );
    {
        let world = fake.world();
        for (name, version) in [("cp1", "v1.36.3"), ("w1", "v1.36.2"), ("w2", "v1.36.2"), ("w4", "v1.36.2")] {
            assert_eq!(world.kubelet_version(name), version, "{name}");
        }
        assert!(world.nodes.values().all(|n| !n.unschedulable && n.marks.is_empty()));
    }
    assert_sound(&fake, "closed gate");
    fake.world().gate_closed = false;
    converge(&fake, &inv, &bundle, 1).await.unwrap();
    assert_upgraded(&fake, "opened gate");
}

#[tokio::test]
async fn a_worker_whose_kubelet_does_not_come_up_goes_back() {
    let (fake, inv, bundle) = before().await;
    let kubelet = Digest::of(b"kubelet 1.36.3").hex().to_owned();
    // On the control planes it works.
    fake.world().broken_kubelets.insert(format!("{kubelet}@w1"));
    let error = apply_once(&fake, &inv, &bundle).await.unwrap_err();
    assert!(error.report().contains("w1 was put back to v1.36.2"), "{}", error.report());
    assert_eq!(fake.world().kubelet_version("w1"), "v1.36.2");
    assert!(fake.world().ready("w1"));
    assert_sound(&fake, "broken kubelet");
    fake.world().broken_kubelets.clear();
    converge(&fake, &inv, &bundle, 1).await.unwrap();
    assert_upgraded(&fake, "mended kubelet");
}

#[tokio::test]
async fn pods_that_do_not_move_pause_the_upgrade() {
    let (fake, inv, bundle) = before().await;
    fake.world().stuck.insert("web-2".into());
    let error = apply_once(&fake, &inv, &bundle).await.unwrap_err();
    let said = error.report();
    assert!(said.contains("w2 is not empty") && said.contains("default/web-2"), "{said}");
    assert!(fake.world().nodes["w2"].unschedulable && fake.world().kubelet_version("w2") == "v1.36.2");
    fake.world().stuck.clear();
    converge(&fake, &inv, &bundle, 1).await.unwrap();
    assert_upgraded(&fake, "after the pause");
}

#[tokio::test]
async fn a_node_that_others_cordoned_stays_cordoned() {
    let (fake, inv, bundle) = before().await;
    fake.world().nodes.get_mut("w3").unwrap().unschedulable = true;
    converge(&fake, &inv, &bundle, 1).await.unwrap();
    let mut world = fake.world();
    let node = world.nodes.get_mut("w3").unwrap();
    assert!(node.unschedulable && node.marks.is_empty());
    assert_eq!(world.kubelet_version("w3"), "v1.36.3");
}

#[tokio::test]
async fn an_unhealthy_cluster_is_refused_before_anything_moves() {
    let (fake, inv, bundle) = before().await;
    fake.world().machines.get_mut("w4").unwrap().units.get_mut("kubelet.service").unwrap().active = false;
    let before = snapshot(&fake);
    let error = apply_once(&fake, &inv, &bundle).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.to_string().contains("w4"), "{error}");
    assert_eq!(snapshot(&fake), before);
}

#[tokio::test]
async fn a_node_that_does_not_empty_is_left_out_when_that_is_the_policy() {
    let (fake, mut inv, bundle) = before().await;
    inv.upgrade.drain.unfinished = Unfinished::Skip;
    fake.world().stuck.insert("web-2".into());
    let error = apply_once(&fake, &inv, &bundle).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Failed);
    assert!(error.report().contains("w2 is not empty"), "{}", error.report());
    {
        let world = fake.world();
        for (name, version) in [("w1", "v1.36.3"), ("w2", "v1.36.2"), ("w3", "v1.36.3"), ("w4", "v1.36.3")] {
            assert_eq!(world.kubelet_version(name), version, "{name}");
        }
        assert!(world.nodes.values().all(|n| !n.unschedulable && n.marks.is_empty()), "{:?}", world.nodes);
    }
    assert_sound(&fake, "left out");
    fake.world().stuck.clear();
    converge(&fake, &inv, &bundle, 1).await.unwrap();
    assert_upgraded(&fake, "after it was left out");
}

#[tokio::test]
async fn a_budget_that_can_never_be_met_is_refused_and_named() {
    let (fake, mut inv, bundle) = before().await;
    let pods =
        r#"{"items":[{"metadata":{"namespace":"shop","name":"db-0","labels":{"app":"db"}},"spec":{"nodeName":"w2"}}]}"#;
    let budget = r#"{"items":[{"apiVersion":"policy/v1","metadata":{"namespace":"shop","name":"db"},
        "spec":{"minAvailable":1,"selector":{"matchLabels":{"app":"db"}}},
        "status":{"expectedPods":1,"currentHealthy":1,"disruptionsAllowed":0}}]}"#;
    fake.world().budgets = budget.replace('\n', "");
    fake.world().pods_json = pods.to_owned();
    let before = snapshot(&fake);
    let error = apply_once(&fake, &inv, &bundle).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.to_string().contains("shop/db"), "{error}");
    assert_eq!(snapshot(&fake), before);
    inv.upgrade.drain.unfinished = Unfinished::Force;
    converge(&fake, &inv, &bundle, 1).await.unwrap();
    assert_upgraded(&fake, "forced");
}

#[tokio::test]
async fn the_way_back_is_refused() {
    let (fake, ..) = before().await;
    for version in ["1.36.1", "1.35.9"] {
        let inv = at(version);
        let error = apply_once(&fake, &inv, &bundle(&inv)).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Refused, "{version}");
        assert!(error.to_string().contains(&format!("v{version}")), "{error}");
    }
}
