//! Properties and a golden plan of the planner.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::bundle::{Addon, Artifact, ArtifactKind, BUNDLE_FORMAT, BlobRef, BundleManifest, Digest, Member, Verified};
use crate::error::Result;
use crate::facts::{Facts, HostFacts};
use crate::host::{Answer, FileKind, FileState, Probe, UnitState};
use crate::inventory::{Arch, Inventory, RegistryMode, parse};
use crate::resource::NodeState;

fn artifact(kind: ArtifactKind, name: &str, member: Option<&str>) -> Artifact {
    let digest = Digest::of(name.as_bytes());
    let blob = BlobRef { digest: digest.clone(), size: 10, media_type: "t".into() };
    Artifact {
        kind,
        name: name.into(),
        version: "2.0.0".into(),
        arch: Some(Arch::Amd64),
        digest: digest.clone(),
        size: 10,
        source: String::new(),
        verified: Verified::LockOnly,
        manifest: digest.clone(),
        blobs: vec![blob],
        members: member
            .map(|m| Member { path: m.into(), digest: Digest::of(m.as_bytes()), size: 1, mode: 0o755 })
            .into_iter()
            .collect(),
    }
}

pub(super) fn bundle() -> BundleManifest {
    let binaries = ["kubeadm", "kubelet", "kubectl", "runc"].map(|n| artifact(ArtifactKind::Binary, n, None));
    let archives = [("containerd", "bin/containerd"), ("cni-plugins", "./bridge"), ("etcd", "e/etcdctl")]
        .map(|(n, m)| artifact(ArtifactKind::Archive, n, Some(m)));
    let images = [
        "registry.k8s.io/kube-apiserver:v1.36.2",
        "registry.k8s.io/kube-proxy:v1.36.2",
        "registry.k8s.io/etcd:3.6.8-0",
        "registry.k8s.io/pause:3.10.2",
        "docker.io/library/haproxy:3.2",
        "docker.io/library/busybox:1.36",
    ]
    .map(|n| artifact(ArtifactKind::Image, n, None));
    BundleManifest {
        format_version: BUNDLE_FORMAT,
        kubernetes: "1.36.2".into(),
        lock: Digest::of(b""),
        artifacts: binaries.into_iter().chain(archives).chain(images).collect(),
        addons: Vec::new(),
    }
}

pub(super) fn inventory(control_planes: usize, workers: usize) -> Inventory {
    let mut text = String::from("[cluster]\nname = \"t\"\nversion = \"1.36.2\"\n[endpoint]\nmode = \"haproxy\"\n");
    for n in 0..control_planes {
        text += &format!("[[hosts]]\nname = \"cp{n}\"\naddress = \"10.0.0.{}\"\nrole = \"control-plane\"\n", n + 1);
    }
    for n in 0..workers {
        text += &format!(
            "[[hosts]]\nname = \"w{n}\"\naddress = \"10.0.1.{}\"\nrole = \"worker\"\nlabels = {{ a = \"b\" }}\n",
            n + 1
        );
    }
    match parse(&text) {
        Ok(loaded) => loaded.inventory,
        Err(all) => panic!("{all:?}"),
    }
}

pub(super) fn bare(inv: &Inventory) -> Facts {
    let host = || HostFacts {
        machine: "x86_64".into(),
        bridge_nf: true,
        modules: [("overlay", "present"), ("br_netfilter", "loadable")].map(|(k, v)| (k.into(), v.into())).into(),
        ..HostFacts::default()
    };
    Facts { hosts: inv.hosts.iter().map(|h| (h.name.clone(), host())).collect(), ..Facts::default() }
}

/// A member of cluster `t`, as the node-state probe would see it.
pub(super) fn member(host: &mut HostFacts, control_plane: bool) {
    let manifests = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"];
    host.state = NodeState {
        kubelet_conf: true,
        claim: Some("t".into()),
        joined: true,
        node: Some(true),
        control_plane_label: control_plane,
        manifests: if control_plane { manifests.map(String::from).into() } else { Vec::new() },
        ..NodeState::default()
    };
}

fn steps(inv: &Inventory, facts: &Facts) -> Result<Vec<Step>> {
    Ok(assemble(&desired(inv, &bundle(), facts)?, &Observations::new()))
}

#[test]
fn a_bare_cluster_is_planned_in_order() -> Result<()> {
    let inv = inventory(3, 2);
    let plan: String = steps(&inv, &bare(&inv))?
        .iter()
        .filter(|s| !matches!(s.phase, PhaseId::Distribute | PhaseId::Runtime | PhaseId::Prepare))
        .map(|s| format!("{}  <- {}\n", s.id, s.needs.join(", ")))
        .collect();
    insta::assert_snapshot!(plan);
    Ok(())
}

/// The etcd of a bundle is refused for a new cluster, and where Kubernetes itself stays as it is.
#[test]
fn an_etcd_that_kubeadm_or_the_data_cannot_take_is_refused() -> Result<()> {
    let inv = inventory(3, 0);
    let with_etcd = |tag: &str| {
        let mut bundle = bundle();
        for image in bundle.artifacts.iter_mut().filter(|a| a.name.starts_with("registry.k8s.io/etcd")) {
            image.name = format!("registry.k8s.io/etcd:{tag}");
        }
        bundle
    };
    let refused = |tag: &str, facts: &Facts| desired(&inv, &with_etcd(tag), facts).err().map(|e| e.report());
    let said = refused("3.5.30-0", &bare(&inv)).unwrap_or_default();
    assert!(said.contains("kubeadm 1.36.2 starts etcd with flags that etcd 3.5.30 does not have"), "{said}");
    assert_eq!(refused("3.6.8-0", &bare(&inv)), None);
    let mut facts = running(&inv, "v1.36.2")?;
    for (tag, part) in [("3.6.8-0", None), ("3.6.11-0", None), ("3.5.21-0", Some("etcd 3.6.8 cannot take over from"))] {
        for host in facts.hosts.values_mut() {
            host.upgrade.etcd = Some(tag.into());
        }
        let said = refused(if part.is_none() { "3.6.11-0" } else { "3.6.8-0" }, &facts);
        assert_eq!(said.is_some(), part.is_some(), "{tag}: {said:?}");
        assert!(part.is_none_or(|p| said.as_ref().is_some_and(|s| s.contains(p))), "{said:?}");
    }
    Ok(())
}

/// A whole cluster whose kubelets are of `version`.
fn running(inv: &Inventory, version: &str) -> Result<Facts> {
    let mut facts = bare(inv);
    for host in &inv.hosts {
        if let Some(found) = facts.hosts.get_mut(&host.name) {
            member(found, host.role.is_control_plane());
        }
    }
    let items: Vec<serde_json::Value> = inv
        .hosts
        .iter()
        .map(|h| {
            serde_json::json!({
                "metadata": {"name": h.name},
                "status": {"nodeInfo": {"kubeletVersion": version}, "conditions": [{"type": "Ready", "status": "True"}]},
            })
        })
        .collect();
    facts.nodes = Some(crate::kubeadm::nodes(&serde_json::json!({ "items": items }).to_string())?);
    facts.voice = inv.hosts.first().map(|h| h.name.clone());
    facts.etcd = Some(Vec::new());
    facts.budgets = Some(Vec::new());
    Ok(facts)
}

#[test]
fn an_older_cluster_is_planned_as_a_rolling_upgrade() -> Result<()> {
    let mut inv = inventory(3, 3);
    inv.upgrade.max_unavailable = crate::inventory::Share::Count(2);
    let plan: String = steps(&inv, &running(&inv, "v1.35.4")?)?
        .iter()
        .filter(|s| s.phase >= PhaseId::Snapshot && s.phase < PhaseId::Init)
        .map(|s| format!("{} [{:?}]  <- {}\n", s.id, s.disruption, s.needs.join(", ")))
        .collect();
    insta::assert_snapshot!(plan);
    Ok(())
}

#[test]
fn a_version_that_cannot_be_reached_is_refused() -> Result<()> {
    let inv = inventory(1, 1);
    for version in ["v1.32.9", "v1.36.3", "v1.37.0"] {
        let refused = desired(&inv, &bundle(), &running(&inv, version)?).map_err(|e| e.kind());
        assert_eq!(refused.map(|_| ()), Err(crate::error::Kind::Refused), "{version}");
    }
    Ok(())
}

#[test]
fn the_hosts_of_a_builtin_registry_serve_what_all_others_pull() -> Result<()> {
    let mut inv = inventory(1, 2);
    inv.registry.mode = RegistryMode::Builtin;
    inv.registry.hosts = ["w0", "w1"].map(str::to_owned).into();
    let chart = "docker.io/library/page:1";
    let mut bundle = bundle();
    bundle.artifacts.push(artifact(ArtifactKind::Binary, "provision", None));
    bundle.artifacts.push(artifact(ArtifactKind::Image, chart, None));
    bundle.addons.push(Addon {
        kind: ArtifactKind::Manifest,
        namespace: String::new(),
        name: "page".into(),
        version: String::new(),
        digest: Digest::of(b"page"),
        inputs: Digest::of(b""),
        images: vec![chart.into(), "docker.io/library/busybox:1.36".into()],
    });
    let mut facts = bare(&inv);
    let plan =
        |facts: &Facts| Ok::<_, crate::error::Error>(assemble(&desired(&inv, &bundle, facts)?, &Observations::new()));
    let steps = plan(&facts)?;
    let at = |id: &str| position(&steps, id);
    // Nobody has the chart's image beforehand; the registry's hosts have its blob, and the cluster's own are everywhere.
    assert!(steps.iter().all(|s| !matches!(&s.action, Action::ImportImage { name, .. } if name == chart)));
    assert!(at("images/cp0/docker.io/library/busybox:1.36").is_some());
    let blob = |host: &str| at(&format!("distribute/{host}/{}", Digest::of(chart.as_bytes()).short()));
    assert!(blob("cp0").is_none() && blob("w0").is_some() && blob("w1").is_some());
    assert!(at("runtime/cp0/provision").is_none() && at("runtime/w1/provision").is_some());
    // One CA: the first makes it, the second waits for it, everybody trusts it after both.
    assert!(reaches(&steps, "registry/w1/identity", "registry/w0/identity"));
    for host in ["cp0", "w0", "w1"] {
        let trust = format!("registry/{host}/trust");
        assert!(reaches(&steps, &trust, "registry/w0/identity") && reaches(&steps, &trust, "registry/w1/identity"));
    }
    // What it serves reads back as a bundle of images alone.
    let served = steps.iter().find_map(|s| match &s.action {
        Action::WriteFile { path, content, .. } if s.id == "registry/w0/content" => Some((path, content)),
        _ => None,
    });
    let Some((path, content)) = served else { panic!("nothing is served") };
    let served = BundleManifest::from_json(content, path)?;
    assert!(served.artifacts.iter().all(|a| a.kind == ArtifactKind::Image) && served.artifacts.len() == 7);
    // A CA that is known is part of the plan.
    let known = Digest::of(b"ca");
    if let Some(host) = facts.hosts.get_mut("w1") {
        host.registry_ca = Some(known.clone());
    }
    let trusts = plan(&facts)?.into_iter().filter_map(|s| match s.action {
        Action::RegistryTrust { ca, .. } => Some(ca),
        _ => None,
    });
    assert_eq!(trusts.collect::<Vec<_>>(), vec![Some(known); 3]);
    Ok(())
}

fn position(steps: &[Step], id: &str) -> Option<usize> {
    steps.iter().position(|s| s.id == id)
}

proptest! {
    #[test]
    fn every_step_stands_after_what_it_needs(planes in 1usize..6, workers in 0usize..8, joined in proptest::collection::vec(any::<bool>(), 14)) {
        let inv = inventory(planes, workers);
        let mut facts = bare(&inv);
        for (n, host) in inv.hosts.iter().enumerate() {
            if let (true, Some(found)) = (joined[n], facts.hosts.get_mut(&host.name)) {
                member(found, host.role.is_control_plane());
            }
        }
        let steps = steps(&inv, &facts).map_err(|e| TestCaseError::fail(e.report()))?;
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        for step in &steps {
            for need in &step.needs {
                prop_assert!(seen.contains(need.as_str()), "{} needs {need}, which does not stand before it", step.id);
            }
            prop_assert!(seen.insert(&step.id), "{} stands twice", step.id);
        }
        // The engine takes it.
        prop_assert!(crate::exec::Schedule::new(&steps, 4).is_ok());
        // Init only where there is no control plane yet, and once.
        let inits = steps.iter().filter(|s| matches!(s.action, Action::KubeadmInit { .. })).count();
        let any_plane = joined[..planes].iter().any(|j| *j);
        // The members' own actions are in the list too: nothing was observed, so nothing counts as satisfied.
        prop_assert_eq!(inits, usize::from(!any_plane));
        // Control planes join one after the other: each but the first needs the one before to be marked.
        let mut joins: Vec<&Step> = steps.iter().filter(|s| matches!(s.action, Action::KubeadmJoin { control_plane: true, .. })).collect();
        joins.sort_by_key(|s| position(&steps, &s.id));
        for pair in joins.windows(2) {
            let mark = format!("join-control-plane/{}/joined", pair[0].host);
            prop_assert!(reaches(&steps, &pair[1].id, &mark), "{} does not wait for {mark}", pair[1].id);
        }
        // Nothing of kubeadm before every image of every host.
        let images: Vec<&Step> = steps.iter().filter(|s| s.phase == PhaseId::Images).collect();
        for kubeadm in steps.iter().filter(|s| matches!(s.action, Action::KubeadmInit { .. } | Action::KubeadmJoin { .. })) {
            for image in &images {
                prop_assert!(reaches(&steps, &kubeadm.id, &image.id), "{} does not wait for {}", kubeadm.id, image.id);
            }
        }
    }

    #[test]
    fn a_share_of_the_pod_network_is_kept_and_never_given_twice(
        hosts in 1usize..30, kept in proptest::collection::vec(proptest::option::of(0u8..60), 30), removed in 0usize..30,
    ) {
        let mut inv = inventory(1, hosts);
        let mut facts = bare(&inv);
        for (n, host) in inv.hosts.iter().enumerate() {
            if let (Some(third), Some(found)) = (kept[n % 30], facts.hosts.get_mut(&host.name)) {
                found.pod_cidrs = vec![format!("10.244.{third}.0/24")];
            }
        }
        let first = allot(&inv, &facts).map_err(|e| TestCaseError::fail(e.report()))?;
        let all: BTreeSet<_> = first.values().flatten().collect();
        prop_assert_eq!(all.len(), inv.hosts.len());
        // What they hold now is what they keep, also when another host goes.
        for (name, cidrs) in &first {
            if let Some(found) = facts.hosts.get_mut(name) {
                found.pod_cidrs = cidrs.iter().map(ToString::to_string).collect();
            }
        }
        let gone = removed % inv.hosts.len();
        inv.hosts.remove(gone);
        inv.hosts.reverse();
        let second: BTreeMap<_, _> = allot(&inv, &facts).map_err(|e| TestCaseError::fail(e.report()))?;
        for (name, cidrs) in &second {
            prop_assert_eq!(Some(cidrs), first.get(name));
        }
    }
}

/// Whether `from` needs `to`, over any number of steps, or runs after it on the same host.
fn reaches(steps: &[Step], from: &str, to: &str) -> bool {
    let by_id: BTreeMap<&str, &Step> = steps.iter().map(|s| (s.id.as_str(), s)).collect();
    let (mut open, mut seen) = (vec![from], BTreeSet::new());
    while let Some(id) = open.pop() {
        if id == to {
            return true;
        }
        if let (true, Some(step)) = (seen.insert(id), by_id.get(id)) {
            open.extend(step.needs.iter().map(String::as_str));
        }
    }
    false
}

#[test]
fn a_whole_host_needs_nothing() -> Result<()> {
    // Every answer is made from the action itself: what is written is there.
    let inv = inventory(1, 0);
    let mut facts = bare(&inv);
    if let Some(host) = facts.hosts.get_mut("cp0") {
        member(host, true);
    }
    let wanted = desired(&inv, &bundle(), &facts)?;
    let file = |content: &str, mode: u32| {
        Answer::File(crate::host::FileState {
            kind: crate::host::FileKind::File,
            mode,
            uid: 0,
            gid: 0,
            size: content.len() as u64,
            mtime_us: 1,
            digest: Some(Digest::of(content.as_bytes())),
            content: Some(content.into()),
            target: None,
        })
    };
    let mut seen: BTreeMap<Probe, Answer> = BTreeMap::new();
    for d in &wanted {
        if let Action::WriteFile { path, content, mode } = &d.action {
            seen.insert(Probe::Content(path.clone()), file(content, *mode));
        }
    }
    let left: Vec<String> = assemble(&wanted, &[("cp0".to_owned(), seen)].into())
        .into_iter()
        .filter(|s| matches!(s.action, Action::WriteFile { .. }))
        .map(|s| s.id)
        .collect();
    assert_eq!(left, Vec::<String>::new());
    Ok(())
}

/// Two charts and a manifest, and a bundle that has them.
fn with_addons() -> (Inventory, BundleManifest) {
    let (mut inv, mut bundle) = (inventory(1, 1), bundle());
    let text = "
[[manifests]]
name = \"limits\"
path = \"limits.yaml\"
[[charts]]
name = \"zero\"
namespace = \"shop\"
source = { path = \"charts/zero\" }
values = { greeting = \"hunter2\" }
[[charts]]
name = \"alpha\"
source = { path = \"charts/zero\" }
timeout_s = 60
atomic = false
";
    #[derive(serde::Deserialize)]
    struct Part {
        charts: Vec<crate::inventory::Chart>,
        manifests: Vec<crate::inventory::RawManifest>,
    }
    let part: Part = toml::from_str(text).unwrap_or_else(|e| panic!("{e}"));
    (inv.charts, inv.manifests) = (part.charts, part.manifests);
    bundle.artifacts.push(artifact(ArtifactKind::Archive, "helm", Some("linux-amd64/helm")));
    let addon = |kind, namespace: &str, name: &str, from: &str| Addon {
        kind,
        namespace: namespace.into(),
        name: name.into(),
        version: "0.1.0".into(),
        digest: Digest::of(from.as_bytes()),
        inputs: Digest::of(b""),
        images: Vec::new(),
    };
    bundle.addons = vec![
        addon(ArtifactKind::Chart, "default", "alpha", "zero"),
        addon(ArtifactKind::Chart, "shop", "zero", "zero"),
        addon(ArtifactKind::Manifest, "", "limits", "limits"),
    ];
    (inv, bundle)
}

#[test]
fn addons_come_in_the_order_of_the_inventory_and_hold_no_values() -> Result<()> {
    let (inv, bundle) = with_addons();
    let steps = assemble(&desired(&inv, &bundle, &bare(&inv))?, &Observations::new());
    assert!(!serde_json::to_string(&steps).unwrap_or_default().contains("hunter2"));
    let plan: String = steps
        .iter()
        .filter(|s| matches!(s.phase, PhaseId::Label | PhaseId::Addons | PhaseId::Verify) || s.id.ends_with("/helm"))
        .map(|s| format!("{}  {}  <- {}\n", s.id, s.title(), s.needs.join(", ")))
        .collect();
    insta::assert_snapshot!(plan);
    Ok(())
}

#[test]
fn a_bundle_without_a_wanted_addon_is_refused() {
    let (inv, bundle) = with_addons();
    for at in 0..3 {
        let mut less = bundle.clone();
        less.addons.remove(at);
        let error = desired(&inv, &less, &bare(&inv)).err().map(|e| e.kind());
        assert_eq!(error, Some(crate::error::Kind::Invalid));
    }
}

#[test]
fn what_watches_the_first_control_plane_starts_again_when_etcd_grew_without_a_leader() -> Result<()> {
    let id = "verify/cp0/watches";
    let planned = |planes: usize, version: &str, members: usize| {
        let mut inv = inventory(planes, 1);
        inv.cluster.version = version.into();
        let mut facts = bare(&inv);
        for host in inv.hosts.iter().take(members) {
            if let Some(found) = facts.hosts.get_mut(&host.name) {
                member(found, true);
            }
        }
        steps(&inv, &facts)
    };
    let grown = planned(3, "1.28.4", 0)?;
    assert!(reaches(&grown, id, "join-control-plane/cp2/joined") && reaches(&grown, "verify/cp0/pod-network", id));
    assert!(position(&planned(3, "1.28.4", 1)?, id).is_some(), "from one to three");
    assert!(position(&planned(3, "1.29.0", 0)?, id).is_none(), "etcd grows by learners");
    assert!(position(&planned(3, "1.28.4", 2)?, id).is_none(), "two keep their leader");
    assert!(position(&planned(1, "1.28.4", 0)?, id).is_none(), "nothing grows");
    Ok(())
}

#[test]
fn a_unit_starts_again_in_the_run_that_changes_its_files() {
    let path = "/etc/x.conf".to_owned();
    let desired = |content: &str| {
        let one = |what: &str, action: Action| Desired {
            id: format!("runtime/a/{what}"),
            phase: PhaseId::Runtime,
            host: "a".into(),
            action,
            reason: String::new(),
            disruption: Disruption::Quiet,
            after: Vec::new(),
            when: When::Drift,
        };
        let unit = Action::Unit {
            name: "x.service".into(),
            enabled: true,
            active: Some(true),
            started_after: vec![path.clone()],
        };
        let file = Action::WriteFile { path: path.clone(), content: content.into(), mode: 0o644 };
        vec![one("file", file), one("service", unit)]
    };
    let file = Answer::File(FileState {
        kind: FileKind::File,
        mode: 0o644,
        uid: 0,
        gid: 0,
        size: 3,
        mtime_us: 1,
        digest: Some(Digest::of(b"old")),
        content: None,
        target: None,
    });
    let unit = Answer::Unit(UnitState {
        active: "active".into(),
        enabled: "enabled".into(),
        needs_reload: false,
        started_us: 2,
    });
    let answers = [
        (Probe::Content(path.clone()), file.clone()),
        (Probe::File(path.clone()), file),
        (Probe::Unit("x.service".into()), unit),
    ];
    let seen: Observations = [("a".to_owned(), answers.into())].into();
    let ids = |desired: &[Desired]| assemble(desired, &seen).into_iter().map(|s| s.id).collect::<Vec<_>>();
    assert_eq!(ids(&desired("old")), Vec::<String>::new());
    assert_eq!(ids(&desired("new")), ["runtime/a/file", "runtime/a/service"]);
}

#[test]
fn backups_are_scheduled_on_control_planes_and_unscheduled_again() -> Result<()> {
    let mut inv = inventory(2, 1);
    inv.backup.schedule = Some("02:30".into());
    inv.backup.recipients = vec!["age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p".into()];
    let mut with = bundle();
    with.artifacts.push(artifact(ArtifactKind::Binary, "provision", None));
    let mut facts = bare(&inv);
    let plan = |inv: &Inventory, facts: &Facts| {
        Ok::<_, crate::error::Error>(assemble(&desired(inv, &with, facts)?, &Observations::new()))
    };
    let all = plan(&inv, &facts)?;
    for (host, phase) in [("cp0", "init"), ("cp1", "join-control-plane")] {
        assert!(position(&all, &format!("runtime/{host}/provision")).is_some());
        // Nobody who joins waits for it, and it comes after the join.
        assert!(reaches(&all, &format!("{phase}/{host}/backup-schedule"), &format!("{phase}/{host}/joined")));
    }
    assert!(!reaches(&all, "join-control-plane/cp1/kubeadm", "init/cp0/backup-settings"));
    assert!(!all.iter().any(|s| s.host == "w0" && (s.id.contains("backup") || s.id.ends_with("/provision"))));
    // What the unit is told is an inventory of that host alone.
    let told = all.iter().find_map(|s| match &s.action {
        Action::WriteFile { content, .. } if s.id == "join-control-plane/cp1/backup-settings" => parse(content).ok(),
        _ => None,
    });
    let told = told.map(|l| l.inventory);
    let hosts = told.iter().flat_map(|i| &i.hosts).map(|h| (h.name.as_str(), h.address)).collect::<Vec<_>>();
    assert_eq!(hosts, [("cp1", "10.0.0.2".parse().unwrap_or(inv.hosts[0].address))]);
    assert_eq!(told.map(|i| i.backup.recipients), Some(inv.backup.recipients.clone()));

    // No schedule: a host that has the timer loses it, and only such a host.
    inv.backup = crate::inventory::Backup::default();
    for host in facts.hosts.values_mut() {
        member(host, true);
    }
    if let Some(host) = facts.hosts.get_mut("cp1") {
        host.snapshot_timer = true;
    }
    let found: Vec<String> =
        desired(&inv, &with, &facts)?.into_iter().map(|d| d.id).filter(|id| id.contains("backup")).collect();
    let ids = ["schedule", "settings", "service", "timer"].map(|what| format!("join-control-plane/cp1/backup-{what}"));
    assert_eq!(found, ids);
    Ok(())
}
