//! Nodes leave the cluster and are replaced, alive and dead, whatever breaks meanwhile.

use provision::bundle::BundleManifest;
use provision::error::{Error, Kind, Result};
use provision::host::{Cause, FakeCluster, Fault, Watch, World};
use provision::inventory::Inventory;
use provision::plan::without;

use super::leaving::Command;
use super::world::{
    INVENTORY, apply_once, assert_sound, bundle, converge, copy, need, plan_ids, read, sampled, snapshot,
};

const SPARE: &str = "[[hosts]]\nname = \"cp4\"\nrole = \"control-plane\"\naddress = \"192.168.10.14\"\n";

/// The inventory, the spare of which is in the place of `old`, beside it (`""`), or nowhere (`-`).
fn inventory(old: &str) -> Inventory {
    let mut inv = read(&format!("{INVENTORY}{SPARE}"));
    inv.hosts.retain(|h| h.name != old && (old != "-" || h.name != "cp4"));
    inv
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|n| (*n).to_owned()).collect()
}

/// A whole cluster of 3 and 2 with a bare spare, and a pod on every worker.
async fn whole() -> (FakeCluster, BundleManifest) {
    let inv = inventory("-");
    let bundle = bundle(&inv);
    let fake = FakeCluster::new(&inventory("").nodes(), &inv.cluster.version);
    need(&fake, &inv, &bundle);
    fake.world().control_planes = 3;
    apply_once(&fake, &inv, &bundle).await.unwrap_or_else(|e| panic!("{}", e.report()));
    for (pod, node) in [("web-1", "w1"), ("web-2", "w2")] {
        fake.world().pods.insert(pod.into(), node.into());
    }
    (fake, bundle)
}

/// How many members etcd has, and how many nodes there are.
fn count(fake: &FakeCluster) -> (usize, usize) {
    let world = fake.world();
    (world.etcd.len(), world.nodes.len())
}

async fn remove(fake: &FakeCluster, bundle: &BundleManifest, gone: &[&str]) -> Result<()> {
    Command { fake, inv: &inventory("-"), bundle, names: names(gone), joins: None }.run().await
}

async fn replace(fake: &FakeCluster, inv: &Inventory, bundle: &BundleManifest, old: &str) -> Result<()> {
    // What the hosts of another cluster lack is nobody's concern.
    fake.world().needed_images.remove(old);
    Command { fake, inv, bundle, names: names(&[old]), joins: Some("cp4") }.run().await
}

/// The node is nowhere, the others are as an inventory without it wants them, and nobody waits for anything. The host of
/// one that the inventory does not list keeps what it has.
async fn is_gone(fake: &FakeCluster, inv: &Inventory, bundle: &BundleManifest, old: &str, what: &str) {
    let rest = &without(inv, &names(&[old])).unwrap();
    assert_sound(fake, what);
    assert_eq!(plan_ids(fake, rest, bundle).await.unwrap(), Vec::<String>::new(), "{what}");
    let world = fake.world();
    let unlisted = !inv.hosts.iter().any(|h| h.name == old);
    let wanted: Vec<String> = rest.control_planes().into_iter().map(|n| n.name).collect();
    let mut members: Vec<String> = world.etcd.keys().cloned().collect();
    members.sort_by_key(|n| wanted.iter().position(|w| w == n));
    assert_eq!(members, wanted, "{what}");
    assert!(!world.nodes.contains_key(old) && !world.cluster_status.contains(&format!(" {old}:")), "{what}");
    assert!(!world.pods.values().any(|on| on == old), "{what}: {:?}", world.pods);
    for (name, m) in world.machines.iter().filter(|(name, _)| !(unlisted && *name == old)) {
        let ours = m.files.keys().any(|f| f.contains("provision") || f.contains("kubernetes"));
        assert_eq!(ours, rest.hosts.iter().any(|h| h.name == *name) || m.dead, "{what}: {name}");
        let text = m.text("/etc/provision/haproxy.cfg");
        assert!(m.dead || !text.contains(&format!(" {old} ")), "{what}: {name} sends to {old}: {text}");
    }
}

#[tokio::test]
async fn a_worker_and_a_control_plane_leave() {
    let (fake, bundle) = whole().await;
    for gone in ["w1", "cp1"] {
        let fake = copy(&fake);
        remove(&fake, &bundle, &[gone]).await.unwrap_or_else(|e| panic!("{gone}: {}", e.report()));
        is_gone(&fake, &inventory("-"), &bundle, gone, gone).await;
        assert_eq!(fake.world().pods.len(), 2, "{gone}: a pod was lost");
        let before = snapshot(&fake);
        remove(&fake, &bundle, &[gone]).await.unwrap();
        assert_eq!(snapshot(&fake), before, "{gone}: a second run changes nothing");
    }
}

#[tokio::test]
async fn a_node_whose_drain_would_lose_pods_does_not_leave() {
    let (fake, bundle) = whole().await;
    fake.world().bare.insert("web-1".into());
    let before = snapshot(&fake);
    let error = remove(&fake, &bundle, &["w1"]).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.report().contains("w1: pods without a controller: default/web-1"), "{}", error.report());
    assert_eq!(snapshot(&fake), before);
    assert!(!fake.world().nodes["w1"].unschedulable);
    // What is on a node that stays does not matter.
    remove(&fake, &bundle, &["w2"]).await.unwrap_or_else(|e| panic!("{}", e.report()));
}

#[tokio::test]
async fn what_kubeadm_kept_of_a_control_plane_goes_too() {
    let (fake, bundle) = whole().await;
    let entry = |n: u8| format!("  cp{n}:\n    advertiseAddress: 192.168.10.1{n}\n    bindPort: 6443\n");
    fake.world().cluster_status = format!("apiEndpoints:\n{}{}{}kind: ClusterStatus\n", entry(1), entry(2), entry(3));
    remove(&fake, &bundle, &["cp2"]).await.unwrap();
    let wanted = format!("apiEndpoints:\n{}{}kind: ClusterStatus\n", entry(1), entry(3));
    assert_eq!(fake.world().cluster_status, wanted);
}

/// Every call of a command is cut, before or after it took effect; the command again ends as if nothing had been.
async fn killed_anywhere(
    what: &str,
    from: &FakeCluster,
    inv: &Inventory,
    bundle: &BundleManifest,
    old: &str,
    joins: bool,
) {
    let command = async |fake: &FakeCluster| {
        let joins = joins.then_some("cp4");
        fake.world().needed_images.remove(old);
        Command { fake, inv, bundle, names: names(&[old]), joins }.run().await
    };
    let reference = copy(from);
    command(&reference).await.unwrap_or_else(|e| panic!("{what}: {}", e.report()));
    is_gone(&reference, inv, bundle, old, what).await;
    let (first, last) = (from.world().calls, reference.world().calls);
    let wanted = snapshot(&reference);
    // After a call is before the next one; a few are enough to see that there is no other difference.
    let before = sampled(first..last).step_by(9).map(|k| (k, Fault::Kill));
    // Of the many calls of a join, every other one.
    let every = if joins { 2 } else { 1 };
    for (k, fault) in sampled(first..last).step_by(every).map(|k| (k, Fault::KillAfterEffect)).chain(before) {
        let fake = copy(from);
        fake.world().faults.insert(k, fault);
        let _ = command(&fake).await;
        // Who waits by the clock may have needed fewer calls this time.
        fake.world().faults.clear();
        let what = format!("{what}, {fault:?} at call {} of {}", k - first, last - first);
        command(&fake).await.unwrap_or_else(|e| panic!("{what}: {}", e.report()));
        assert_sound(&fake, &what);
        assert_eq!(snapshot(&fake), wanted, "{what}");
    }
}

#[tokio::test]
async fn a_removal_that_is_killed_goes_on() {
    let (fake, bundle) = whole().await;
    killed_anywhere("worker", &fake, &inventory("-"), &bundle, "w1", false).await;
    killed_anywhere("control plane", &fake, &inventory("-"), &bundle, "cp1", false).await;
}

#[tokio::test]
async fn a_replacement_that_is_killed_goes_on() {
    let (fake, bundle) = whole().await;
    fake.world().machines.get_mut("cp1").unwrap().dead = true;
    killed_anywhere("dead", &fake, &inventory("cp1"), &bundle, "cp1", true).await;
    let (fake, bundle) = whole().await;
    fake.world().control_planes = 4;
    keep_voters(&fake);
    killed_anywhere("alive", &fake, &inventory(""), &bundle, "cp1", true).await;
    killed_anywhere("alive, not listed", &fake, &inventory("cp1"), &bundle, "cp1", true).await;
}

/// From now on it is a violation when etcd has fewer healthy voters than now.
fn keep_voters(fake: &FakeCluster) {
    let healthy = |world: &World| world.etcd.keys().filter(|name| world.etcd_up(name)).count();
    let floor = healthy(&fake.world());
    fake.world().watch = Watch::new(move |world: &World, _: Cause| {
        let now = healthy(world);
        if now < floor { vec![format!("etcd has {now} healthy voters of {floor} before")] } else { Vec::new() }
    });
}

#[tokio::test]
async fn etcd_has_no_fewer_healthy_voters_while_a_control_plane_that_serves_is_replaced() {
    let (fake, bundle) = whole().await;
    fake.world().control_planes = 4;
    keep_voters(&fake);
    for old in ["cp1", "cp3"] {
        for inv in [inventory(old), inventory("")] {
            let fake = copy(&fake);
            replace(&fake, &inv, &bundle, old).await.unwrap_or_else(|e| panic!("{old}: {}", e.report()));
            is_gone(&fake, &inv, &bundle, old, old).await;
        }
        // A control plane whose kubelet has failed is a healthy voter all the same.
        let fake = copy(&fake);
        fake.world().machines.get_mut(old).unwrap().units.get_mut("kubelet.service").unwrap().active = false;
        replace(&fake, &inventory(""), &bundle, old).await.unwrap_or_else(|e| panic!("{old}: {}", e.report()));
        is_gone(&fake, &inventory(""), &bundle, old, "no kubelet").await;
    }
}

#[tokio::test]
async fn a_new_host_with_the_address_of_one_that_serves_is_refused() {
    let (fake, bundle) = whole().await;
    let mut inv = inventory("cp1");
    inv.hosts.iter_mut().filter(|h| h.name == "cp4").for_each(|h| h.address = "192.168.10.11".parse().unwrap());
    fake.world().machines.get_mut("cp4").unwrap().address = "192.168.10.11".into();
    let before = snapshot(&fake);
    let error = replace(&fake, &inv, &bundle, "cp1").await.unwrap_err();
    assert!(error.kind() == Kind::Refused && error.to_string().contains("192.168.10.11"), "{}", error.report());
    assert_eq!(snapshot(&fake), before);
    fake.world().machines.get_mut("cp1").unwrap().dead = true;
    fake.world().die("cp1");
    replace(&fake, &inv, &bundle, "cp1").await.unwrap_or_else(|e| panic!("{}", e.report()));
    is_gone(&fake, &inv, &bundle, "cp1", "the same address").await;
}

#[tokio::test]
async fn no_control_plane_that_serves_is_replaced_while_another_member_is_dead() {
    let (fake, bundle) = whole().await;
    fake.world().control_planes = 4;
    fake.world().machines.get_mut("cp2").unwrap().files.remove("/etc/kubernetes/manifests/etcd.yaml");
    let before = snapshot(&fake);
    for inv in [inventory("cp1"), inventory("")] {
        let error = replace(&fake, &inv, &bundle, "cp1").await.unwrap_err();
        assert!(error.kind() == Kind::Refused && error.report().contains("node replace cp2"), "{}", error.report());
        assert_eq!(snapshot(&fake), before);
    }
}

/// A dead control plane leaves etcd before its successor joins, whichever it is and wherever it is listed.
#[tokio::test]
async fn a_dead_control_plane_is_replaced() {
    let (fake, bundle) = whole().await;
    for old in ["cp1", "cp3"] {
        for inv in [inventory(old), inventory("")] {
            let fake = copy(&fake);
            fake.world().machines.get_mut(old).unwrap().dead = true;
            replace(&fake, &inv, &bundle, old).await.unwrap_or_else(|e| panic!("{old}: {}", e.report()));
            is_gone(&fake, &inv, &bundle, old, old).await;
        }
    }
}

/// Plain `apply` with the successor in the inventory does not count on etcd while the dead one is in it.
#[tokio::test]
async fn nobody_joins_beside_a_dead_member() {
    let (fake, bundle) = whole().await;
    fake.world().machines.get_mut("cp1").unwrap().dead = true;
    let error = apply_once(&fake, &inventory("cp1"), &bundle).await.unwrap_err();
    assert!(error.kind() == Kind::Refused && error.to_string().contains("cp1"), "{error}");
    fake.world().nodes.remove("cp1");
    let error = apply_once(&fake, &inventory("cp1"), &bundle).await.unwrap_err();
    assert!(error.kind() == Kind::Refused && error.to_string().contains("cp1"), "{error}");
    replace(&fake, &inventory("cp1"), &bundle, "cp1").await.unwrap();
    is_gone(&fake, &inventory("cp1"), &bundle, "cp1", "lingering member").await;
}

/// A control plane that the inventory does not know is left alone, and so is its member.
#[tokio::test]
async fn an_unknown_control_plane_is_no_obstacle() {
    let (fake, bundle) = whole().await;
    let rest = without(&inventory("-"), &names(&["cp2"])).unwrap();
    converge(&fake, &rest, &bundle, 1).await.unwrap();
    assert_eq!(count(&fake), (3, 5));
    // Found by its name in the cluster, it can be taken out all the same.
    let command = Command { fake: &fake, inv: &rest, bundle: &bundle, names: names(&["cp2"]), joins: None };
    command.run().await.unwrap_or_else(|e| panic!("{}", e.report()));
    assert_eq!(count(&fake), (2, 4));
    assert_sound(&fake, "unknown");
}

#[tokio::test]
async fn a_budget_that_never_yields_lets_the_node_stay() {
    let (fake, bundle) = whole().await;
    fake.world().stuck.insert("web-1".into());
    let before = snapshot(&fake);
    let error = remove(&fake, &bundle, &["w1"]).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Failed);
    assert!(error.report().contains("web-1") && error.report().contains("takes pods again"), "{}", error.report());
    assert_eq!(snapshot(&fake), before, "nothing is half done");
    // One that others keep pods off stays so.
    fake.world().nodes.get_mut("w1").unwrap().unschedulable = true;
    remove(&fake, &bundle, &["w1"]).await.unwrap_err();
    assert!(fake.world().nodes["w1"].unschedulable && fake.world().nodes["w1"].marks.is_empty());
    fake.world().stuck.clear();
    remove(&fake, &bundle, &["w1"]).await.unwrap();
    assert_sound(&fake, "yielded");
}

#[tokio::test]
async fn what_would_lose_quorum_is_refused_before_anything() {
    let refused = async |fake: &FakeCluster, bundle: &BundleManifest, gone: &[&str]| -> Error {
        let before = snapshot(fake);
        let error = remove(fake, bundle, gone).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Refused, "{gone:?}: {}", error.report());
        assert_eq!(snapshot(fake), before, "{gone:?}");
        error
    };
    let (fake, bundle) = whole().await;
    refused(&fake, &bundle, &["cp1", "cp2", "cp3"]).await;
    // One of three is ill, though its host answers: the others may not go, it may.
    fake.world().machines.get_mut("cp2").unwrap().files.remove("/etc/kubernetes/manifests/etcd.yaml");
    let error = refused(&fake, &bundle, &["cp1"]).await;
    assert!(error.hints().iter().any(|h| h.contains("node remove cp2")), "{}", error.report());
    let ill = copy(&fake);
    remove(&ill, &bundle, &["cp2"]).await.unwrap_or_else(|e| panic!("{}", e.report()));
    assert_eq!(ill.world().etcd.len(), 2);
    // Two of three are dead: there is no quorum left to keep.
    for name in ["cp2", "cp3"] {
        fake.world().machines.get_mut(name).unwrap().dead = true;
    }
    let error = refused(&fake, &bundle, &["cp2", "cp3"]).await;
    assert!(error.hints().iter().any(|h| h.contains("etcd restore")), "{}", error.report());
}

#[tokio::test]
async fn a_changed_role_is_refused_with_the_way() {
    let (fake, bundle) = whole().await;
    for (name, from, to) in [("w1", "worker", "control-plane"), ("cp3", "control-plane", "worker")] {
        let block = |role: &str| format!("name = \"{name}\"\nrole = \"{role}\"");
        let changed = read(&INVENTORY.replace(&block(from), &block(to)));
        let error = apply_once(&fake, &changed, &bundle).await.unwrap_err();
        assert!(error.kind() == Kind::Refused && error.to_string().contains(name), "{error}");
        let fake = copy(&fake);
        Command { fake: &fake, inv: &changed, bundle: &bundle, names: names(&[name]), joins: None }
            .run()
            .await
            .unwrap_or_else(|e| panic!("{name}: {}", e.report()));
        fake.world().control_planes = 4;
        need(&fake, &changed, &bundle);
        converge(&fake, &changed, &bundle, 1).await.unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_sound(&fake, name);
        assert_eq!(fake.world().etcd.contains_key(name), to == "control-plane");
    }
}
