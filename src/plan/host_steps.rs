//! What a host needs before it can join: prepared, parts distributed, runtime, CNI, images. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::action::{Action, UnpackMember};
use super::desired::{HostSteps, When};
use super::drift::MANIFESTS;
use super::model::{PhaseId, StepId};
use super::package_steps::packages;
use super::planner::{CLAIM_FILE, Input};
use super::registry_steps;
use super::settings_steps::has_runtime_turn;
use super::upgrade_steps::phase_of;
use crate::bundle::{Artifact, ArtifactKind, Digest};
use crate::error::{Error, Result};
use crate::facts::{CNI_CONF, HostFacts, INOTIFY, RUNTIME_FILES};
use crate::inventory::{Arch, CniPlugin, EndpointMode, Inventory, Node};
use crate::resource::{CONTAINERD, CONTAINERD_CONFIG, CONTAINERD_UNIT, Membership, ModuleState, REGISTRY_CA, template};

const UNITS: &str = "/etc/systemd/system";
/// The unit that keeps the routes to the other nodes' pods.
pub const ROUTES_UNIT: &str = "provision-pod-routes.service";

/// A kernel setting of a node.
struct Sysctl {
    key: String,
    value: String,
    reason: &'static str,
}

/// The kernel settings of a node. A limit that is higher on the host already is kept as it is.
fn sysctls(inv: &Inventory, facts: &HostFacts, bridge_nf: bool) -> Vec<Sysctl> {
    let forwarding = "pods need forwarding";
    let mut all = vec![("net.ipv4.ip_forward", forwarding)];
    if inv.network.pods.iter().any(|n| matches!(n, ipnet::IpNet::V6(_))) {
        all.push(("net.ipv6.conf.all.forwarding", forwarding));
    }
    if bridge_nf {
        let filtered = "services are reached from pods on a bridge";
        all.extend([
            ("net.bridge.bridge-nf-call-iptables", filtered),
            ("net.bridge.bridge-nf-call-ip6tables", filtered),
        ]);
    }
    let mut all: Vec<Sysctl> =
        all.into_iter().map(|(key, reason)| Sysctl { key: key.into(), value: "1".into(), reason }).collect();
    all.extend(INOTIFY.iter().filter_map(|(name, least)| {
        let now = facts.inotify.get(*name)?;
        let (key, value) = (format!("fs.inotify.{name}"), (*now).max(*least).to_string());
        let reason = "kubelet, containerd and pods watch more files than the kernel's default allows";
        (*now >= *least || !facts.inotify_read_only).then_some(Sysctl { key, value, reason })
    }));
    all
}

fn file(path: impl Into<String>, content: String) -> Action {
    Action::WriteFile { path: path.into(), content, mode: 0o644 }
}

/// The kubelet's unit; `active`, because on a member it is ours to keep running.
pub(super) fn kubelet_unit(active: bool) -> Action {
    let dropin = format!("{UNITS}/kubelet.service.d/10-kubeadm.conf");
    Action::Unit {
        name: "kubelet.service".into(),
        enabled: true,
        active: active.then_some(true),
        started_after: vec!["/usr/local/bin/kubelet".into(), format!("{UNITS}/kubelet.service"), dropin],
    }
}

/// What a host gets that runs etcd and nothing of Kubernetes.
pub(super) fn etcd_alone<'a>(input: &Input<'_>, node: &'a Node) -> Result<HostSteps<'a>> {
    let mut steps = HostSteps::new(&node.name);
    let claim = file(CLAIM_FILE, format!("{}\n", input.inv.cluster.name));
    steps.add(PhaseId::Prepare, "claim", claim, "says which cluster the host belongs to");
    let installs = etcd_installs(input, node, arch_of(input, node)?)?;
    distribute(&mut steps, &node.name, &installs, &[], &[], |_| PhaseId::Runtime);
    for (artifact, action) in installs {
        steps.add(PhaseId::Runtime, &artifact.name, action, format!("{} {}", artifact.name, artifact.version));
    }
    Ok(steps)
}

fn arch_of(input: &Input<'_>, node: &Node) -> Result<Arch> {
    let unknown = HostFacts::default();
    let facts = input.facts.hosts.get(&node.name).unwrap_or(&unknown);
    facts.arch().ok_or_else(|| Error::failed(format!("unknown machine `{}`", facts.machine)).on(&node.name))
}

/// Everything up to the runtime.
pub(super) fn before_join(input: &Input<'_>, node: &Node, steps: &mut HostSteps<'_>) -> Result<()> {
    let inv = input.inv;
    let unknown = HostFacts::default();
    let facts = input.facts.hosts.get(&node.name).unwrap_or(&unknown);
    let arch = arch_of(input, node)?;
    let mut prepare = |what: &str, action: Action, why: &str| steps.add(PhaseId::Prepare, what, action, why);
    prepare("claim", file(CLAIM_FILE, format!("{}\n", inv.cluster.name)), "says which cluster the host belongs to");
    let modules: Vec<&str> =
        facts.modules.keys().map(String::as_str).filter(|m| facts.module(m) != ModuleState::Missing).collect();
    prepare(
        "modules-file",
        file("/etc/modules-load.d/provision.conf", template::modules_conf(&modules)?),
        "kernel modules are loaded at boot",
    );
    for module in &modules {
        prepare(
            &format!("module-{module}"),
            Action::LoadModule { module: (*module).to_owned() },
            "containerd and kube-proxy need it",
        );
    }
    let bridge_nf = facts.bridge_nf || facts.module("br_netfilter") == ModuleState::Loadable;
    let sysctls = sysctls(inv, facts, bridge_nf);
    let settings: Vec<(&str, &str)> = sysctls.iter().map(|s| (s.key.as_str(), s.value.as_str())).collect();
    prepare(
        "sysctl-file",
        file("/etc/sysctl.d/90-provision.conf", template::sysctl_conf(&settings)?),
        "kernel settings are kept over reboots",
    );
    for Sysctl { key, value, reason } in sysctls {
        prepare(&format!("sysctl-{key}"), Action::SetSysctl { key, value }, reason);
    }
    if inv.kubelet.config.get("failSwapOn") != Some(&serde_json::Value::Bool(false)) {
        prepare("swap", Action::SwapOff, "the kubelet refuses to start with swap on");
    }
    let mut installs = installs(input, node, arch)?;
    installs.extend(registry_steps::program(input, node, arch)?);
    let images = input.parts.preloaded(arch, node.role.is_control_plane())?;
    let served = if inv.registry.is_served_by(&node.name) { input.parts.images() } else { Vec::new() };
    // A member of another version gets Kubernetes' own binaries when its turn of the upgrade comes, and not before.
    // Nor a member another containerd or runc.
    let upgrading = input.upgrading.contains(&node.name);
    let new_runtime = input.new_runtime.contains(&node.name);
    let in_turn = |a: &Artifact| upgrading && is_kube(a) || new_runtime && is_runtime(a);
    let phase = |a: &Artifact| if in_turn(a) { phase_of(node) } else { PhaseId::Runtime };
    distribute(steps, &node.name, &installs, &images, &served, phase);
    packages(input, node, arch, steps)?;
    for (artifact, action) in installs.into_iter().filter(|(a, _)| phase(a) == PhaseId::Runtime) {
        steps.add(PhaseId::Runtime, &artifact.name, action, format!("{} {}", artifact.name, artifact.version));
    }
    runtime(input, node, steps)
}

/// Blobs go to a host only for something on it that is not as it should be; those that it serves stay there.
fn distribute(
    steps: &mut HostSteps<'_>,
    host: &str,
    installs: &[(&Artifact, Action)],
    images: &[&Artifact],
    served: &[&Artifact],
    phase: impl Fn(&Artifact) -> PhaseId,
) {
    let mut wanted: BTreeMap<Digest, (u64, String, Vec<StepId>)> = BTreeMap::new();
    for (artifact, _) in installs {
        let id = format!("{}/{host}/{}", phase(artifact).as_str(), artifact.name);
        let title = format!("{} {}", artifact.name, artifact.version);
        wanted.entry(artifact.digest.clone()).or_insert((artifact.size, title, Vec::new())).2.push(id);
    }
    for image in images {
        let id = format!("{}/{host}/{}", PhaseId::Images.as_str(), image.name);
        for blob in &image.blobs {
            wanted.entry(blob.digest.clone()).or_insert((blob.size, image.name.clone(), Vec::new())).2.push(id.clone());
        }
    }
    let kept: BTreeSet<&Digest> = served.iter().flat_map(|i| &i.blobs).map(|b| &b.digest).collect();
    for image in served {
        for blob in &image.blobs {
            wanted.entry(blob.digest.clone()).or_insert((blob.size, image.name.clone(), Vec::new()));
        }
    }
    for (digest, (size, artifact, consumers)) in wanted {
        steps.add(
            PhaseId::Distribute,
            digest.short(),
            Action::PutBlob { digest: digest.clone(), size, artifact: artifact.clone() },
            format!("the node lacks a part of {artifact}"),
        );
        if !kept.contains(&digest) {
            steps.when(When::OnlyWith(consumers));
        }
    }
}

fn is_runtime(artifact: &Artifact) -> bool {
    matches!(artifact.name.as_str(), "containerd" | "runc")
}

/// containerd and runc on a host, with what containerd reads when it starts.
pub(super) fn runtime_installs<'a>(input: &Input<'a>, node: &Node) -> Result<Vec<(String, Action, String)>> {
    let arch = input.facts.hosts.get(&node.name).and_then(crate::facts::HostFacts::arch).unwrap_or(Arch::Amd64);
    let installs = installs(input, node, arch)?.into_iter().filter(|(a, _)| is_runtime(a));
    let mut all: Vec<(String, Action, String)> =
        installs.map(|(a, action)| (a.name.clone(), action, format!("{} {}", a.name, a.version))).collect();
    let files =
        containerd_files(input, &node.name)?.map(|(what, action, why)| (what.to_owned(), action, why.to_owned()));
    all.extend(files);
    Ok(all)
}

/// The members whose containerd or runc is another than the bundle's.
pub(super) fn new_runtime(input: &Input<'_>) -> Result<BTreeSet<String>> {
    let mut all = BTreeSet::new();
    for node in input.inv.nodes() {
        let Some(facts) = input.facts.hosts.get(&node.name) else { continue };
        let Some(arch) = facts.arch().filter(|_| input.facts.membership(input.inv, &node) == Membership::Member) else {
            continue;
        };
        let containerd = input.parts.get(ArtifactKind::Archive, "containerd", arch)?;
        let program = containerd.members.iter().find(|m| m.path.rsplit('/').next() == Some("containerd"));
        let runc = &input.parts.get(ArtifactKind::Binary, "runc", arch)?.digest;
        let wanted = [program.map(|m| &m.digest), Some(runc)];
        let other = |(path, wanted): (&str, Option<&Digest>)| {
            facts.runtime.get(path).zip(wanted).is_some_and(|(have, wanted)| have != wanted)
        };
        if RUNTIME_FILES.into_iter().zip(wanted).any(other) {
            all.insert(node.name.clone());
        }
    }
    Ok(all)
}

fn is_kube(artifact: &Artifact) -> bool {
    matches!(artifact.name.as_str(), "kubeadm" | "kubelet" | "kubectl")
}

/// Kubernetes' own binaries on a host.
pub(super) fn kube_installs<'a>(input: &Input<'a>, node: &Node) -> Result<Vec<(&'a Artifact, Action)>> {
    let arch = input.facts.hosts.get(&node.name).and_then(HostFacts::arch).unwrap_or(Arch::Amd64);
    Ok(installs(input, node, arch)?.into_iter().filter(|(a, _)| is_kube(a)).collect())
}

fn installs<'a>(input: &Input<'a>, node: &Node, arch: Arch) -> Result<Vec<(&'a Artifact, Action)>> {
    let mut all = Vec::new();
    for (name, path) in [
        ("runc", "/usr/local/sbin/runc"),
        ("kubeadm", "/usr/local/bin/kubeadm"),
        ("kubelet", "/usr/local/bin/kubelet"),
        ("kubectl", "/usr/local/bin/kubectl"),
    ] {
        let artifact = input.parts.get(ArtifactKind::Binary, name, arch)?;
        all.push((artifact, Action::InstallBlob { digest: artifact.digest.clone(), path: path.into(), mode: 0o755 }));
    }
    all.push(unpacked(input.parts.get(ArtifactKind::Archive, "containerd", arch)?, "/usr/local/bin", &[]));
    all.push(unpacked(input.parts.get(ArtifactKind::Archive, "cni-plugins", arch)?, "/opt/cni/bin", &[]));
    all.extend(etcd_installs(input, node, arch)?);
    if node.role.is_control_plane() && !input.inv.charts.is_empty() {
        all.push(unpacked(input.parts.get(ArtifactKind::Archive, "helm", arch)?, "/usr/local/bin", &["helm"]));
    }
    if let Some(crictl) = input.parts.find(ArtifactKind::Archive, "crictl", arch) {
        all.push(unpacked(crictl, "/usr/local/bin", &["crictl"]));
    }
    Ok(all)
}

/// etcd's tools on a control plane, and etcd itself where it runs as a unit.
fn etcd_installs<'a>(input: &Input<'a>, node: &Node, arch: Arch) -> Result<Vec<(&'a Artifact, Action)>> {
    let runs = input.inv.etcd.runs_on(&node.name);
    if !runs && !node.role.is_control_plane() {
        return Ok(Vec::new());
    }
    // From 3.6 on only etcdutl restores snapshots; older archives lack it.
    let programs = ["etcdctl", "etcdutl"].into_iter().chain(runs.then_some("etcd")).collect::<Vec<_>>();
    Ok(vec![unpacked(input.parts.get(ArtifactKind::Archive, "etcd", arch)?, "/usr/local/bin", &programs)])
}

/// An archive, and the action that puts these of its files (all executables, when none is named) into a directory.
fn unpacked<'a>(artifact: &'a Artifact, dir: &str, only: &[&str]) -> (&'a Artifact, Action) {
    let members = artifact.members.iter().filter_map(|m| {
        let name = m.path.rsplit('/').next().unwrap_or(&m.path);
        // Release archives hold a licence and a readme beside the executables.
        let wanted = if only.is_empty() { m.mode & 0o111 != 0 } else { only.contains(&name) };
        wanted.then(|| UnpackMember {
            member: m.path.clone(),
            path: format!("{dir}/{name}"),
            digest: m.digest.clone(),
            mode: 0o755,
        })
    });
    (artifact, Action::UnpackBlob { digest: artifact.digest.clone(), members: members.collect() })
}

/// What containerd reads when it starts: its configuration and its unit.
pub(super) fn containerd_texts(input: &Input<'_>, node: &str) -> Result<(String, String)> {
    let arch = input.facts.hosts.get(node).and_then(HostFacts::arch).unwrap_or(Arch::Amd64);
    let containerd = input.parts.get(ArtifactKind::Archive, "containerd", arch)?;
    let config = template::containerd_config(input.inv, &containerd.version, &input.images.pause)?;
    Ok((config, template::containerd_unit()?))
}

fn containerd_files(input: &Input<'_>, node: &str) -> Result<[(&'static str, Action, &'static str); 2]> {
    let (config, unit) = containerd_texts(input, node)?;
    Ok([
        ("containerd-config", file(CONTAINERD_CONFIG, config), "containerd's settings"),
        ("containerd-unit", file(CONTAINERD_UNIT, unit), "containerd's unit"),
    ])
}

pub(super) fn containerd_service() -> Action {
    Action::Unit {
        name: "containerd.service".into(),
        enabled: true,
        active: Some(true),
        started_after: [CONTAINERD_CONFIG, CONTAINERD_UNIT, CONTAINERD].map(str::to_owned).into(),
    }
}

fn runtime(input: &Input<'_>, node: &Node, steps: &mut HostSteps<'_>) -> Result<()> {
    let inv = input.inv;
    let mut add = |what: &str, action: Action, why: &str| steps.add(PhaseId::Runtime, what, action, why);
    let in_turn = input.new_runtime.contains(&node.name);
    let at_once = !in_turn && !has_runtime_turn(input, node);
    let [config, unit] = containerd_files(input, &node.name)?;
    if at_once {
        add(config.0, config.1, config.2);
    }
    if let Some(ca) = &inv.registry.ca {
        add("registry-ca", file(REGISTRY_CA, ca.clone()), "containerd trusts the registry");
    }
    for (registry, content) in super::mirrors::hosts_files(inv, &input.parts.registries()?, &node.name)? {
        let path = format!("/etc/containerd/certs.d/{registry}/hosts.toml");
        add(&format!("mirror-{registry}"), file(path, content), "registry mirrors");
    }
    if at_once {
        add(unit.0, unit.1, unit.2);
        add("containerd-service", containerd_service(), "containerd runs with what is installed");
    }
    let (unit, dropin) = (format!("{UNITS}/kubelet.service"), format!("{UNITS}/kubelet.service.d/10-kubeadm.conf"));
    add("kubelet-unit", file(&unit, template::kubelet_unit()?), "the kubelet's unit");
    add("kubelet-dropin", file(&dropin, template::kubelet_dropin()?), "the kubelet takes its flags from kubeadm");
    balancer(input, node, &mut add)?;
    // Before it joins, kubeadm starts the kubelet; from then on it is ours to keep running.
    let member = input.facts.membership(inv, node) == Membership::Member;
    if input.upgrading.contains(&node.name) || in_turn {
        return Ok(());
    }
    add(
        "kubelet-service",
        kubelet_unit(member),
        if member { "the kubelet runs with what is installed" } else { "the kubelet starts at boot" },
    );
    Ok(())
}

fn balancer(input: &Input<'_>, node: &Node, add: &mut impl FnMut(&str, Action, &str) -> StepId) -> Result<()> {
    let inv = input.inv;
    let secret = |path: String, content: String| Action::WriteFile { path, content, mode: 0o600 };
    let control_plane = node.role.is_control_plane();
    let image = |name: &str| -> Result<String> {
        inv.endpoint.image.clone().map_or_else(|| input.parts.image_named(name).map(str::to_owned), Ok)
    };
    match inv.endpoint.mode {
        EndpointMode::Haproxy => {
            let cfg = template::haproxy_cfg(inv, &input.planes, node)?;
            let pod = template::haproxy_pod(inv, &cfg, &image("haproxy")?)?;
            add("haproxy-config", file("/etc/provision/haproxy.cfg", cfg), "the balancer's backends");
            add("haproxy-pod", secret(format!("{MANIFESTS}/haproxy.yaml"), pod), "the balancer on the host itself");
        }
        EndpointMode::KeepalivedHaproxy if control_plane => {
            let cfg = template::haproxy_cfg(inv, &input.planes, node)?;
            let pod = template::haproxy_pod(inv, &cfg, &image("haproxy")?)?;
            add("haproxy-config", file("/etc/provision/haproxy.cfg", cfg), "the balancer's backends");
            add(
                "haproxy-pod",
                secret(format!("{MANIFESTS}/haproxy.yaml"), pod),
                "the balancer behind the virtual address",
            );
            add(
                "keepalived-config",
                secret("/etc/provision/keepalived.conf".into(), template::keepalived_conf(inv, node)?),
                "who holds the virtual address",
            );
            let keepalived = inv
                .endpoint
                .keepalived_image
                .clone()
                .map_or_else(|| input.parts.image_named("keepalived").map(str::to_owned), Ok)?;
            let pod = template::keepalived_pod(inv, node, &keepalived)?;
            add("keepalived-pod", secret(format!("{MANIFESTS}/keepalived.yaml"), pod), "holds the virtual address");
        }
        EndpointMode::KubeVip if control_plane => {
            // Only while the first control plane inits does kube-vip need more rights than admin.conf gives.
            let init = input.facts.voice.is_none()
                && inv.control_planes().first().is_some_and(|first| first.name == node.name);
            let pod = template::kube_vip_pod(inv, node, &image("kube-vip")?, init)?;
            add("kube-vip-pod", secret(format!("{MANIFESTS}/kube-vip.yaml"), pod), "holds the virtual address");
        }
        _ => {}
    }
    Ok(())
}

/// The bridge plugin's configuration and the routes to the other nodes' pods.
pub(super) fn cni(input: &Input<'_>, node: &Node, steps: &mut HostSteps<'_>) -> Result<()> {
    if input.inv.cni.plugin != CniPlugin::Bridge {
        return Ok(());
    }
    let own = input.pod_cidrs.get(&node.name).cloned().unwrap_or_default();
    let conflist = template::cni_conflist(input.inv, &own)?;
    steps.add(PhaseId::Cni, "conflist", file(CNI_CONF, conflist), "the node's share of the pod network");
    let routes: Vec<(ipnet::IpNet, std::net::IpAddr)> = input
        .inv
        .hosts
        .iter()
        .filter(|h| h.name != node.name)
        .flat_map(|h| input.pod_cidrs.get(&h.name).into_iter().flatten().map(|c| (*c, h.address)))
        // A route needs a next hop of its own family.
        .filter(|(c, via)| matches!(c, ipnet::IpNet::V4(_)) == via.is_ipv4())
        .collect();
    let path = format!("{UNITS}/{ROUTES_UNIT}");
    steps.add(
        PhaseId::Cni,
        "routes-unit",
        file(&path, template::routes_unit(&routes)?),
        "the way to the other nodes' pods",
    );
    steps.add(
        PhaseId::Cni,
        "routes",
        Action::Unit { name: ROUTES_UNIT.into(), enabled: true, active: Some(true), started_after: vec![path] },
        "the routes are set now and at boot",
    );
    Ok(())
}

/// The images a host runs.
pub(super) fn images(input: &Input<'_>, node: &Node, steps: &mut HostSteps<'_>) -> Result<()> {
    let arch = input.facts.hosts.get(&node.name).and_then(HostFacts::arch).unwrap_or(Arch::Amd64);
    for image in input.parts.preloaded(arch, node.role.is_control_plane())? {
        let manifest = image
            .blobs
            .iter()
            .find(|b| b.digest == image.digest)
            .ok_or_else(|| Error::invalid(format!("the bundle lists no manifest blob for image {}", image.name)))?;
        steps.add(
            PhaseId::Images,
            &image.name,
            Action::ImportImage {
                name: image.name.clone(),
                manifest: image.digest.clone(),
                manifest_size: manifest.size,
                media_type: manifest.media_type.clone(),
                blobs: image.blobs.iter().filter(|b| b.digest != image.digest).map(|b| b.digest.clone()).collect(),
            },
            format!("pinned by {}", image.digest.short()),
        );
    }
    Ok(())
}
