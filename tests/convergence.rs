//! The real planner and engine against machines in memory: whatever breaks, running apply again converges.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use provision::bundle::{
    Addon, Artifact, ArtifactKind, BUNDLE_FORMAT, Blob, BlobRef, BundleManifest, Digest, Member, Verified,
};
use provision::error::{Error, Kind, Result};
use provision::exec::{self, Cancel, Context, HostRunner, NullSink, Options, RetryPolicy};
use provision::facts::{Severity, gather, observe, preflight};
use provision::host::{Connector as _, FakeCluster, FakeConnector, Fault, Host, NodeRecord};
use provision::inventory::{self, Arch, Inventory};
use provision::plan::{Fingerprints, PLAN_FORMAT, Plan, Step, assemble, desired, questions};

const INVENTORY: &str = r#"
[cluster]
name = "lab"
version = "1.36.2"
[network]
pods = ["10.244.0.0/16"]
services = ["10.96.0.0/16"]
[endpoint]
mode = "haproxy"
[verify]
timeout_s = 5
[[packages.repository]]
name = "debian"
type = "deb"
url = "https://deb.example/debian"
suite = "trixie"
components = ["main"]
keyring = "/k"
names = ["socat"]
[defaults]
user = "root"
key_file = "/k"
[[manifests]]
name = "limits"
path = "limits.yaml"
[[charts]]
name = "hello"
namespace = "shop"
source = { path = "charts/hello" }
values = { message = "hello" }
[[hosts]]
name = "cp1"
role = "control-plane"
address = "192.168.10.11"
[[hosts]]
name = "cp2"
role = "control-plane"
address = "192.168.10.12"
[[hosts]]
name = "cp3"
role = "control-plane"
address = "192.168.10.13"
[[hosts]]
name = "w1"
role = "worker"
address = "192.168.10.21"
labels = { disk = "ssd" }
[[hosts]]
name = "w2"
role = "worker"
address = "192.168.10.22"
taints = ["dedicated=db:NoSchedule"]
"#;

fn inventory() -> Inventory {
    inventory::parse(INVENTORY).unwrap_or_else(|d| panic!("{}", inventory::render("test", INVENTORY, &d))).inventory
}

fn artifact(kind: ArtifactKind, name: &str, version: &str, members: &[&str]) -> Artifact {
    let digest = Digest::of(name.as_bytes());
    let blob = |d: Digest| BlobRef { digest: d, size: 7, media_type: "application/octet-stream".into() };
    let mut blobs = vec![blob(digest.clone())];
    if kind == ArtifactKind::Image {
        blobs.push(blob(Digest::of(format!("{name} layer").as_bytes())));
    }
    let members =
        members.iter().map(|m| Member { path: (*m).into(), digest: Digest::of(m.as_bytes()), size: 3, mode: 0o755 });
    Artifact {
        kind,
        name: name.into(),
        version: version.into(),
        arch: Some(Arch::Amd64),
        manifest: digest.clone(),
        digest,
        size: 7,
        source: "https://example.com".into(),
        verified: Verified::LockOnly,
        blobs,
        members: members.collect(),
    }
}

fn addon(kind: ArtifactKind, namespace: &str, name: &str) -> Addon {
    Addon {
        kind,
        namespace: namespace.into(),
        name: name.into(),
        version: "0.1.0".into(),
        digest: Digest::of(name.as_bytes()),
        inputs: Digest::of(b""),
        images: Vec::new(),
    }
}

fn bundle(inv: &Inventory) -> BundleManifest {
    let mut artifacts: Vec<Artifact> = ["kubeadm", "kubelet", "kubectl", "runc"]
        .iter()
        .map(|n| artifact(ArtifactKind::Binary, n, "1.36.2", &[]))
        .collect();
    for (name, version, members) in [
        ("containerd", "2.2.1", &["bin/containerd", "bin/ctr"][..]),
        ("cni-plugins", "1.9.0", &["bridge", "host-local", "portmap"]),
        ("etcd", "3.6.8", &["etcd-v3/etcdctl"]),
        ("crictl", "1.36.0", &["crictl"]),
        ("helm", "4.2.3", &["linux-amd64/helm"]),
    ] {
        artifacts.push(artifact(ArtifactKind::Archive, name, version, members));
    }
    let addons = [(ArtifactKind::Manifest, "", "limits"), (ArtifactKind::Chart, "shop", "hello")];
    artifacts.extend(addons.iter().map(|(kind, _, name)| artifact(*kind, name, "0.1.0", &[])));
    artifacts.extend(
        [("deb-index", "0"), ("deb/socat", "1.7-1"), ("deb/libwrap0", "7-2")]
            .map(|(name, version)| artifact(ArtifactKind::Package, name, version, &[])),
    );
    let mut images: Vec<String> =
        ["kube-apiserver:v1.36.2", "kube-controller-manager:v1.36.2", "kube-scheduler:v1.36.2", "kube-proxy:v1.36.2"]
            .iter()
            .chain(&["etcd:3.6.8-0", "coredns/coredns:v1.12.0", "pause:3.10"])
            .map(|i| format!("registry.k8s.io/{i}"))
            .collect();
    images.extend(["docker.io/library/haproxy:3.2".to_owned(), inv.verify.image.clone()]);
    images.sort();
    images.dedup();
    artifacts.extend(images.iter().map(|i| artifact(ArtifactKind::Image, i, i.rsplit(':').next().unwrap(), &[])));
    BundleManifest {
        format_version: BUNDLE_FORMAT,
        kubernetes: "1.36.2".into(),
        lock: Digest::of(b"lock"),
        artifacts,
        addons: addons.map(|(kind, namespace, name)| addon(kind, namespace, name)).into(),
    }
}

/// A world of bare hosts that knows which images each host needs before kubeadm.
fn fresh(inv: &Inventory, bundle: &BundleManifest) -> FakeCluster {
    let fake = FakeCluster::new(&inv.nodes(), &inv.cluster.version);
    let planes_only = ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "/etcd"];
    let images: Vec<&str> =
        bundle.artifacts.iter().filter(|a| a.kind == ArtifactKind::Image).map(|a| a.name.as_str()).collect();
    for node in inv.nodes() {
        let needed: BTreeSet<String> = images
            .iter()
            .filter(|i| node.role.is_control_plane() || !planes_only.iter().any(|p| i.contains(p)))
            .map(|i| (*i).to_owned())
            .collect();
        fake.world().needed_images.insert(node.name, needed);
    }
    fake
}

type Hosts = BTreeMap<String, Arc<dyn Host>>;

async fn connect(fake: &FakeCluster, inv: &Inventory) -> Result<Hosts> {
    let mut hosts = Hosts::new();
    for node in inv.nodes() {
        hosts.insert(node.name.clone(), FakeConnector(fake.clone()).connect(&node).await?);
    }
    Ok(hosts)
}

async fn plan(inv: &Inventory, bundle: &BundleManifest, hosts: &Hosts) -> Result<Vec<Step>> {
    let facts = gather(inv, hosts, 5).await?;
    let bad: Vec<String> = preflight(inv, &facts)
        .into_iter()
        .filter(|f| f.severity == Severity::Error)
        .map(|f| format!("{}: {}: {}", f.host, f.check, f.message))
        .collect();
    if !bad.is_empty() {
        return Err(Error::refused(bad.join("; ")));
    }
    let wanted = desired(inv, bundle, &facts)?;
    let answers = observe(hosts, &questions(&wanted), 5).await?;
    Ok(assemble(&wanted, &answers))
}

async fn apply_once(fake: &FakeCluster, inv: &Inventory, bundle: &BundleManifest) -> Result<usize> {
    let hosts = connect(fake, inv).await?;
    let steps = plan(inv, bundle, &hosts).await?;
    let count = steps.len();
    if count == 0 {
        return Ok(0);
    }
    let inputs =
        Fingerprints { tool: "t".into(), inventory: Digest::of(b""), bundle: Digest::of(b""), hosts: BTreeMap::new() };
    let plan =
        Plan { format_version: PLAN_FORMAT, cluster: inv.cluster.name.clone(), inputs, steps, warnings: Vec::new() };
    let context = Context {
        hosts,
        blob: Box::new(|_| Ok(Blob { pieces: Vec::new() })),
        inventory: Arc::new(inv.clone()),
        sink: Arc::new(NullSink),
    };
    let options = Options {
        operation: "test".into(),
        command: "apply".into(),
        concurrency: 8,
        retry: RetryPolicy { pauses: vec![Duration::ZERO; 2] },
    };
    exec::run(&plan, Arc::new(HostRunner::new(context, &plan.steps)), &options, Arc::new(NullSink), Cancel::new())
        .await?;
    Ok(count)
}

/// The ids of what a plan would do now.
async fn plan_ids(fake: &FakeCluster, inv: &Inventory, bundle: &BundleManifest) -> Result<Vec<String>> {
    let hosts = connect(fake, inv).await?;
    Ok(plan(inv, bundle, &hosts).await?.into_iter().map(|s| s.id).collect())
}

#[derive(Debug, PartialEq)]
struct Snapshot {
    files: BTreeMap<(String, String), (Digest, u32)>,
    units: BTreeMap<(String, String), (bool, bool)>,
    images: BTreeMap<String, BTreeMap<String, String>>,
    packages: BTreeMap<String, BTreeMap<String, String>>,
    nodes: BTreeMap<String, NodeRecord>,
    etcd: BTreeSet<String>,
    test_namespace: bool,
    releases: BTreeMap<String, String>,
    manifests: BTreeSet<String>,
}

/// What must be the same however it came about. `/run` is memory, and left over credentials there are not state.
fn snapshot(fake: &FakeCluster) -> Snapshot {
    let world = fake.world();
    let mut shot = Snapshot {
        files: BTreeMap::new(),
        units: BTreeMap::new(),
        images: BTreeMap::new(),
        packages: BTreeMap::new(),
        nodes: world.nodes.clone(),
        etcd: world.etcd.keys().cloned().collect(),
        test_namespace: world.test_namespace,
        releases: world.releases.clone(),
        manifests: world.manifests.clone(),
    };
    for (name, m) in &world.machines {
        shot.images.insert(name.clone(), m.images.clone());
        shot.packages.insert(name.clone(), m.packages.clone());
        for (path, f) in m.files.iter().filter(|(p, _)| !p.starts_with("/run/")) {
            shot.files.insert((name.clone(), path.clone()), (f.digest.clone(), f.mode));
        }
        for (unit, u) in &m.units {
            shot.units.insert((name.clone(), unit.clone()), (u.active, u.enabled));
        }
    }
    shot
}

async fn undisturbed(inv: &Inventory, bundle: &BundleManifest) -> FakeCluster {
    let fake = fresh(inv, bundle);
    apply_once(&fake, inv, bundle).await.unwrap_or_else(|e| panic!("{}", e.report()));
    fake
}

fn assert_sound(fake: &FakeCluster, what: &str) {
    let world = fake.world();
    assert!(world.violations.is_empty(), "{what}: {:?}", world.violations);
}

/// Applies until the plan is empty; says how many times it took.
async fn converge(fake: &FakeCluster, inv: &Inventory, bundle: &BundleManifest, most: usize) -> Result<usize, String> {
    let mut last = String::new();
    for times in 1..=most {
        match apply_once(fake, inv, bundle).await {
            Ok(_) if plan_ids(fake, inv, bundle).await.is_ok_and(|ids| ids.is_empty()) => return Ok(times),
            Ok(_) => last = format!("{:?}", plan_ids(fake, inv, bundle).await.map_err(|e| e.to_string())),
            Err(e) => last = e.report(),
        }
    }
    Err(last)
}

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
    for k in (0..calls).step_by(step) {
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
    assert_eq!(ids, ["runtime/w2/containerd-config", "runtime/w2/containerd-service", "verify/cp1/ready-w2"]);
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
