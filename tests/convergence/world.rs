//! The world of these tests: an inventory, a bundle for it, and machines in memory that are planned for and applied to.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::StepBy;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use provision::bundle::{
    Addon, Artifact, ArtifactKind, BUNDLE_FORMAT, Blob, BlobRef, BundleManifest, Digest, Member, Verified,
};
use provision::error::{Error, Result};
use provision::exec::{self, Cancel, Context, HostRunner, NullSink, Options, RetryPolicy};
use provision::facts::{Severity, gather, observe, preflight};
use provision::host::{Connector as _, FakeCluster, FakeConnector, Fault, Host, NodeRecord};
use provision::inventory::{self, Arch, Inventory};
use provision::plan::{Plan, Step, assemble, check_drains, desired, drain_questions, questions};

pub const INVENTORY: &str = r#"
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

pub fn inventory() -> Inventory {
    read(INVENTORY)
}

pub fn read(text: &str) -> Inventory {
    inventory::parse(text).unwrap_or_else(|d| panic!("{}", inventory::render("test", text, &d))).inventory
}

pub fn artifact(kind: ArtifactKind, name: &str, version: &str, members: &[&str]) -> Artifact {
    // Kubernetes' own binaries differ by version; the rest is the same in every bundle here.
    let own = kind == ArtifactKind::Binary && name != "runc";
    let digest = if own { Digest::of(format!("{name} {version}").as_bytes()) } else { Digest::of(name.as_bytes()) };
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

pub fn bundle(inv: &Inventory) -> BundleManifest {
    let version = inv.cluster.version.as_str();
    let mut artifacts: Vec<Artifact> = ["kubeadm", "kubelet", "kubectl", "runc"]
        .iter()
        .map(|n| artifact(ArtifactKind::Binary, n, version, &[]))
        .collect();
    for (name, version, members) in [
        ("containerd", "2.2.1", &["bin/containerd", "bin/ctr"][..]),
        ("cni-plugins", "1.9.0", &["bridge", "host-local", "portmap"]),
        ("etcd", "3.6.8", &["etcd-v3/etcdctl", "etcd-v3/etcdutl"]),
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
    let mut images: Vec<String> = ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy"]
        .map(|i| format!("{i}:v{version}"))
        .into_iter()
        .chain(["etcd:3.6.8-0", "coredns/coredns:v1.12.0", "pause:3.10"].map(str::to_owned))
        .map(|i| format!("registry.k8s.io/{i}"))
        .collect();
    images.extend(["docker.io/library/haproxy:3.2".to_owned(), inv.verify.image.clone()]);
    images.sort();
    images.dedup();
    artifacts.extend(images.iter().map(|i| artifact(ArtifactKind::Image, i, i.rsplit(':').next().unwrap(), &[])));
    BundleManifest {
        format_version: BUNDLE_FORMAT,
        kubernetes: version.into(),
        lock: Digest::of(b"lock"),
        artifacts,
        addons: addons.map(|(kind, namespace, name)| addon(kind, namespace, name)).into(),
    }
}

/// A world of bare hosts that knows which images each host needs before kubeadm.
pub fn fresh(inv: &Inventory, bundle: &BundleManifest) -> FakeCluster {
    let fake = FakeCluster::new(&inv.machines(), &inv.cluster.version);
    need(&fake, inv, bundle);
    fake
}

/// From now on these are the images without which no kubeadm may run.
pub fn need(fake: &FakeCluster, inv: &Inventory, bundle: &BundleManifest) {
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
}

pub type Hosts = BTreeMap<String, Arc<dyn Host>>;

pub async fn connect(fake: &FakeCluster, inv: &Inventory) -> Result<Hosts> {
    let mut hosts = Hosts::new();
    for node in inv.machines() {
        hosts.insert(node.name.clone(), FakeConnector(fake.clone()).connect(&node).await?);
    }
    Ok(hosts)
}

pub async fn plan(inv: &Inventory, bundle: &BundleManifest, hosts: &Hosts) -> Result<Vec<Step>> {
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
    let mut steps = assemble(&wanted, &answers);
    drains(inv, hosts, &mut steps).await?;
    Ok(steps)
}

pub async fn drains(inv: &Inventory, hosts: &Hosts, steps: &mut [Step]) -> Result<()> {
    let answers = observe(hosts, &drain_questions(steps), 5).await?;
    check_drains(inv, steps, &answers)
}

pub async fn apply_once(fake: &FakeCluster, inv: &Inventory, bundle: &BundleManifest) -> Result<usize> {
    let hosts = connect(fake, inv).await?;
    let steps = plan(inv, bundle, &hosts).await?;
    let count = steps.len();
    if count == 0 {
        return Ok(0);
    }
    execute(inv, hosts, steps).await?;
    Ok(count)
}

/// Carries out steps as a command does.
pub async fn execute(inv: &Inventory, hosts: Hosts, steps: Vec<Step>) -> Result<()> {
    let plan = Plan::of(&inv.cluster.name, steps);
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
        .await
        .map(drop)
}

/// The ids of what a plan would do now.
pub async fn plan_ids(fake: &FakeCluster, inv: &Inventory, bundle: &BundleManifest) -> Result<Vec<String>> {
    let hosts = connect(fake, inv).await?;
    Ok(plan(inv, bundle, &hosts).await?.into_iter().map(|s| s.id).collect())
}

#[derive(Debug, PartialEq)]
pub struct Snapshot {
    files: BTreeMap<(String, String), (Digest, u32)>,
    units: BTreeMap<(String, String), (bool, bool)>,
    images: BTreeMap<String, BTreeMap<String, String>>,
    packages: BTreeMap<String, BTreeMap<String, String>>,
    nodes: BTreeMap<String, NodeRecord>,
    etcd: BTreeSet<String>,
    test_namespace: bool,
    releases: BTreeMap<String, String>,
    manifests: BTreeSet<String>,
    dns_nodes: usize,
}

/// What must be the same however it came about. `/run` is memory, and left over credentials there are not state.
pub fn snapshot(fake: &FakeCluster) -> Snapshot {
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
        dns_nodes: world.dns.nodes(),
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

pub async fn undisturbed(inv: &Inventory, bundle: &BundleManifest) -> FakeCluster {
    let fake = fresh(inv, bundle);
    apply_once(&fake, inv, bundle).await.unwrap_or_else(|e| panic!("{}", e.report()));
    fake
}

pub fn assert_sound(fake: &FakeCluster, what: &str) {
    let world = fake.world();
    assert!(world.violations.is_empty(), "{what}: {:?}", world.violations);
}

/// Applies until the plan is empty; says how many times it took.
pub async fn converge(
    fake: &FakeCluster,
    inv: &Inventory,
    bundle: &BundleManifest,
    most: usize,
) -> Result<usize, String> {
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

/// Another world that is the same now.
pub fn copy(of: &FakeCluster) -> FakeCluster {
    let fake = FakeCluster::default();
    let world = of.world().clone();
    *fake.world() = world;
    fake
}

/// The calls at which a fault is tried: all of them, or one of `N` when `PROVISION_TEST_CALLS=N` says so; `N:R` begins with
/// call R, so that other calls are tried on another day.
pub fn sampled(calls: Range<u64>) -> StepBy<Range<u64>> {
    let wanted = std::env::var("PROVISION_TEST_CALLS").unwrap_or_else(|_| "1".into());
    let (every, first) = wanted.split_once(':').unwrap_or((&wanted, "0"));
    let number = |text: &str| text.parse::<u64>().unwrap_or_else(|_| panic!("PROVISION_TEST_CALLS={wanted}"));
    let every = number(every);
    (calls.start + number(first) % every..calls.end).step_by(usize::try_from(every).unwrap())
}

/// Applies once undisturbed; then, each time from `start`, with `fault` at each call that this took, and a second run has
/// to end where it did. `check` says what that is.
pub async fn every_call_faulted(
    start: &FakeCluster,
    inv: &Inventory,
    bundle: &BundleManifest,
    fault: Fault,
    check: impl Fn(&FakeCluster, &str),
) {
    let reference = copy(start);
    apply_once(&reference, inv, bundle).await.unwrap();
    let calls = reference.world().calls;
    let wanted = snapshot(&reference);
    for k in sampled(0..calls) {
        let fake = copy(start);
        fake.world().faults.insert(k, fault);
        let _ = apply_once(&fake, inv, bundle).await;
        let what = format!("{fault:?} at call {k}");
        converge(&fake, inv, bundle, 1).await.unwrap_or_else(|e| panic!("{what}: {e}"));
        check(&fake, &what);
        assert_eq!(snapshot(&fake), wanted, "{what}");
    }
}
