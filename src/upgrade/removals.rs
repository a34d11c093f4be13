//! What of a cluster the Kubernetes that it is upgraded to no longer takes. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::refusal::{Refusal, listed};
use crate::error::Result;
use crate::inventory::Inventory;
use crate::kubernetes::{Component, locked_between, table};
use crate::version::KubeVersion;

/// Where feature gates and their stages are written.
const GATES: &str = "https://kubernetes.io/docs/reference/command-line-tools-reference/feature-gates/";

/// A flag that a component is started with.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FlagInUse {
    /// The component.
    pub component: Component,
    /// The flag, without leading dashes.
    pub flag: String,
}

/// A feature gate that a component is started with.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct GateInUse {
    /// The component.
    pub component: Component,
    /// The gate.
    pub gate: String,
    /// What it is set to.
    pub on: bool,
}

/// A version of an API that somebody asks for, as `apiserver_requested_deprecated_apis` has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiInUse {
    /// Like `policy`.
    pub group: String,
    /// Like `v1beta1`.
    pub version: String,
    /// Like `podsecuritypolicies`.
    pub resource: String,
}

/// What a cluster uses and a later Kubernetes may not have any more.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InUse {
    /// Flags.
    pub flags: BTreeSet<FlagInUse>,
    /// Feature gates.
    pub gates: BTreeSet<GateInUse>,
    /// Admission plugins that the API server is told to use or to leave out.
    pub admission_plugins: BTreeSet<String>,
    /// Versions of APIs.
    pub apis: BTreeSet<ApiInUse>,
}

impl InUse {
    /// What an inventory sets. Which APIs are used only the cluster can say: see [`ApiInUse`].
    #[must_use]
    pub fn of(inv: &Inventory) -> Self {
        let mut used = Self::default();
        for (component, args) in [
            (Component::KubeApiserver, &inv.apiserver.extra_args),
            (Component::KubeControllerManager, &inv.controller_manager.extra_args),
            (Component::KubeScheduler, &inv.scheduler.extra_args),
            (Component::Kubelet, &inv.kubelet.extra_args),
        ] {
            for (flag, value) in args {
                used.flags.insert(FlagInUse { component, flag: flag.clone() });
                match flag.as_str() {
                    "feature-gates" => used.gates.extend(gates(component, value)),
                    "enable-admission-plugins" | "disable-admission-plugins" => {
                        used.admission_plugins.extend(value.split(',').map(|p| p.trim().to_owned()));
                    }
                    _ => {}
                }
            }
        }
        for (component, config) in
            [(Component::Kubelet, &inv.kubelet.config), (Component::KubeProxy, &inv.kube_proxy.config)]
        {
            let set = config.get("featureGates").and_then(Value::as_object).into_iter().flatten();
            let set = set.filter_map(|(gate, on)| Some(GateInUse { component, gate: gate.clone(), on: on.as_bool()? }));
            used.gates.extend(set);
        }
        used
    }
}

/// Reads `A=true,B=false`.
fn gates(component: Component, text: &str) -> impl Iterator<Item = GateInUse> {
    text.split(',').filter_map(move |one| {
        let (gate, on) = one.split_once('=')?;
        Some(GateInUse { component, gate: gate.trim().to_owned(), on: on.trim().eq_ignore_ascii_case("true") })
    })
}

/// What of `in_use` Kubernetes `to` does not have any more and `from` still had.
///
/// # Errors
/// When the table in the program is broken, which a test rules out.
pub fn dropped(from: KubeVersion, to: KubeVersion, in_use: &InUse) -> Result<Vec<Refusal>> {
    let table = table()?;
    let between = |minor: u32| from.minor < minor && minor <= to.minor;
    let mut found = Vec::new();
    for gone in table.flag.iter().filter(|g| between(g.minor)) {
        let used =
            in_use.flags.iter().filter(|f| gone.components.contains(&f.component) && gone.names.contains(&f.flag));
        for (component, flags) in by_component(used.map(|f| (f.component, format!("--{}", f.flag)))) {
            found.push(Refusal::new(
                format!("{component} 1.{} has no {flags} any more", gone.minor),
                format!("take it out of {}.extra_args; see {}", component.table(), gone.source),
            ));
        }
    }
    for gone in table.gate.iter().filter(|g| between(g.minor)) {
        let used = in_use.gates.iter().filter(|g| gone.names.contains(&g.gate));
        for (component, gates) in by_component(used.map(|g| (g.component, g.gate.clone()))) {
            found.push(Refusal::new(
                format!("{component} 1.{} does not know the feature gate {gates} any more", gone.minor),
                format!("take it out of [{}]; see {}", component.table(), gone.source),
            ));
        }
    }
    let mut locked: BTreeMap<(u32, bool), Vec<&GateInUse>> = BTreeMap::new();
    for used in &in_use.gates {
        if let Some((minor, to)) = locked_between(from.minor, to.minor, &used.gate)?
            && used.on != to
        {
            locked.entry((minor, to)).or_default().push(used);
        }
    }
    for ((minor, to), used) in locked {
        for (component, gates) in by_component(used.into_iter().map(|g| (g.component, g.gate.clone()))) {
            let off = !to;
            found.push(Refusal::new(
                format!("{component} 1.{minor} does not start with the feature gate {gates} at {off}"),
                format!("take it out of [{}]; see {GATES}", component.table()),
            ));
        }
    }
    for gone in table.admission.iter().filter(|g| between(g.minor)) {
        for plugin in gone.names.iter().filter(|n| in_use.admission_plugins.contains(*n)) {
            found.push(Refusal::new(
                format!("kube-apiserver 1.{} has no admission plugin {plugin} any more", gone.minor),
                format!("take it out of apiserver.extra_args; see {}", gone.source),
            ));
        }
    }
    for gone in table.api.iter().filter(|g| between(g.minor)) {
        let used = in_use
            .apis
            .iter()
            .filter(|a| a.group == gone.group && a.version == gone.version && gone.resources.contains(&a.resource));
        let used: Vec<&str> = used.map(|a| a.resource.as_str()).collect();
        if !used.is_empty() {
            let (minor, group, version) = (gone.minor, &gone.group, &gone.version);
            found.push(Refusal::new(
                format!(
                    "Kubernetes 1.{minor} does not serve {group}/{version} any more, which is in use: {}",
                    listed(used)
                ),
                format!("have manifests, charts and clients use {} first; see {}", gone.instead, gone.source),
            ));
        }
    }
    Ok(found)
}

/// What is used, as one text a component.
fn by_component(used: impl Iterator<Item = (Component, String)>) -> BTreeMap<Component, String> {
    let mut all: BTreeMap<Component, Vec<String>> = BTreeMap::new();
    for (component, name) in used {
        all.entry(component).or_default().push(name);
    }
    all.into_iter().map(|(component, names)| (component, listed(names.iter().map(String::as_str)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v(minor: u32) -> KubeVersion {
        KubeVersion { major: 1, minor, patch: 0 }
    }
    fn reasons(from: u32, to: u32, used: &InUse) -> Vec<String> {
        let found = dropped(v(from), v(to), used).unwrap_or_else(|e| panic!("{e}"));
        assert!(found.iter().all(|r| r.way_out.contains("see https://")), "{found:?}");
        found.into_iter().map(|r| r.reason).collect()
    }

    #[test]
    fn what_the_inventory_sets_is_found() {
        let text = format!(
            "{}\n{}",
            include_str!("../../tests/inventory/valid/smallest.toml"),
            r#"
                [apiserver.extra_args]
                logtostderr = "true"
                cloud-provider = "external"
                feature-gates = "KMSv2=true, NodeSwap=false,AllAlpha=false"
                enable-admission-plugins = "NodeRestriction,PodSecurityPolicy"
                [kubelet.extra_args]
                pod-infra-container-image = "registry.k8s.io/pause:3.10"
                containerd = "/run/containerd/containerd.sock"
                [kubelet.config.featureGates]
                AppArmor = true
                [kube_proxy.config.featureGates]
                NFTablesProxyMode = false
            "#
        );
        let inv: Inventory = toml::from_str(&text).unwrap_or_else(|e| panic!("{e}"));
        let used = InUse::of(&inv);
        assert_eq!(reasons(24, 25, &used), ["kube-apiserver 1.25 has no admission plugin PodSecurityPolicy any more"]);
        assert_eq!(reasons(25, 26, &used), ["kube-apiserver 1.26 has no --logtostderr any more"]);
        assert_eq!(reasons(31, 32, &used), ["kube-apiserver 1.32 does not know the feature gate KMSv2 any more"]);
        assert_eq!(
            reasons(32, 33, &used),
            [
                "kube-apiserver 1.33 has no --cloud-provider any more",
                "kubelet 1.33 does not know the feature gate AppArmor any more",
                "kube-proxy 1.33 does not start with the feature gate NFTablesProxyMode at false"
            ]
        );
        assert_eq!(
            reasons(33, 34, &used),
            ["kube-apiserver 1.34 does not start with the feature gate NodeSwap at false"]
        );
        assert_eq!(reasons(34, 35, &used), ["kubelet 1.35 has no --pod-infra-container-image any more"]);
        assert_eq!(reasons(36, 37, &used), ["kubelet 1.37 has no --containerd any more"]);
        // A new patch of the same minor takes nothing away.
        assert_eq!(reasons(33, 33, &used), [""; 0]);
    }

    #[test]
    fn apis_in_use_are_found_at_the_minor_that_drops_them() {
        let api = |group: &str, version: &str, resource: &str| ApiInUse {
            group: group.into(),
            version: version.into(),
            resource: resource.into(),
        };
        let apis = [
            api("networking.k8s.io", "v1beta1", "ingresses"),
            api("extensions", "v1beta1", "ingresses"),
            api("policy", "v1beta1", "poddisruptionbudgets"),
            api("batch", "v1beta1", "cronjobs"),
            api("autoscaling", "v2beta2", "horizontalpodautoscalers"),
            api("storage.k8s.io", "v1beta1", "csistoragecapacities"),
            api("flowcontrol.apiserver.k8s.io", "v1beta3", "flowschemas"),
            api("networking.k8s.io", "v1", "ingresses"),
        ];
        let used = InUse { apis: apis.into(), ..InUse::default() };
        assert_eq!(
            reasons(21, 22, &used),
            [
                "Kubernetes 1.22 does not serve extensions/v1beta1 any more, which is in use: ingresses",
                "Kubernetes 1.22 does not serve networking.k8s.io/v1beta1 any more, which is in use: ingresses"
            ]
        );
        assert_eq!(
            reasons(24, 25, &used),
            [
                "Kubernetes 1.25 does not serve batch/v1beta1 any more, which is in use: cronjobs",
                "Kubernetes 1.25 does not serve policy/v1beta1 any more, which is in use: poddisruptionbudgets"
            ]
        );
        assert_eq!(reasons(25, 26, &used).len(), 1);
        assert_eq!(reasons(26, 27, &used).len(), 1);
        assert_eq!(reasons(27, 31, &used), [""; 0]);
        assert_eq!(reasons(31, 32, &used).len(), 1);
    }
}
