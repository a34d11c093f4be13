//! How long pure planning takes for a large cluster: printed, not asserted. `tests/plan/bench.sh` runs it.
//!
//! The nodes have no CNI plugin of ours: with `bridge` every node has a route to every other, which no one wants at
//! this size.

#![expect(clippy::print_stdout, reason = "it prints figures")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Instant;

use provision::bundle::{Artifact, ArtifactKind, BUNDLE_FORMAT, BlobRef, BundleManifest, Digest, Member, Verified};
use provision::error::{Error, Result};
use provision::exec::{End, Schedule};
use provision::facts::{CgroupVersion, Facts, HostFacts};
use provision::inventory::{Arch, Inventory};
use provision::kubeadm::NodeObject;
use provision::plan::{Observations, Step, assemble, desired};
use provision::upgrade::{InUse, Presence, Running, Worker, dropped, refusals, waves};
use provision::version::KubeVersion;

const CONTROL_PLANES: usize = 3;
const POOLS: usize = 10;

fn main() -> Result<()> {
    let start = Instant::now();
    let nodes = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(5000);
    let inv = inventory(nodes)?;
    let (from, to) = (KubeVersion { major: 1, minor: 35, patch: 1 }, KubeVersion { major: 1, minor: 36, patch: 2 });
    println!("{nodes} nodes, {CONTROL_PLANES} control planes, {POOLS} pools");

    let resolved = inv.workers();
    let workers: Vec<_> = resolved
        .iter()
        .map(|w| Worker { name: &w.name, pool: w.pool.as_deref(), presence: Presence::Serves })
        .collect();
    let all = timed("waves of an upgrade", || Ok(waves(&workers, &inv.upgrade)))?;
    println!("    {} waves", all.len());

    let running = Running {
        api_servers: inv.control_planes().into_iter().map(|n| (n.name, from)).collect(),
        kubelets: inv.hosts.iter().map(|h| (h.name.clone(), from)).collect(),
        cgroups: inv.hosts.iter().map(|h| (h.name.clone(), Default::default())).collect(),
        ..Running::default()
    };
    let refused = timed("what forbids it", || {
        let mut all = refusals(&running, to, &inv);
        all.extend(dropped(from, to, &InUse::of(&inv))?);
        Ok(all)
    })?;
    println!("    {} refusals", refused.len());

    let bundle = bundle();
    let new = steps("a new cluster", &inv, &bundle, &facts(&inv))?;
    let upgrade = steps("an upgrade", &inv, &bundle, &members(&inv, "v1.35.1"))?;
    for (what, plan) in [("the new cluster", new), ("the upgrade", upgrade)] {
        let mut schedule = timed(&format!("schedule of {what}"), || Schedule::new(&plan, 64))?;
        let done = timed(&format!("{what} carried out in no time"), || carry_out(&mut schedule))?;
        println!("    {done} steps");
    }
    println!("all of it: {:.3} s", start.elapsed().as_secs_f64());
    Ok(())
}

fn steps(what: &str, inv: &Inventory, bundle: &BundleManifest, facts: &Facts) -> Result<Vec<Step>> {
    let wanted = timed(&format!("what {what} needs"), || desired(inv, bundle, facts))?;
    println!("    {} actions", wanted.len());
    let steps = timed(&format!("the steps of {what}"), || Ok(assemble(&wanted, &Observations::new())))?;
    let edges: usize = steps.iter().map(|s| s.needs.len()).sum();
    println!("    {} steps, {edges} needs", steps.len());
    Ok(steps)
}

fn carry_out(schedule: &mut Schedule) -> Result<usize> {
    let mut running = std::collections::VecDeque::new();
    let mut done = 0;
    loop {
        while let Some(index) = schedule.start_next() {
            running.push_back(index);
        }
        let Some(index) = running.pop_front() else { break };
        schedule.end(index, End::Well);
        done += 1;
    }
    if schedule.is_done() { Ok(done) } else { Err(Error::failed("the schedule came to a halt")) }
}

fn timed<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    let made = work()?;
    println!("{what}: {:.3} s", start.elapsed().as_secs_f64());
    Ok(made)
}

fn inventory(nodes: usize) -> Result<Inventory> {
    let mut text = String::from(
        "[cluster]\nname = \"large\"\nversion = \"1.36.2\"\n[endpoint]\nmode = \"haproxy\"\n[cni]\nplugin = \"none\"\n\
         [network]\npods = [\"100.64.0.0/10\"]\n",
    );
    for pool in 0..POOLS {
        let _ = writeln!(text, "[pools.p{pool}]\nlabels = {{ \"example.com/pool\" = \"p{pool}\" }}");
    }
    for n in 0..nodes {
        let (role, pool) = match n {
            0..CONTROL_PLANES => ("control-plane", String::new()),
            _ => ("worker", format!("pool = \"p{}\"\n", n % POOLS)),
        };
        let address = format!("10.{}.{}.{}", n / 50_000, n / 200 % 250, n % 200 + 1);
        let _ = writeln!(text, "[[hosts]]\nname = \"n{n}\"\naddress = \"{address}\"\nrole = \"{role}\"\n{pool}");
    }
    toml::from_str(&text).map_err(|e| Error::failed("failed to make an inventory").source(e))
}

fn facts(inv: &Inventory) -> Facts {
    let host = HostFacts {
        machine: "x86_64".into(),
        bridge_nf: true,
        modules: [("overlay", "present"), ("br_netfilter", "present")].map(|(k, v)| (k.into(), v.into())).into(),
        ..HostFacts::default()
    };
    let hosts: BTreeMap<String, HostFacts> = inv.hosts.iter().map(|h| (h.name.clone(), host.clone())).collect();
    Facts { hosts, ..Facts::default() }
}

/// All of them are in the cluster, at this version.
fn members(inv: &Inventory, version: &str) -> Facts {
    let mut facts = facts(inv);
    let planes: Vec<String> = inv.control_planes().into_iter().map(|n| n.name).collect();
    let object = |name: &String| NodeObject {
        name: name.clone(),
        ready: true,
        kubelet_version: version.into(),
        runtime: "containerd://2.2.1".into(),
        ..NodeObject::default()
    };
    for (name, host) in &mut facts.hosts {
        host.cgroup = CgroupVersion::V2;
        host.state.claim = Some(inv.cluster.name.clone());
        (host.state.kubelet_conf, host.state.joined, host.state.node) = (true, true, Some(true));
        if planes.contains(name) {
            let components = ["kube-apiserver", "kube-controller-manager", "kube-scheduler"];
            host.upgrade.components = components.map(|c| (c.to_owned(), version.to_owned())).into();
        }
    }
    facts.nodes = Some(inv.hosts.iter().map(|h| object(&h.name)).collect());
    facts.etcd = Some(Vec::new());
    facts.budgets = Some(Vec::new());
    facts.voice = planes.into_iter().next();
    facts
}

fn bundle() -> BundleManifest {
    let made = |(kind, name, member): (ArtifactKind, &str, Option<&str>)| {
        let digest = Digest::of(name.as_bytes());
        Artifact {
            kind,
            name: name.into(),
            version: "2.2.1".into(),
            arch: Some(Arch::Amd64),
            digest: digest.clone(),
            size: 10,
            source: String::new(),
            verified: Verified::LockOnly,
            manifest: digest.clone(),
            blobs: vec![BlobRef { digest, size: 10, media_type: "t".into() }],
            members: member
                .map(|m| Member { path: m.into(), digest: Digest::of(m.as_bytes()), size: 1, mode: 0o755 })
                .into_iter()
                .collect(),
        }
    };
    let binaries = ["kubeadm", "kubelet", "kubectl", "runc"].map(|n| (ArtifactKind::Binary, n, None));
    let archives = [("containerd", "bin/containerd"), ("cni-plugins", "./bridge"), ("etcd", "e/etcdctl")]
        .map(|(n, m)| (ArtifactKind::Archive, n, Some(m)));
    let images = [
        "registry.k8s.io/kube-apiserver:v1.36.2",
        "registry.k8s.io/kube-proxy:v1.36.2",
        "registry.k8s.io/etcd:3.6.8-0",
        "registry.k8s.io/pause:3.10.2",
        "docker.io/library/haproxy:3.2",
        "docker.io/library/busybox:1.36",
    ]
    .map(|n| (ArtifactKind::Image, n, None));
    BundleManifest {
        format_version: BUNDLE_FORMAT,
        kubernetes: "1.36.2".into(),
        lock: Digest::of(b""),
        artifacts: binaries.into_iter().chain(archives).chain(images).map(made).collect(),
        addons: Vec::new(),
    }
}
