//! The real planner and engine against machines in memory: whatever breaks, running apply again converges.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "convergence/dns.rs"]
mod dns;
#[path = "convergence/drift.rs"]
mod drift;
#[path = "convergence/external.rs"]
mod external;
#[path = "convergence/kubeconfig.rs"]
mod kubeconfig;
#[path = "convergence/leaving.rs"]
mod leaving;
#[path = "convergence/nodes.rs"]
mod nodes;
#[path = "convergence/recorded.rs"]
mod recorded;
#[path = "recorded/probes.rs"]
mod recorded_probes;
#[path = "convergence/rotation.rs"]
mod rotation;
#[path = "convergence/runtime.rs"]
mod runtime;
#[path = "convergence/settings.rs"]
mod settings;
#[path = "convergence/upgrade.rs"]
mod upgrade;
#[path = "convergence/world.rs"]
mod world;

use proptest::prelude::*;
use provision::bundle::Digest;
use provision::error::Kind;
use provision::host::Fault;

use world::{apply_once, assert_sound, bundle, converge, fresh, inventory, plan_ids, sampled, snapshot, undisturbed};

#[tokio::test]
async fn an_applied_plan_leaves_nothing_to_do() {
    let inv = inventory();
    let bundle = bundle(&inv);
    let fake = undisturbed(&inv, &bundle).await;
    assert_sound(&fake, "happy path");
    assert_eq!(plan_ids(&fake, &inv, &bundle).await.unwrap(), Vec::<String>::new());
    assert_eq!(fake.world().etcd.len(), 3);
    assert_eq!(fake.world().nodes.len(), 5);
}

async fn every_call_killed(fault: Fault, step: usize) {
    let inv = inventory();
    let bundle = bundle(&inv);
    let reference = undisturbed(&inv, &bundle).await;
    // The world is locked while its guard lives, so these stand apart.
    let calls = reference.world().calls;
    let wanted = snapshot(&reference);
    for k in sampled(0..calls).step_by(step) {
        let fake = fresh(&inv, &bundle);
        fake.world().faults.insert(k, fault);
        let _ = apply_once(&fake, &inv, &bundle).await;
        converge(&fake, &inv, &bundle, 1).await.unwrap_or_else(|e| panic!("{fault:?} at call {k}: {e}"));
        assert_sound(&fake, &format!("{fault:?} at call {k}"));
        assert_eq!(snapshot(&fake), wanted, "{fault:?} at call {k}");
    }
}

#[tokio::test]
async fn killed_before_any_call_a_second_run_converges() {
    every_call_killed(Fault::Kill, 1).await;
}

#[tokio::test]
async fn killed_after_any_call_a_second_run_converges() {
    every_call_killed(Fault::KillAfterEffect, 1).await;
}

fn fault() -> impl Strategy<Value = Fault> {
    prop::sample::select(vec![
        Fault::Refuse,
        Fault::DropBefore,
        Fault::DropAfterEffect,
        Fault::DiskFull,
        Fault::Kill,
        Fault::KillAfterEffect,
        Fault::Reboot,
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_schedule_of_faults_ends_in_the_same_state(
        faults in prop::collection::btree_map(0u64..700, fault(), 0..10),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let inv = inventory();
            let bundle = bundle(&inv);
            let wanted = snapshot(&undisturbed(&inv, &bundle).await);
            let fake = fresh(&inv, &bundle);
            fake.world().faults = faults;
            // Every fault can spoil one run and the look after it.
            let times = converge(&fake, &inv, &bundle, 16).await;
            prop_assert!(times.is_ok(), "{}", times.unwrap_err());
            prop_assert_eq!(&fake.world().violations, &Vec::<String>::new());
            prop_assert_eq!(snapshot(&fake), wanted);
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn a_stopped_kubelet_is_the_only_step() {
    let inv = inventory();
    let bundle = bundle(&inv);
    let fake = undisturbed(&inv, &bundle).await;
    fake.world().machines.get_mut("w1").unwrap().units.get_mut("kubelet.service").unwrap().active = false;
    let ids = plan_ids(&fake, &inv, &bundle).await.unwrap();
    assert_eq!(ids, ["runtime/w1/kubelet-service", "verify/cp1/ready-w1"]);
    converge(&fake, &inv, &bundle, 1).await.unwrap();
}

#[tokio::test]
async fn a_changed_file_and_the_restart_that_follows_are_the_only_steps() {
    let inv = inventory();
    let bundle = bundle(&inv);
    let fake = undisturbed(&inv, &bundle).await;
    let before = snapshot(&fake);
    let now = fake.world().tick();
    fake.world().machines.get_mut("w2").unwrap().write("/etc/containerd/config.toml", b"edited", 0o644, now);
    let ids = plan_ids(&fake, &inv, &bundle).await.unwrap();
    assert_eq!(ids, ["settings-worker/w2/containerd", "settings-worker/cp1/wave-2"]);
    converge(&fake, &inv, &bundle, 1).await.unwrap();
    assert_eq!(snapshot(&fake), before);
}

#[tokio::test]
async fn a_release_whose_values_changed_is_the_only_step() {
    let mut inv = inventory();
    let bundle = bundle(&inv);
    let fake = undisturbed(&inv, &bundle).await;
    assert_eq!(fake.world().releases.len(), 1);
    inv.charts[0].values.insert("message".into(), "good night".into());
    let ids = plan_ids(&fake, &inv, &bundle).await.unwrap();
    assert_eq!(ids, ["addons/cp1/release-shop.hello"]);
    converge(&fake, &inv, &bundle, 1).await.unwrap();
    // Somebody rolled it back by hand, and the objects of the manifest were changed.
    fake.world().releases.insert("shop/hello".into(), "Rollback to 1".into());
    fake.world().manifests.clear();
    let ids = plan_ids(&fake, &inv, &bundle).await.unwrap();
    assert_eq!(ids, ["addons/cp1/manifest-limits", "addons/cp1/release-shop.hello"]);
    converge(&fake, &inv, &bundle, 1).await.unwrap();
    // Another control plane speaks: it has to be given the file before it can compare.
    fake.world().machines.get_mut("cp1").unwrap().units.get_mut("containerd.service").unwrap().active = false;
    converge(&fake, &inv, &bundle, 2).await.unwrap();
}

#[tokio::test]
async fn a_newer_package_in_the_bundle_is_all_that_is_installed() {
    let inv = inventory();
    let mut bundle = bundle(&inv);
    let fake = undisturbed(&inv, &bundle).await;
    assert_eq!(fake.world().machines["w1"].packages.len(), 2);
    let newer = bundle.artifacts.iter_mut().find(|a| a.name == "deb/libwrap0").unwrap();
    newer.version = "7-10".into();
    newer.digest = Digest::of(b"newer");
    fake.world().machines.get_mut("w2").unwrap().packages.insert("libwrap0".into(), "8".into());
    fake.world().machines.get_mut("cp3").unwrap().packages.remove("socat");
    let ids = plan_ids(&fake, &inv, &bundle).await.unwrap();
    let blob = Digest::of(b"newer");
    let wanted: Vec<String> = ["cp1", "cp2", "cp3", "w1"]
        .iter()
        .map(|h| format!("distribute/{h}/{}", blob.short()))
        .chain(["cp1", "cp2", "cp3", "w1"].iter().map(|h| format!("packages/{h}/install")))
        .collect();
    let changes: Vec<String> = ids.into_iter().filter(|i| !i.starts_with("verify/")).collect();
    assert_eq!(changes, wanted);
    converge(&fake, &inv, &bundle, 1).await.unwrap();
}

#[tokio::test]
async fn a_host_of_another_cluster_stops_everything() {
    let inv = inventory();
    let bundle = bundle(&inv);
    let fake = fresh(&inv, &bundle);
    fake.world().machines.get_mut("w2").unwrap().write("/etc/provision/cluster", b"other\n", 0o644, 1);
    let before = fake.world().machines.clone();
    let error = apply_once(&fake, &inv, &bundle).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.to_string().contains("w2"), "{error}");
    assert_eq!(fake.world().machines, before);
}

#[tokio::test]
async fn a_full_disk_is_named_and_the_other_hosts_go_on() {
    let inv = inventory();
    let bundle = bundle(&inv);
    let wanted = snapshot(&undisturbed(&inv, &bundle).await);
    let fake = fresh(&inv, &bundle);
    fake.world().machines.get_mut("w1").unwrap().disk_full = true;
    let error = apply_once(&fake, &inv, &bundle).await.unwrap_err();
    assert_eq!(error.host(), Some("w1"));
    assert!(error.hints().iter().any(|h| h.contains("space")), "{:?}", error.hints());
    {
        let world = fake.world();
        let other = &world.machines["w2"];
        // A failure lets the others finish the phase; no later one begins.
        assert!(other.has("/etc/sysctl.d/90-provision.conf") && !other.swap);
        assert!(world.nodes.is_empty(), "nobody joins before every host is ready");
    }
    fake.world().machines.get_mut("w1").unwrap().disk_full = false;
    converge(&fake, &inv, &bundle, 1).await.unwrap();
    assert_sound(&fake, "full disk");
    assert_eq!(snapshot(&fake), wanted);
}
