//! Another containerd and runc on machines in memory.

use provision::bundle::{BlobRef, BundleManifest, Digest};
use provision::host::{FakeCluster, Fault};
use provision::inventory::Inventory;

use super::world::{INVENTORY, apply_once, assert_sound, bundle, converge, plan_ids, read, snapshot, undisturbed};

const MORE: &str = r#"
[[hosts]]
name = "w3"
role = "worker"
address = "192.168.10.23"
[upgrade]
canary = 1
max_unavailable = 1
soak_s = 0
gate_timeout_s = 1
[upgrade.drain]
timeout_s = 1
[[upgrade.gates]]
name = "site"
command = "true"
"#;

/// The same bundle with another containerd and another runc.
fn newer(mut bundle: BundleManifest) -> BundleManifest {
    for artifact in bundle.artifacts.iter_mut().filter(|a| matches!(a.name.as_str(), "containerd" | "runc")) {
        artifact.digest = Digest::of(format!("new {}", artifact.name).as_bytes());
        artifact.blobs = vec![BlobRef { digest: artifact.digest.clone(), size: 7, media_type: "t".into() }];
        for member in &mut artifact.members {
            member.digest = Digest::of(format!("new {}", member.path).as_bytes());
        }
    }
    bundle
}

/// A cluster with pods on its workers, and the bundle with another runtime.
async fn start() -> (FakeCluster, Inventory, BundleManifest) {
    let inv = read(&(INVENTORY.to_owned() + MORE));
    let old = bundle(&inv);
    let fake = undisturbed(&inv, &old).await;
    {
        let mut world = fake.world();
        for (pod, node) in [("web-1", "w1"), ("web-2", "w2"), ("web-3", "w3")] {
            world.pods.insert(pod.into(), node.into());
        }
        world.calls = 0;
        world.log.clear();
    }
    (fake, inv, newer(old))
}

fn assert_rolled(fake: &FakeCluster, what: &str) {
    assert_sound(fake, what);
    let world = fake.world();
    for (name, machine) in &world.machines {
        let is = |path: &str, of: &str| machine.files[path].digest == Digest::of(of.as_bytes());
        assert!(is("/usr/local/bin/containerd", "new bin/containerd"), "{what}: {name}");
        assert!(is("/usr/local/sbin/runc", "new runc"), "{what}: {name}");
        let started = machine.units["containerd.service"].started;
        assert!(started > machine.files["/usr/local/bin/containerd"].mtime, "{what}: {name}");
    }
    for (name, node) in &world.nodes {
        assert!(!node.unschedulable && node.marks.is_empty(), "{what}: {name} {node:?}");
    }
    assert_eq!(world.pods.len(), 3, "{what}");
}

#[tokio::test]
async fn another_runtime_comes_node_by_node_onto_emptied_nodes() {
    let (fake, inv, new) = start().await;
    apply_once(&fake, &inv, &new).await.unwrap_or_else(|e| panic!("{}", e.report()));
    assert_rolled(&fake, "undisturbed");
    assert_eq!(plan_ids(&fake, &inv, &new).await.unwrap(), Vec::<String>::new());
    let world = fake.world();
    let at = |what: &str| {
        let found = world.log.iter().position(|l| l.starts_with(what));
        found.unwrap_or_else(|| panic!("{what}: {:#?}", world.log))
    };
    let restart = |host: &str| at(&format!("{host}: systemctl containerd.service"));
    let cordon = |host: &str| at(&format!("cp1: cordon {host} "));
    let uncordon = |host: &str| at(&format!("cp1: uncordon {host} "));
    for host in ["cp1", "cp2", "cp3", "w1", "w2", "w3"] {
        assert!(cordon(host) < restart(host) && restart(host) < uncordon(host), "{host}");
    }
    // The control planes have no pods to move.
    for host in ["w1", "w2", "w3"] {
        let drain = at(&format!("cp1: kubectl drain {host}"));
        assert!(cordon(host) < drain && drain < restart(host), "{host}");
    }
    for pair in ["cp1", "cp2", "cp3", "w1", "w2", "w3"].windows(2) {
        assert!(uncordon(pair[0]) < cordon(pair[1]), "{pair:?}");
    }
    assert!(!world.log.iter().any(|l| l.contains("kubeadm")), "{:#?}", world.log);
}

async fn every_call_killed(fault: Fault) {
    let (start, inv, new) = start().await;
    let copy = || {
        let other = FakeCluster::new(&inv.nodes(), &inv.cluster.version);
        let now = start.world().clone();
        *other.world() = now;
        other
    };
    let reference = copy();
    apply_once(&reference, &inv, &new).await.unwrap();
    let calls = reference.world().calls;
    let wanted = snapshot(&reference);
    for k in 0..calls {
        let fake = copy();
        fake.world().faults.insert(k, fault);
        let _ = apply_once(&fake, &inv, &new).await;
        converge(&fake, &inv, &new, 1).await.unwrap_or_else(|e| panic!("{fault:?} at call {k}: {e}"));
        assert_rolled(&fake, &format!("{fault:?} at call {k}"));
        assert!(snapshot(&fake) == wanted, "{fault:?} at call {k}");
    }
}

#[tokio::test]
async fn killed_before_any_call_of_another_runtime_a_second_run_converges() {
    every_call_killed(Fault::Kill).await;
}

#[tokio::test]
async fn killed_after_any_call_of_another_runtime_a_second_run_converges() {
    every_call_killed(Fault::KillAfterEffect).await;
}

#[tokio::test]
async fn a_canary_whose_gate_stays_closed_stays_cordoned_and_nobody_follows() {
    let (fake, inv, new) = start().await;
    fake.world().gate_closed = true;
    let error = apply_once(&fake, &inv, &new).await.unwrap_err();
    assert!(error.report().contains("gate site"), "{}", error.report());
    {
        let world = fake.world();
        let old = |name: &str| world.machines[name].files["/usr/local/sbin/runc"].digest == Digest::of(b"runc");
        assert!(world.nodes["w1"].unschedulable && !old("w1") && old("w2") && old("w3"));
    }
    fake.world().gate_closed = false;
    converge(&fake, &inv, &new, 1).await.unwrap();
    assert_rolled(&fake, "opened gate");
}
