//! Another containerd and runc on machines in memory.

use provision::bundle::{BlobRef, BundleManifest, Digest};
use provision::host::{FakeCluster, Fault};
use provision::inventory::Inventory;

use super::world::{
    INVENTORY, apply_once, assert_sound, bundle, converge, every_call_faulted, plan_ids, read, snapshot, undisturbed,
};

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
    every_call_faulted(&start, &inv, &new, fault, assert_rolled).await;
}

#[tokio::test]
async fn killed_before_any_call_of_another_runtime_a_second_run_converges() {
    every_call_killed(Fault::Kill).await;
}

#[tokio::test]
async fn killed_after_any_call_of_another_runtime_a_second_run_converges() {
    every_call_killed(Fault::KillAfterEffect).await;
}

/// The runtime of before is on these nodes, and pods are let onto all.
fn assert_old(fake: &FakeCluster, names: &[&str]) {
    let world = fake.world();
    for name in names {
        let machine = &world.machines[*name];
        let is = |path: &str, of: &str| machine.files[path].digest == Digest::of(of.as_bytes());
        assert!(is("/usr/local/sbin/runc", "runc") && is("/usr/local/bin/containerd", "bin/containerd"), "{name}");
        let started = machine.units["containerd.service"].started;
        assert!(started >= machine.files["/usr/local/bin/containerd"].mtime, "{name}");
    }
    assert!(world.nodes.values().all(|n| !n.unschedulable), "{:?}", world.nodes);
}

#[tokio::test]
async fn a_canary_whose_gate_stays_closed_is_put_back_and_nobody_follows() {
    let (fake, inv, new) = start().await;
    fake.world().gate_closed = true;
    let error = apply_once(&fake, &inv, &new).await.unwrap_err();
    assert!(error.report().contains("gate site"), "{}", error.report());
    assert!(error.report().contains("w1 was put back to v1.36.2"), "{}", error.report());
    assert_old(&fake, &["w1", "w2", "w3"]);
    fake.world().gate_closed = false;
    converge(&fake, &inv, &new, 1).await.unwrap();
    assert_rolled(&fake, "opened gate");
}

/// Nothing of its version changes: so a control plane goes back as well.
#[tokio::test]
async fn a_node_that_is_not_ready_with_another_runtime_is_put_back() {
    let broken = Digest::of(b"new bin/containerd").hex().to_owned();
    for name in ["cp2", "w1"] {
        let (fake, inv, new) = start().await;
        fake.world().broken_kubelets.insert(format!("{broken}@{name}"));
        let error = apply_once(&fake, &inv, &new).await.unwrap_err();
        assert!(error.report().contains(&format!("{name} was put back to v1.36.2")), "{}", error.report());
        assert_old(&fake, if name == "w1" { &["w1", "w2", "w3"] } else { &["cp2", "cp3", "w1", "w2", "w3"] });
        assert_sound(&fake, name);
        fake.world().broken_kubelets.clear();
        converge(&fake, &inv, &new, 1).await.unwrap();
        assert_rolled(&fake, name);
    }
}

/// The same cluster with one more setting of containerd.
async fn other_settings() -> (FakeCluster, Inventory, BundleManifest) {
    let (fake, mut inv, _) = start().await;
    let old = bundle(&inv);
    inv.runtime.restrict_oom_score_adj = true;
    (fake, inv, old)
}

const CONFIG: &str = "/etc/containerd/config.toml";

fn assert_changed(fake: &FakeCluster, what: &str) {
    assert_sound(fake, what);
    let world = fake.world();
    for (name, machine) in &world.machines {
        assert!(machine.text(CONFIG).contains("restrict_oom_score_adj = true"), "{what}: {name}");
        assert!(machine.units["containerd.service"].started >= machine.files[CONFIG].mtime, "{what}: {name}");
        assert!(!machine.files.keys().any(|p| p.contains("containerd-before")), "{what}: {name}");
    }
}

#[tokio::test]
async fn other_settings_of_containerd_come_node_by_node_and_nothing_is_emptied() {
    let (fake, inv, bundle) = other_settings().await;
    apply_once(&fake, &inv, &bundle).await.unwrap_or_else(|e| panic!("{}", e.report()));
    assert_changed(&fake, "undisturbed");
    assert_eq!(plan_ids(&fake, &inv, &bundle).await.unwrap(), Vec::<String>::new());
    let world = fake.world();
    let turns: Vec<&str> = world
        .log
        .iter()
        .filter_map(|l| l.split_once(": runtime-settings "))
        .filter(|(_, rest)| !rest.starts_with("back"))
        .map(|(host, _)| host)
        .collect();
    assert_eq!(turns, ["cp1", "cp1", "cp2", "cp2", "cp3", "cp3", "w1", "w1", "w2", "w2", "w3", "w3"]);
    assert!(!world.log.iter().any(|l| l.contains("cordon") || l.contains("drain")), "{:#?}", world.log);
}

/// Both have to agree on the cgroup driver: no node is left between the two for longer than its turn.
#[tokio::test]
async fn what_containerd_and_the_kubelet_share_comes_in_one_turn_on_an_emptied_node() {
    let (fake, mut inv, bundle) = other_settings().await;
    inv.kubelet.config.insert("maxPods".into(), 90.into());
    apply_once(&fake, &inv, &bundle).await.unwrap();
    assert_changed(&fake, "with the kubelet");
    let world = fake.world();
    let at = |what: String| world.log.iter().position(|l| l.starts_with(&what)).unwrap_or_else(|| panic!("{what}"));
    for name in ["w1", "w2", "w3"] {
        let turn = [
            at(format!("cp1: kubectl drain {name}")),
            at(format!("{name}: runtime-settings try")),
            at(format!("{name}: kubelet-settings")),
            at(format!("cp1: uncordon {name}")),
        ];
        assert!(turn.is_sorted(), "{name}: {turn:?}");
    }
}

#[tokio::test]
async fn killed_at_any_call_of_other_settings_a_second_run_converges() {
    let (start, inv, bundle) = other_settings().await;
    for fault in [Fault::Kill, Fault::KillAfterEffect] {
        every_call_faulted(&start, &inv, &bundle, fault, assert_changed).await;
    }
}

#[tokio::test]
async fn settings_that_containerd_does_not_take_are_put_back_and_nobody_follows() {
    let (fake, inv, bundle) = other_settings().await;
    let calm = snapshot(&fake);
    fake.world().broken_runtime = Some("restrict_oom_score_adj = true".into());
    let error = apply_once(&fake, &inv, &bundle).await.unwrap_err();
    assert!(error.report().contains("containerd on cp1 was given back what it had"), "{}", error.report());
    assert!(snapshot(&fake) == calm);
    assert_sound(&fake, "broken settings");
    fake.world().broken_runtime = None;
    converge(&fake, &inv, &bundle, 1).await.unwrap();
    assert_changed(&fake, "mended settings");
}

/// Where it does not run there is nothing to take away, and images wait for it.
#[tokio::test]
async fn a_containerd_that_does_not_run_is_mended_at_once() {
    let (fake, inv, bundle) = other_settings().await;
    fake.world().machines.get_mut("w2").unwrap().units.get_mut("containerd.service").unwrap().active = false;
    let ids = plan_ids(&fake, &inv, &bundle).await.unwrap();
    assert!(ids.contains(&"runtime/w2/containerd-service".to_owned()), "{ids:?}");
    assert!(ids.contains(&"settings-worker/w1/containerd".to_owned()), "{ids:?}");
    converge(&fake, &inv, &bundle, 1).await.unwrap();
    assert_changed(&fake, "stopped");
}
