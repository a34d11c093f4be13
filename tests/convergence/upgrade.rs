//! An upgrade on machines in memory.

use std::collections::BTreeMap;

use provision::bundle::{ArtifactKind, BundleManifest, Digest};
use provision::error::Kind;
use provision::host::{FakeCluster, Fault};
use provision::inventory::{Inventory, LostPods, Unfinished};
use provision::plan::Action;

use super::world::{
    self, INVENTORY, apply_once, assert_sound, bundle, connect, converge, copy, every_call_faulted, execute, need,
    plan, plan_ids, read, snapshot, undisturbed,
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

/// The inventory with two workers, one at a time.
const FEWER: &str = r#"
[upgrade]
canary = 1
max_unavailable = 1
soak_s = 0
gate_timeout_s = 1
[upgrade.drain]
timeout_s = 1
"#;

fn at(version: &str) -> Inventory {
    read(&(INVENTORY.replace("1.36.2", version) + MORE))
}

fn with_two_workers(version: &str) -> Inventory {
    read(&(INVENTORY.replace("1.36.2", version) + FEWER))
}

/// The bundle with other images of etcd and CoreDNS than the one of today.
fn older(inv: &Inventory) -> BundleManifest {
    let mut older = bundle(inv);
    for artifact in older.artifacts.iter_mut().filter(|a| a.kind == ArtifactKind::Image) {
        for (new, old) in [("etcd:3.6.8-0", "etcd:3.6.6-0"), ("coredns:v1.12.0", "coredns:v1.11.3")] {
            if artifact.name.ends_with(new) {
                let name = artifact.name.replace(new, old);
                *artifact = world::artifact(ArtifactKind::Image, &name, "old", &[]);
            }
        }
    }
    older
}

/// A cluster of `old` with pods on its workers, and the bundle of `inv`, to which it is to be upgraded.
async fn to_be_upgraded(old: &Inventory, inv: &Inventory, pods: &[(&str, &str)]) -> (FakeCluster, BundleManifest) {
    let fake = undisturbed(old, &older(old)).await;
    let new = bundle(inv);
    need(&fake, inv, &new);
    {
        let mut world = fake.world();
        let version = &inv.cluster.version;
        for name in ["kubeadm", "kubelet", "kubectl"] {
            let digest = Digest::of(format!("{name} {version}").as_bytes());
            world.versions.insert(digest.hex().to_owned(), version.clone());
        }
        world.pods.extend(pods.iter().map(|(pod, node)| ((*pod).to_owned(), (*node).to_owned())));
        world.calls = 0;
        world.log.clear();
    }
    (fake, new)
}

/// A cluster of 1.36.2 with pods on its workers, and inventory and bundle of 1.36.3.
async fn before() -> (FakeCluster, Inventory, BundleManifest) {
    let inv = at("1.36.3");
    let pods = [("web-1", "w1"), ("web-2", "w2"), ("web-3", "w3"), ("web-4", "w4"), ("web-5", "w4")];
    let (fake, new) = to_be_upgraded(&at("1.36.2"), &inv, &pods).await;
    fake.world().most_away = 2;
    (fake, inv, new)
}

/// Three control planes and two workers, a minor version before `to`.
async fn minor(from: &str, to: &str) -> (FakeCluster, Inventory, BundleManifest) {
    let inv = with_two_workers(to);
    let (fake, new) = to_be_upgraded(&with_two_workers(from), &inv, &[("web-1", "w1"), ("web-2", "w2")]).await;
    (fake, inv, new)
}

fn assert_upgraded(fake: &FakeCluster, what: &str) {
    assert_at(fake, "v1.36.3", what);
    assert_eq!(fake.world().pods.len(), 5, "{what}");
}

fn assert_at(fake: &FakeCluster, version: &str, what: &str) {
    assert_sound(fake, what);
    let world = fake.world();
    for name in world.machines.keys() {
        assert_eq!(world.kubelet_version(name), version, "{what}: {name}");
    }
    for name in world.etcd.keys() {
        assert_eq!(world.component_version(name, "kube-apiserver"), version, "{what}: {name}");
        assert_eq!(world.component_version(name, "etcd"), "3.6.8-0", "{what}: {name}");
    }
    assert_eq!(world.configured, version, "{what}");
    let addons = [("coredns", "v1.12.0"), ("kube-proxy", version)].map(|(a, t)| (a.to_owned(), t.to_owned()));
    assert_eq!(world.addons, BTreeMap::from(addons), "{what}");
    for (name, node) in &world.nodes {
        assert!(!node.unschedulable && node.marks.is_empty(), "{what}: {name} {node:?}");
    }
}

/// The kubeadm commands of an upgrade, and when the addons changed.
fn upgrades(fake: &FakeCluster) -> Vec<String> {
    fake.world().log.iter().filter(|l| l.contains("kubeadm-upgrade")).map(|l| l.trim_end().to_owned()).collect()
}

#[tokio::test]
async fn addons_follow_the_last_control_plane_since_1_28_and_the_first_one_before() {
    for (from, to) in [("1.26.5", "1.27.4"), ("1.27.4", "1.28.2"), ("1.35.6", "1.36.3")] {
        let (fake, inv, bundle) = minor(from, to).await;
        apply_once(&fake, &inv, &bundle).await.unwrap_or_else(|e| panic!("{to}: {}", e.report()));
        assert_at(&fake, &format!("v{to}"), to);
        assert_eq!(plan_ids(&fake, &inv, &bundle).await.unwrap(), Vec::<String>::new(), "{to}");
        assert_eq!(upgrades(&fake).len(), 5, "{to}");
        // kubeadm did it: no step of its own was needed.
        assert!(!fake.world().log.iter().any(|l| l.contains("upgrade-addons")), "{to}");
    }
}

#[tokio::test]
async fn addons_that_are_still_old_are_a_step_of_their_own() {
    let (fake, inv, bundle) = minor("1.35.6", "1.36.3").await;
    converge(&fake, &inv, &bundle, 1).await.unwrap();
    for (addon, old) in [("kube-proxy", "v1.35.6"), ("coredns", "v1.11.3")] {
        fake.world().addons.insert(addon.into(), old.into());
        let step = vec!["upgrade-control-plane/cp1/addons".to_owned()];
        assert_eq!(plan_ids(&fake, &inv, &bundle).await.unwrap(), step, "{addon}");
        converge(&fake, &inv, &bundle, 1).await.unwrap();
        assert_at(&fake, "v1.36.3", addon);
    }
    // A cluster may do without one.
    fake.world().addons.remove("kube-proxy");
    assert_eq!(plan_ids(&fake, &inv, &bundle).await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn power_lost_in_any_upgrade_of_a_control_plane_leaves_no_old_addon() {
    for plane in ["cp1", "cp2", "cp3"] {
        let (fake, inv, bundle) = minor("1.35.6", "1.36.3").await;
        let reference = copy(&fake);
        apply_once(&reference, &inv, &bundle).await.unwrap();
        // The call of the host that is its upgrade is found by trying all.
        let calls = reference.world().host_calls[plane];
        let before = fake.world().host_calls[plane];
        let mut broken = 0;
        for call in before..calls {
            let fake = copy(&fake);
            fake.world().host_faults.insert((plane.into(), call), Fault::Reboot);
            let _ = apply_once(&fake, &inv, &bundle).await;
            let what = format!("{plane} at call {call}");
            converge(&fake, &inv, &bundle, 2).await.unwrap_or_else(|e| panic!("{what}: {e}"));
            broken += usize::from(upgrades(&fake).len() > 5);
            assert_at(&fake, "v1.36.3", &what);
        }
        assert!(broken > 0, "{plane}: no fault met its upgrade");
    }
}

#[tokio::test]
async fn killed_before_any_call_of_a_minor_upgrade_a_second_run_converges() {
    for (from, to) in [("1.35.6", "1.36.3"), ("1.26.5", "1.27.4")] {
        let (start, inv, bundle) = minor(from, to).await;
        let check = |fake: &FakeCluster, what: &str| assert_at(fake, &format!("v{to}"), what);
        every_call_faulted(&start, &inv, &bundle, Fault::Kill, check).await;
    }
}

#[tokio::test]
async fn killed_after_any_call_of_a_minor_upgrade_a_second_run_converges() {
    for (from, to) in [("1.35.6", "1.36.3"), ("1.26.5", "1.27.4")] {
        let (start, inv, bundle) = minor(from, to).await;
        let check = |fake: &FakeCluster, what: &str| assert_at(fake, &format!("v{to}"), what);
        every_call_faulted(&start, &inv, &bundle, Fault::KillAfterEffect, check).await;
    }
}

#[tokio::test]
async fn no_control_plane_is_begun_while_a_new_kubelet_restarts_static_pods() {
    let (fake, inv, bundle) = minor("1.35.6", "1.36.3").await;
    let hosts = connect(&fake, &inv).await.unwrap();
    let steps = plan(&inv, &bundle, &hosts).await.unwrap();
    assert_eq!(steps.iter().filter(|s| matches!(s.action, Action::WaitStaticPods { .. })).count(), 3);
    // Without the wait for it, the look at the members may still find one that is down; without both, two are down at once.
    let (looks, mut others): (Vec<_>, Vec<_>) = steps
        .iter()
        .cloned()
        .partition(|s| matches!(s.action, Action::WaitStaticPods { .. }) || s.id.ends_with("/etcd-again"));
    for step in &mut others {
        while let Some(at) = step.needs.iter().position(|id| looks.iter().any(|l| l.id == *id)) {
            let left_out = step.needs.swap_remove(at);
            step.needs.extend(looks.iter().filter(|l| l.id == left_out).flat_map(|l| l.needs.clone()));
        }
    }
    let careless = copy(&fake);
    let hosts = connect(&careless, &inv).await.unwrap();
    let _ = execute(&inv, hosts, others).await;
    let violations = careless.world().violations.join("; ");
    assert!(violations.contains("etcd lost its quorum while kubelets restarted static pods"), "{violations}");
    let hosts = connect(&fake, &inv).await.unwrap();
    execute(&inv, hosts, steps).await.unwrap();
    assert_at(&fake, "v1.36.3", "with the wait");
}

#[tokio::test]
async fn a_cluster_is_upgraded_and_then_there_is_nothing_to_do() {
    let (fake, inv, bundle) = before().await;
    apply_once(&fake, &inv, &bundle).await.unwrap_or_else(|e| panic!("{}", e.report()));
    assert_upgraded(&fake, "undisturbed");
    assert_eq!(plan_ids(&fake, &inv, &bundle).await.unwrap(), Vec::<String>::new());
    let upgrades = upgrades(&fake);
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
    {
        // Nothing that runs was changed there: until the pod can move it serves as before.
        let world = fake.world();
        let w2 = &world.nodes["w2"];
        assert!(!w2.unschedulable && w2.marks.is_empty() && world.kubelet_version("w2") == "v1.36.2", "{w2:?}");
    }
    assert!(said.contains("w2 is schedulable again"), "{said}");
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

#[tokio::test]
async fn pods_that_a_drain_would_lose_are_refused_and_named_before_anything_moves() {
    let (start, mut inv, bundle) = before().await;
    start.world().bare.extend(["web-2".to_owned(), "web-4".to_owned()]);
    start.world().local_data.insert("web-5".into());
    let before = snapshot(&start);
    let fake = copy(&start);
    let error = apply_once(&fake, &inv, &bundle).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    let said = error.report();
    for line in ["w2: pods without a controller: default/web-2", "w4: pods without a controller: default/web-4"] {
        assert!(said.contains(line), "{said}");
    }
    assert!(said.contains("upgrade.drain.bare_pods = \"delete\"") && !said.contains("web-5"), "{said}");
    assert_eq!(snapshot(&fake), before);
    assert!(!fake.world().log.iter().any(|l| l.contains("cordon") || l.contains("drain")));

    // With data on a node refused as well, both are named, and neither when both may go.
    inv.upgrade.drain.local_data = LostPods::Refuse;
    let said = apply_once(&fake, &inv, &bundle).await.unwrap_err().report();
    assert!(said.contains("w4: pods with an emptyDir volume: default/web-5") && said.contains("web-2"), "{said}");
    inv.upgrade.drain.bare_pods = LostPods::Delete;
    inv.upgrade.drain.local_data = LostPods::Delete;
    let hosts = connect(&fake, &inv).await.unwrap();
    let steps = plan(&inv, &bundle, &hosts).await.unwrap();
    let reason = |id: &str| steps.iter().find(|s| s.id == id).unwrap().reason.clone();
    assert!(reason("upgrade-worker/w2/drain").ends_with("; deletes pods without a controller: default/web-2"));
    assert!(reason("upgrade-worker/w4/drain").contains("deletes pods with an emptyDir volume: default/web-5"));
    converge(&fake, &inv, &bundle, 1).await.unwrap();
    assert_at(&fake, "v1.36.3", "deleted");
    assert_eq!(fake.world().pods.keys().collect::<Vec<_>>(), ["web-1", "web-3", "web-5"]);
}

#[tokio::test]
async fn a_node_with_pods_that_would_be_lost_is_left_out_when_that_is_the_policy() {
    let (fake, mut inv, bundle) = before().await;
    inv.upgrade.drain.unfinished = Unfinished::Skip;
    fake.world().bare.insert("web-2".into());
    let hosts = connect(&fake, &inv).await.unwrap();
    let steps = plan(&inv, &bundle, &hosts).await.unwrap();
    let drain = steps.iter().find(|s| s.id == "upgrade-worker/w2/drain").unwrap();
    assert!(drain.reason.ends_with("; leaves the node out for pods without a controller: default/web-2"));
    let _ = apply_once(&fake, &inv, &bundle).await.unwrap_err();
    {
        let world = fake.world();
        for (name, version) in [("w1", "v1.36.3"), ("w2", "v1.36.2"), ("w4", "v1.36.3")] {
            assert_eq!(world.kubelet_version(name), version, "{name}");
        }
        assert!(!world.nodes["w2"].unschedulable && world.pods["web-2"] == "w2");
    }
    assert_sound(&fake, "left out");
}

#[tokio::test]
async fn an_upgrade_that_brings_another_etcd_plans_no_change_of_settings() {
    let (fake, inv, bundle) = minor("1.35.6", "1.36.3").await;
    let steps = plan_ids(&fake, &inv, &bundle).await.unwrap();
    let settings: Vec<&String> = steps.iter().filter(|id| id.starts_with("settings-")).collect();
    assert_eq!(settings, Vec::<&String>::new());
    converge(&fake, &inv, &bundle, 1).await.unwrap();
    // An image of etcd without an upgrade is a change that restarts it.
    let mut inv = inv;
    inv.etcd.image_tag = Some("3.6.9-0".into());
    let steps = plan_ids(&fake, &inv, &bundle).await.unwrap();
    for plane in ["cp1", "cp2", "cp3"] {
        assert!(steps.contains(&format!("settings-control-plane/{plane}/control-plane")), "{steps:?}");
    }
}

#[tokio::test]
async fn an_upgrade_that_fails_shows_the_words_of_the_container_that_does_not_run() {
    let (fake, inv, bundle) = minor("1.35.6", "1.36.3").await;
    {
        let mut world = fake.world();
        world.broken_upgrades.insert("cp2".into(), "timed out waiting for the condition\n".into());
        let said = "== etcd, which does not run (/var/log/pods/x/etcd/1.log)\nunknown flag: --x\u{1b}[2J\n";
        world.evidence.insert("why".into(), said.into());
        world.evidence.insert("why-job".into(), "not asked for\n".into());
    }
    let said = apply_once(&fake, &inv, &bundle).await.unwrap_err().report();
    assert!(said.contains("== etcd, which does not run") && said.contains("unknown flag: --x [2J"), "{said}");
    assert!(
        said.contains("timed out waiting") && !said.contains('\u{1b}') && !said.contains("not asked for"),
        "{said}"
    );
    {
        let mut world = fake.world();
        let said =
            "[ERROR CreateJob]: Job \"upgrade-health-check-1\" in the namespace \"kube-system\" did not complete\n";
        world.broken_upgrades.insert("cp2".into(), said.into());
        let events = "== events of the job\nupgrade-health-check-1-x Failed: ErrImagePull\n";
        world.evidence.insert("why-job".into(), events.into());
    }
    let said = apply_once(&fake, &inv, &bundle).await.unwrap_err().report();
    assert!(said.contains("ErrImagePull") && said.contains("did not complete") && !said.contains("--x"), "{said}");
    fake.world().broken_upgrades.clear();
    converge(&fake, &inv, &bundle, 1).await.unwrap();
    assert_at(&fake, "v1.36.3", "mended");
}
