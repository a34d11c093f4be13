//! What kubeadm and the components of the wanted version do not start with.

use serde_json::Value;

use super::judge::at;
use crate::error::Result;
use crate::inventory::model::{EtcdMode, Inventory};
use crate::inventory::structure::shown;
use crate::inventory::tree::{Finding, Path};
use crate::kubernetes::{
    CGROUP_V2_FROM, Component, GateFault, Gone, external_etcd_floor, gate_fault, kubeadm_gate_fault,
    stacked_etcd_floor, table, unknown_flag,
};
use crate::version::{KubeVersion, Release};

/// Where feature gates and their stages are written.
const GATES: &str = "https://kubernetes.io/docs/reference/command-line-tools-reference/feature-gates/";

pub(super) fn check(inventory: &Inventory, found: &mut Vec<Finding>) {
    // A version that is none has its own finding.
    let Ok(version) = inventory.cluster.version.parse::<KubeVersion>() else { return };
    etcd(inventory, version, found);
    crictl(inventory, version, found);
    if let Err(e) = components(inventory, version, found) {
        found.push(Finding::error(at(["cluster", "version"]), e.to_string(), "report this fault of provision"));
    }
    if version.minor >= CGROUP_V2_FROM {
        cgroup_v1(inventory, version, found);
    }
}

/// The etcd that the inventory names, held against the flags and checks of kubeadm.
fn etcd(inventory: &Inventory, version: KubeVersion, found: &mut Vec<Finding>) {
    let etcd = &inventory.etcd;
    // One that is no release has its own finding, or is a tag of somebody's own.
    let release = |text: &Option<String>| text.as_deref().and_then(|t| t.parse::<Release>().ok());
    let (floor, key, has) = match etcd.mode {
        EtcdMode::Stacked => (stacked_etcd_floor(version), "image_tag", release(&etcd.image_tag)),
        EtcdMode::External if !etcd.hosts.is_empty() => {
            (external_etcd_floor(version), "version", release(&etcd.version))
        }
        EtcdMode::External => return,
    };
    if let Some((floor, has)) = floor.zip(has).filter(|(floor, has)| has < floor) {
        found.push(Finding::error(
            at(["etcd", key]),
            format!("kubeadm {version} does not work with etcd {has}: it needs {floor} or newer"),
            format!("set {key} to a release from {floor} on, or leave it out: the default fits the Kubernetes version"),
        ));
    }
    if etcd.mode != EtcdMode::Stacked {
        return;
    }
    // etcdctl and etcdutl come from etcd.version and read what etcd wrote.
    let tools = release(&etcd.version);
    let server = has.or(floor);
    let minor = |r: Release| (r.major(), r.minor());
    if let Some((tools, server)) = tools.zip(server).filter(|(tools, server)| minor(*tools) < minor(*server)) {
        found.push(Finding::warning(
            at(["etcd", "version"]),
            format!("etcdctl and etcdutl {tools} are older than the etcd {server} whose snapshots they read"),
            "set version to the release of the etcd image, or leave it out",
        ));
    }
}

/// kubeadm before 1.31 does not init, join or reset without crictl: `InPathCheck` in its preflight checks.
fn crictl(inventory: &Inventory, version: KubeVersion, found: &mut Vec<Finding>) {
    let kubeadm = &inventory.kubeadm;
    let skipped = kubeadm.skips_preflight() || kubeadm.ignores("FileExisting-crictl");
    if inventory.runtime.crictl_version.as_deref() == Some("") && version.minor < 31 && !skipped {
        found.push(Finding::warning(
            at(["runtime", "crictl_version"]),
            format!("kubeadm {version} refuses a host without crictl (FileExisting-crictl), and this leaves it out"),
            "leave the key out, or add \"FileExisting-crictl\" to kubeadm.ignore_preflight_errors",
        ));
    }
}

/// `failCgroupV1` allows the kubelet what kubeadm's `SystemVerification` still refuses, and what is no boolean nothing.
fn cgroup_v1(inventory: &Inventory, version: KubeVersion, found: &mut Vec<Finding>) {
    let path = || at(["kubelet", "config", "failCgroupV1"]);
    match inventory.kubelet.config.get("failCgroupV1") {
        None | Some(Value::Bool(true)) => {}
        Some(Value::Bool(false)) => {
            let kubeadm = &inventory.kubeadm;
            if !kubeadm.skips_preflight() && !kubeadm.ignores("SystemVerification") {
                found.push(Finding::warning(
                    path(),
                    format!("the kubelet starts on cgroup v1 with it, and kubeadm {version} still refuses such a host"),
                    "add \"SystemVerification\" to kubeadm.ignore_preflight_errors",
                ));
            }
        }
        Some(other) => found.push(Finding::error(
            path(),
            format!("{} is no boolean, and the kubelet does not start with it", shown(&other.to_string())),
            "write false, without quotes, to have the kubelet start on cgroup v1",
        )),
    }
}

/// Flags, feature gates and admission plugins.
fn components(inventory: &Inventory, version: KubeVersion, found: &mut Vec<Finding>) -> Result<()> {
    let removed = table()?;
    for (component, args) in [
        (Component::KubeApiserver, &inventory.apiserver.extra_args),
        (Component::KubeControllerManager, &inventory.controller_manager.extra_args),
        (Component::KubeScheduler, &inventory.scheduler.extra_args),
        (Component::Kubelet, &inventory.kubelet.extra_args),
    ] {
        for (flag, value) in args {
            let path = at([component.table(), "extra_args", flag]);
            let gone = removed
                .flag
                .iter()
                .find(|g| g.minor <= version.minor && g.components.contains(&component) && g.names.contains(flag));
            if let Some(gone) = gone {
                let message = format!("{component} has no flag --{flag} from 1.{} on", gone.minor);
                let mut finding = Finding::error(path.clone(), message, format!("remove it; see {}", gone.source));
                finding.on_key = true;
                found.push(finding);
            } else if let Some(unknown) = unknown_flag(component, version.minor, flag)? {
                let message = format!("{component} 1.{} lists no flag --{}", version.minor, shown(flag));
                let help = match unknown.near {
                    Some(near) => format!("did you mean \"{near}\"?"),
                    None => format!("remove it, unless `{component} --help` of that version has it"),
                };
                let mut finding = Finding::warning(path.clone(), message, help);
                finding.on_key = true;
                found.push(finding);
            }
            match flag.as_str() {
                "feature-gates" => gates_of_flag(component, version, &path, value, found)?,
                "enable-admission-plugins" | "disable-admission-plugins" => {
                    for plugin in value.split(',').map(str::trim) {
                        let gone = |g: &&Gone| g.minor <= version.minor && g.names.iter().any(|n| n == plugin);
                        if let Some(gone) = removed.admission.iter().find(gone) {
                            found.push(Finding::error(
                                path.clone(),
                                format!("{component} has no admission plugin {plugin} from 1.{} on", gone.minor),
                                format!("remove it; see {}", gone.source),
                            ));
                        }
                    }
                }
                _ => {}
            }
        }
    }
    for (component, config) in
        [(Component::Kubelet, &inventory.kubelet.config), (Component::KubeProxy, &inventory.kube_proxy.config)]
    {
        for (gate, value) in config.get("featureGates").and_then(Value::as_object).into_iter().flatten() {
            let path = at([component.table(), "config", "featureGates", gate]);
            match value.as_bool() {
                Some(on) => gate_of(
                    component.to_string(),
                    version,
                    path,
                    gate,
                    gate_fault(component, version.minor, gate, on)?,
                    found,
                ),
                None => found.push(Finding::error(
                    path,
                    format!("the feature gate {} is no boolean", shown(gate)),
                    "write true or false, without quotes",
                )),
            }
        }
    }
    for (gate, on) in &inventory.kubeadm.feature_gates {
        let path = at(["kubeadm", "feature_gates", gate]);
        gate_of("kubeadm".into(), version, path, gate, kubeadm_gate_fault(version.minor, gate, *on)?, found);
    }
    Ok(())
}

/// Reads `A=true,B=false`, as `featuregate.Set` of component-base does.
fn gates_of_flag(
    component: Component,
    version: KubeVersion,
    path: &Path,
    text: &str,
    found: &mut Vec<Finding>,
) -> Result<()> {
    for one in text.split(',').map(str::trim).filter(|o| !o.is_empty()) {
        let pair = one.split_once('=').map(|(gate, on)| (gate.trim(), boolean(on.trim())));
        match pair {
            Some((gate, Some(on))) => {
                let fault = gate_fault(component, version.minor, gate, on)?;
                gate_of(component.to_string(), version, path.clone(), gate, fault, found);
            }
            _ => found.push(Finding::error(
                path.clone(),
                format!("\"{}\" sets no feature gate", shown(one)),
                "write the gates like \"NodeSwap=true,PodLevelResources=false\"",
            )),
        }
    }
    Ok(())
}

/// What Go's `strconv.ParseBool` reads.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

fn gate_of(
    program: String,
    version: KubeVersion,
    path: Path,
    gate: &str,
    fault: Option<GateFault>,
    found: &mut Vec<Finding>,
) {
    let gate = shown(gate);
    let minor = version.minor;
    let (certain, message, help) = match fault {
        None => return,
        Some(GateFault::Unknown { near, certain }) => {
            let help = match near {
                Some(near) => format!("did you mean \"{near}\"? the gates of each version: {GATES}"),
                None => format!("remove it; the gates of each version: {GATES}"),
            };
            let message = if certain {
                format!("{program} 1.{minor} has no feature gate {gate}, and does not start with it")
            } else {
                format!("{program} 1.{minor} may have no feature gate {gate}: provision does not know it")
            };
            (certain, message, help)
        }
        Some(GateFault::NotYet { from, certain }) => (
            certain,
            format!("{program} 1.{minor} has no feature gate {gate} yet: it comes with 1.{from}"),
            "remove it".into(),
        ),
        Some(GateFault::Gone { since, source }) => (
            true,
            format!("{program} has no feature gate {gate} from 1.{since} on"),
            format!("remove it; see {source}"),
        ),
        Some(GateFault::Locked { to, since }) => (
            true,
            format!("{program} does not start with the feature gate {gate} at {} from 1.{since} on", !to),
            format!("remove it: it is {to} there in any case"),
        ),
    };
    found.push(if certain { Finding::error(path, message, help) } else { Finding::warning(path, message, help) });
}
