//! An etcd of its own, built on hosts beside the cluster: whatever breaks, running apply again converges, and once it
//! serves it never loses its quorum.

use provision::bundle::{ArtifactKind, BundleManifest, Digest};
use provision::host::{FakeCluster, Fault};
use provision::inventory::Inventory;

use crate::world::{apply_once, assert_sound, bundle, connect, converge, fresh, need, plan, plan_ids, read, sampled};

const UNIT: &str = "provision-etcd.service";

/// A small cluster: what it has in common with others is tested with others.
const INVENTORY: &str = r#"
[cluster]
name = "lab"
version = "1.36.2"
[endpoint]
mode = "first-node"
[etcd]
mode = "external"
hosts = ["e1", "e2", "e3"]
[verify]
timeout_s = 5
[defaults]
user = "root"
key_file = "/k"
[[hosts]]
name = "cp1"
role = "both"
address = "192.168.10.11"
[[hosts]]
name = "e1"
role = "etcd"
address = "192.168.10.31"
[[hosts]]
name = "e2"
role = "etcd"
address = "192.168.10.32"
[[hosts]]
name = "e3"
role = "etcd"
address = "192.168.10.33"
"#;

fn inventory() -> Inventory {
    read(INVENTORY)
}

fn parts(inv: &Inventory) -> BundleManifest {
    let mut bundle = bundle(inv);
    bundle.artifacts.retain(|a| !a.name.contains("/etcd:") && a.kind != ArtifactKind::Package);
    bundle.addons.clear();
    let etcd = bundle.artifacts.iter_mut().find(|a| a.name == "etcd").unwrap();
    let mut program = etcd.members[0].clone();
    program.path = "etcd-v3/etcd".into();
    program.digest = Digest::of(b"etcd");
    etcd.members.push(program);
    bundle
}

async fn stands(inv: &Inventory, bundle: &BundleManifest) -> FakeCluster {
    let fake = fresh(inv, bundle);
    apply_once(&fake, inv, bundle).await.unwrap_or_else(|e| panic!("{}", e.report()));
    fake
}

fn is_whole(fake: &FakeCluster, what: &str) {
    assert_sound(fake, what);
    let world = fake.world();
    assert_eq!(world.etcd.keys().collect::<Vec<_>>(), ["e1", "e2", "e3"], "{what}");
    assert!(world.etcd.keys().all(|n| world.etcd_up(n)), "{what}");
    assert_eq!(world.nodes.len(), 1, "{what}: hosts of etcd are no nodes");
    for (name, m) in &world.machines {
        let ca_key = m.has("/etc/provision/etcd/ca.key");
        assert_eq!(ca_key, name.starts_with('e'), "{what}: the CA's key on {name}");
        let (client, kubelet) =
            (m.has("/etc/provision/etcd-client/apiserver-etcd-client.crt"), m.has("/usr/local/bin/kubelet"));
        assert_eq!((client, kubelet), (name.starts_with('c'), !name.starts_with('e')), "{what}: {name}");
        assert!(m.files.iter().all(|(p, f)| !p.ends_with(".key") || f.mode == 0o600), "{what}: {name}");
    }
}

#[tokio::test]
async fn it_is_built_before_kubeadm_and_leaves_nothing_to_do() {
    let inv = inventory();
    let bundle = parts(&inv);
    let fake = stands(&inv, &bundle).await;
    is_whole(&fake, "built");
    assert_eq!(plan_ids(&fake, &inv, &bundle).await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn killed_at_any_call_a_second_run_converges() {
    let inv = inventory();
    let bundle = parts(&inv);
    let calls = stands(&inv, &bundle).await.world().calls;
    for fault in [Fault::Kill, Fault::KillAfterEffect, Fault::DropAfterEffect] {
        for k in sampled(0..calls) {
            let fake = fresh(&inv, &bundle);
            fake.world().faults.insert(k, fault);
            let _ = apply_once(&fake, &inv, &bundle).await;
            converge(&fake, &inv, &bundle, 2).await.unwrap_or_else(|e| panic!("{fault:?} at call {k}: {e}"));
            is_whole(&fake, &format!("{fault:?} at call {k}"));
        }
    }
}

/// What is changed by a new argument, in order; killed at every call.
#[tokio::test]
async fn a_change_goes_from_member_to_member() {
    let inv = inventory();
    let bundle = parts(&inv);
    let mut other = inv.clone();
    other.etcd.extra_args.insert("heartbeat-interval".into(), "200".into());
    let fake = stands(&inv, &bundle).await;
    let hosts = connect(&fake, &other).await.unwrap();
    let steps = plan(&other, &bundle, &hosts).await.unwrap();
    let ids: Vec<&str> = steps.iter().map(|s| s.id.as_str()).collect();
    let restarts: Vec<&str> =
        ids.iter().filter(|id| id.contains("/service") || id.contains("/health")).copied().collect();
    let wanted = [
        "etcd/e1/health",
        "etcd/e1/service",
        "etcd/e1/health-after",
        "etcd/e2/service",
        "etcd/e2/health-after",
        "etcd/e3/service",
        "etcd/e3/health-after",
    ];
    assert_eq!(restarts, wanted);
    let before = fake.world().calls;
    apply_once(&fake, &other, &bundle).await.unwrap();
    let calls = fake.world().calls - before;
    is_whole(&fake, "changed");
    for k in sampled(0..calls) {
        let fake = stands(&inv, &bundle).await;
        let begun = fake.world().calls;
        fake.world().faults.insert(begun + k, Fault::KillAfterEffect);
        let _ = apply_once(&fake, &other, &bundle).await;
        converge(&fake, &other, &bundle, 1).await.unwrap_or_else(|e| panic!("killed at call {k}: {e}"));
        is_whole(&fake, &format!("killed at call {k}"));
    }
}

fn lose(fake: &FakeCluster, name: &str) {
    let mut world = fake.world();
    let m = world.machines.get_mut(name).unwrap();
    m.remove_below("/var/lib/provision-etcd");
    m.units.get_mut(UNIT).unwrap().active = false;
}

/// A member that lost its disk is entered again; killed at every call.
#[tokio::test]
async fn a_member_without_data_is_entered_again() {
    let inv = inventory();
    let bundle = parts(&inv);
    let fake = stands(&inv, &bundle).await;
    lose(&fake, "e2");
    let before = fake.world().calls;
    apply_once(&fake, &inv, &bundle).await.unwrap_or_else(|e| panic!("{}", e.report()));
    let calls = fake.world().calls - before;
    is_whole(&fake, "entered");
    assert_eq!(plan_ids(&fake, &inv, &bundle).await.unwrap(), Vec::<String>::new());
    for k in sampled(0..calls) {
        let fake = stands(&inv, &bundle).await;
        lose(&fake, "e2");
        let begun = fake.world().calls;
        fake.world().faults.insert(begun + k, Fault::KillAfterEffect);
        let _ = apply_once(&fake, &inv, &bundle).await;
        converge(&fake, &inv, &bundle, 1).await.unwrap_or_else(|e| panic!("killed at call {k}: {e}"));
        is_whole(&fake, &format!("killed at call {k}"));
    }
}

/// The control planes run it themselves: a broken init or join never costs a member.
#[tokio::test]
async fn on_the_control_planes_themselves() {
    let names = ["cp1", "cp2", "cp3"];
    let text = names
        .iter()
        .zip(["e1", "e2", "e3"])
        .fold(INVENTORY.to_owned(), |t, (to, from)| t.replace(&format!("\"{from}\""), &format!("\"{to}\"")));
    let text = text.replace("role = \"etcd\"", "role = \"control-plane\"").replace("first-node", "haproxy");
    // The one that was the control plane beside them goes.
    let mut parts_of = text.splitn(3, "[[hosts]]");
    let (head, rest) = (parts_of.next().unwrap(), parts_of.nth(1).unwrap());
    let inv = read(&format!("{head}[[hosts]]{rest}"));
    let bundle = parts(&inv);
    let check = |fake: &FakeCluster, what: &str| {
        assert_sound(fake, what);
        let world = fake.world();
        assert_eq!(world.etcd.keys().collect::<Vec<_>>(), names, "{what}");
        assert!(names.iter().all(|n| world.etcd_up(n) && world.api_up(n)), "{what}");
    };
    let fake = stands(&inv, &bundle).await;
    check(&fake, "built");
    let calls = fake.world().calls;
    for (fault, step) in [(Fault::KillAfterEffect, 3), (Fault::Reboot, 7)] {
        for k in sampled(0..calls).step_by(step) {
            let fake = fresh(&inv, &bundle);
            fake.world().faults.insert(k, fault);
            let _ = apply_once(&fake, &inv, &bundle).await;
            converge(&fake, &inv, &bundle, 3).await.unwrap_or_else(|e| panic!("{fault:?} at call {k}: {e}"));
            check(&fake, &format!("{fault:?} at call {k}"));
        }
    }
}

/// Kubernetes to another version: the snapshot is taken through the control plane, and etcd goes on as it is.
#[tokio::test]
async fn the_cluster_is_upgraded_beside_it() {
    let old = inventory();
    let fake = stands(&old, &parts(&old)).await;
    let inv = read(&INVENTORY.replace("1.36.2", "1.36.3"));
    let new = parts(&inv);
    need(&fake, &inv, &new);
    for name in ["kubeadm", "kubelet", "kubectl"] {
        let digest = Digest::of(format!("{name} 1.36.3").as_bytes());
        fake.world().versions.insert(digest.hex().to_owned(), "1.36.3".into());
    }
    let ids = plan_ids(&fake, &inv, &new).await.unwrap();
    assert!(ids.contains(&"snapshot/cp1/etcd".to_owned()), "{ids:?}");
    assert!(!ids.iter().any(|id| id.starts_with("etcd/")), "{ids:?}");
    apply_once(&fake, &inv, &new).await.unwrap_or_else(|e| panic!("{}", e.report()));
    is_whole(&fake, "upgraded");
    assert_eq!(plan_ids(&fake, &inv, &new).await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn a_member_that_no_inventory_names_is_refused() {
    let inv = inventory();
    let bundle = parts(&inv);
    let fake = stands(&inv, &bundle).await;
    let mut other = inv.clone();
    other.etcd.hosts.pop();
    other.hosts.retain(|h| h.name != "e3");
    let error = plan_ids(&fake, &other, &bundle).await.unwrap_err();
    assert_eq!(error.kind(), provision::error::Kind::Refused);
    assert!(error.to_string().contains("e3"), "{error}");
}
