//! Changed settings on machines in memory.

use provision::bundle::BundleManifest;
use provision::error::Kind;
use provision::host::{FakeCluster, Fault};
use provision::inventory::Inventory;

use super::world::{
    INVENTORY, apply_once, assert_sound, bundle, converge, copy, every_call_faulted, plan_ids, read, sampled, snapshot,
    undisturbed,
};

const BEFORE: &str = r#"
[[hosts]]
name = "w3"
role = "worker"
address = "192.168.10.23"
[upgrade]
canary = 1
max_unavailable = 1
soak_s = 0
gate_timeout_s = 1
[apiserver]
extra_args = { v = "2", profiling = "false" }
cert_sans = ["api.old.example"]
[kubelet.config]
maxPods = 90
syncFrequency = "60s"
[kube_proxy.config]
mode = "iptables"
"#;

const AFTER: &str = r#"
[apiserver]
extra_args = { v = "3" }
cert_sans = ["api.example", "10.9.8.7"]
[scheduler]
extra_args = { v = "4" }
[etcd]
extra_args = { snapshot-count = "5000" }
[kubelet]
extra_args = { max-open-files = "2000000" }
[kubelet.config]
maxPods = 120
[kube_proxy.config]
mode = "ipvs"
"#;

fn before() -> Inventory {
    read(&(INVENTORY.to_owned() + BEFORE))
}

fn after() -> Inventory {
    let (hosts, _) = BEFORE.split_once("[apiserver]").unwrap();
    read(&(INVENTORY.to_owned() + hosts + AFTER))
}

/// A cluster made with the settings before.
async fn start() -> (FakeCluster, BundleManifest) {
    let old = before();
    let bundle = bundle(&old);
    let fake = undisturbed(&old, &bundle).await;
    assert_eq!(plan_ids(&fake, &old, &bundle).await.unwrap(), Vec::<String>::new());
    {
        let mut world = fake.world();
        world.calls = 0;
        world.log.clear();
    }
    (fake, bundle)
}

fn assert_changed(fake: &FakeCluster, what: &str) {
    assert_sound(fake, what);
    let world = fake.world();
    for name in world.etcd.keys() {
        let text = |file: &str| world.machines[name].text(&format!("/etc/kubernetes/manifests/{file}.yaml"));
        let api = text("kube-apiserver");
        assert!(api.contains("--v=3\n") && !api.contains("profiling"), "{what}: {name}: {api}");
        assert!(text("kube-scheduler").contains("--v=4\n"), "{what}: {name}");
        assert!(text("etcd").contains("--snapshot-count=5000\n"), "{what}: {name}");
    }
    for (name, machine) in &world.machines {
        let (config, flags) =
            (machine.text("/var/lib/kubelet/config.yaml"), machine.text("/var/lib/kubelet/kubeadm-flags.env"));
        assert!(config.contains("maxPods: 120") && !config.contains("syncFrequency"), "{what}: {name}: {config}");
        assert!(flags.contains("--max-open-files=2000000") && flags.contains("--node-ip="), "{what}: {name}: {flags}");
    }
    assert!(world.proxy.contains("ipvs"), "{what}: {}", world.proxy);
}

#[tokio::test]
async fn changed_settings_are_rolled_and_then_there_is_nothing_to_do() {
    let (fake, bundle) = start().await;
    let inv = after();
    apply_once(&fake, &inv, &bundle).await.unwrap_or_else(|e| panic!("{}", e.report()));
    assert_changed(&fake, "undisturbed");
    assert_eq!(plan_ids(&fake, &inv, &bundle).await.unwrap(), Vec::<String>::new());
    let world = fake.world();
    let of = |script: &str| -> Vec<String> {
        let hosts = world.log.iter().filter_map(|l| l.split_once(": ")).filter(|(_, rest)| rest.starts_with(script));
        hosts.map(|(host, _)| host.to_owned()).collect()
    };
    assert_eq!(of("upload-settings"), ["cp1"]);
    assert_eq!(of("control-plane-settings"), ["cp1", "cp2", "cp3"]);
    assert_eq!(of("kubelet-settings"), ["cp1", "cp2", "cp3", "w1", "w2", "w3"]);
    assert_eq!(of("proxy-settings"), ["cp1"]);
    assert_eq!(of("cordon").len(), 6, "a kubelet that starts takes all its pods for not ready");
    assert!(world.nodes.values().all(|n| !n.unschedulable && n.marks.is_empty()), "{:?}", world.nodes);
}

#[tokio::test]
async fn only_what_differs_is_rolled() {
    let (fake, bundle) = start().await;
    let mut inv = before();
    inv.scheduler.extra_args.insert("v".into(), "4".into());
    let ids = plan_ids(&fake, &inv, &bundle).await.unwrap();
    let wanted = [
        "settings-control-plane/cp1/upload",
        "settings-control-plane/cp1/control-plane",
        "settings-control-plane/cp1/etcd",
        "settings-control-plane/cp2/control-plane",
        "settings-control-plane/cp2/etcd",
        "settings-control-plane/cp3/control-plane",
        "settings-control-plane/cp3/etcd",
    ];
    assert_eq!(ids, wanted);
    apply_once(&fake, &inv, &bundle).await.unwrap();
    let world = fake.world();
    let lines: Vec<&String> = world.log.iter().filter(|l| l.contains("control-plane-settings")).collect();
    assert!(lines.iter().all(|l| l.contains(" no kube-scheduler ")), "{lines:?}");
}

#[tokio::test]
async fn one_kubelet_that_was_changed_by_hand_is_the_only_one_that_restarts() {
    let (fake, bundle) = start().await;
    let inv = before();
    let now = fake.world().tick();
    fake.world().machines.get_mut("w2").unwrap().write("/var/lib/kubelet/config.yaml", b"maxPods: 5\n", 0o644, now);
    let ids = plan_ids(&fake, &inv, &bundle).await.unwrap();
    let of = |what: &str| format!("settings-worker/w2/{what}");
    let mut wanted: Vec<String> = ["cordon", "drain", "kubelet", "uncordon"].map(of).into();
    wanted.extend(["settings-worker/cp1/wave-2", "verify/cp1/coredns"].map(str::to_owned));
    assert_eq!(ids, wanted);
    converge(&fake, &inv, &bundle, 1).await.unwrap();
}

async fn every_call_killed(fault: Fault) {
    let (start, bundle) = start().await;
    every_call_faulted(&start, &after(), &bundle, fault, assert_changed).await;
}

#[tokio::test]
async fn killed_before_any_call_of_a_change_a_second_run_converges() {
    every_call_killed(Fault::Kill).await;
}

#[tokio::test]
async fn killed_after_any_call_of_a_change_a_second_run_converges() {
    every_call_killed(Fault::KillAfterEffect).await;
}

/// Somebody thinks better of it after the run was killed: nothing of what was asked for in between is left anywhere.
#[tokio::test]
async fn killed_anywhere_the_way_back_leaves_nothing_behind() {
    let (start, bundle) = start().await;
    let reference = copy(&start);
    apply_once(&reference, &after(), &bundle).await.unwrap();
    let calls = reference.world().calls;
    let wanted = snapshot(&start);
    for k in sampled(0..calls) {
        let fake = copy(&start);
        fake.world().faults.insert(k, Fault::KillAfterEffect);
        let _ = apply_once(&fake, &after(), &bundle).await;
        converge(&fake, &before(), &bundle, 1).await.unwrap_or_else(|e| panic!("call {k}: {e}"));
        assert_sound(&fake, &format!("call {k}"));
        assert_eq!(snapshot(&fake), wanted, "call {k}");
    }
}

#[tokio::test]
async fn an_argument_that_no_api_server_takes_stops_at_the_first_and_goes_back() {
    let (fake, bundle) = start().await;
    let inv = after();
    fake.world().broken_arguments.insert("v=3".into());
    let error = apply_once(&fake, &inv, &bundle).await.unwrap_err();
    assert!(error.report().contains("cp1 was put back to the settings before"), "{}", error.report());
    {
        let world = fake.world();
        for name in ["cp1", "cp2", "cp3"] {
            let api = world.machines[name].text("/etc/kubernetes/manifests/kube-apiserver.yaml");
            assert!(api.contains("--v=2\n") && world.api_up(name), "{name}: {api}");
        }
        let kubelet = world.machines["w1"].text("/var/lib/kubelet/config.yaml");
        assert!(kubelet.contains("maxPods: 90"), "{kubelet}");
    }
    assert_sound(&fake, "broken argument");
    fake.world().broken_arguments.clear();
    converge(&fake, &inv, &bundle, 1).await.unwrap();
    assert_changed(&fake, "mended argument");
}

#[tokio::test]
async fn a_kubelet_that_does_not_take_its_configuration_goes_back_and_nobody_follows() {
    let (fake, bundle) = start().await;
    let inv = after();
    fake.world().broken_config = Some("maxPods: 120".into());
    let error = apply_once(&fake, &inv, &bundle).await.unwrap_err();
    assert!(error.report().contains("was given those before"), "{}", error.report());
    for name in ["cp1", "cp2", "w1"] {
        let config = fake.world().machines[name].text("/var/lib/kubelet/config.yaml");
        assert!(config.contains("maxPods: 90"), "{name}: {config}");
    }
    fake.world().broken_config = None;
    assert!(fake.world().nodes["cp1"].unschedulable);
    converge(&fake, &inv, &bundle, 1).await.unwrap();
    assert_changed(&fake, "mended configuration");
    assert!(fake.world().nodes.values().all(|n| !n.unschedulable && n.marks.is_empty()));
}

#[tokio::test]
async fn nothing_is_changed_while_another_control_plane_is_not_well() {
    let (fake, bundle) = start().await;
    fake.world().broken_arguments.insert("other=1".into());
    let now = fake.world().tick();
    let path = "/etc/kubernetes/manifests/kube-apiserver.yaml";
    let text = fake.world().machines["cp2"].text(path).replace("--v=2\n", "--v=2\n    - --other=1\n");
    fake.world().machines.get_mut("cp2").unwrap().write(path, text.as_bytes(), 0o600, now);
    let error = apply_once(&fake, &after(), &bundle).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.report().contains("on cp2 is not well"), "{}", error.report());
    assert!(fake.world().machines["cp1"].text(path).contains("--v=2\n"));
    assert_sound(&fake, "not well");
}

/// What no rolling change gives is refused before anything else is done, also when something else is asked for with it.
#[tokio::test]
async fn another_foundation_is_refused_and_nothing_moves() {
    type Change = fn(&mut Inventory);
    let (fake, bundle) = start().await;
    let calm = snapshot(&fake);
    let changes: [(Change, &str); 6] = [
        (|i| i.network.pods = vec!["10.1.0.0/16".parse().unwrap()], "pod network is 10.244.0.0/16"),
        (|i| i.network.services = vec!["10.2.0.0/16".parse().unwrap()], "service network is 10.96.0.0/16"),
        (|i| i.network.domain = "site.local".into(), "DNS domain is cluster.local"),
        (|i| i.endpoint.host = Some("api.site".into()), "API endpoint is api.lab.internal:8443"),
        (|i| i.endpoint.port = Some(9443), "the inventory says api.lab.internal:9443"),
        (|i| i.etcd.mode = provision::inventory::EtcdMode::External, "etcd is stacked on the control planes"),
    ];
    for (change, reason) in changes {
        let mut inv = before();
        inv.scheduler.extra_args.insert("v".into(), "4".into());
        change(&mut inv);
        let error = apply_once(&fake, &inv, &bundle).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Refused, "{}", error.report());
        assert!(error.report().contains(reason) && error.report().contains("Hint:"), "{}", error.report());
        assert!(snapshot(&fake) == calm, "{reason}");
    }
    assert_eq!(plan_ids(&fake, &before(), &bundle).await.unwrap(), Vec::<String>::new());
}
