//! What the inventory asks of the control plane, the kubelets and kube-proxy beyond kubeadm's own choice, and whether
//! a running cluster has it. Pure.
//!
//! kubeadm adds defaults of its own wherever it writes, and they change with its version: so only what was asked for is
//! looked for. What was asked for before and is no more is told by what each host keeps of the last time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::Pem;

use super::config::{
    ClusterImages, controller_manager_args, kubelet_args, kubelet_configuration, proxy_configuration, shared_sans,
};
use crate::error::{Context as _, Result};
use crate::inventory::{EtcdMode, Inventory, Node};
use crate::pem::address;

const API_SERVER: &str = "kube-apiserver";
const ETCD: &str = "etcd";

/// What is asked of the static pods of a control plane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ControlPlaneSettings {
    /// Names and addresses that the certificate of every API server has.
    pub cert_sans: BTreeSet<String>,
    /// Extra arguments by component, without the leading dashes.
    pub extra_args: BTreeMap<String, BTreeMap<String, String>>,
    /// The tag of etcd's image, where etcd is a static pod.
    pub etcd_tag: Option<String>,
}

impl ControlPlaneSettings {
    /// What the inventory asks for.
    #[must_use]
    pub fn wanted(inv: &Inventory, images: &ClusterImages) -> Self {
        let mut extra_args: BTreeMap<String, BTreeMap<String, String>> = [
            (API_SERVER, inv.apiserver.extra_args.clone()),
            ("kube-controller-manager", controller_manager_args(inv)),
            ("kube-scheduler", inv.scheduler.extra_args.clone()),
        ]
        .map(|(name, args)| (name.to_owned(), args))
        .into();
        let stacked = inv.etcd.mode == EtcdMode::Stacked;
        if stacked {
            extra_args.insert(ETCD.into(), inv.etcd.extra_args.clone());
        }
        let etcd_tag = images.etcd_tag.clone().filter(|_| stacked);
        Self { cert_sans: shared_sans(inv), extra_args, etcd_tag }
    }

    /// As it is kept on a host.
    pub fn text(&self) -> Result<String> {
        written(self)
    }

    /// Reads [`text`](Self::text); `None` for anything else.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        serde_yaml_ng::from_str(text).ok()
    }

    /// These without etcd's tag, where `kubeadm upgrade` gives etcd its image.
    #[must_use]
    pub fn without_etcd_tag(self) -> Self {
        Self { etcd_tag: None, ..self }
    }

    /// Whether a host that keeps `kept` was last made to have these. etcd's tag does not count: nothing of an older image
    /// is left over, and which image runs says the manifest itself.
    #[must_use]
    pub fn is_kept(&self, kept: &str) -> bool {
        Self::read(kept).is_some_and(|k| k.without_etcd_tag() == self.clone().without_etcd_tag())
    }

    /// The components, in the order in which they are begun anew.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        let rank = |name: &str| (name != ETCD, name != API_SERVER);
        let mut all: Vec<&str> = self.extra_args.keys().map(String::as_str).collect();
        all.sort_by_key(|name| rank(name));
        all.into_iter()
    }

    /// The components that are not as wanted on a host that was made to have `before`; what was asked for then and is
    /// not now would be still there. With no word of before nothing is thought left over.
    #[must_use]
    pub fn behind(&self, before: Option<&str>, found: &StaticPods) -> Vec<String> {
        let kept = before.map(Self::read);
        let same = |name: &str| match &kept {
            None => true,
            Some(None) => false,
            Some(Some(kept)) => kept.extra_args.get(name) == self.extra_args.get(name),
        };
        let has = |name: &str| {
            let pod = found.pods.get(name);
            let args = self.extra_args.get(name).into_iter().flatten();
            pod.is_some_and(|pod| {
                args.into_iter().all(|(k, v)| pod.command.contains(&format!("--{k}={v}")))
                    && (name != ETCD
                        || self.etcd_tag.as_ref().is_none_or(|tag| pod.image.ends_with(&format!(":{tag}"))))
            })
        };
        self.components().filter(|name| !same(name) || !has(name)).map(str::to_owned).collect()
    }

    /// Whether the API server's certificate has to be made anew.
    #[must_use]
    pub fn wants_certificate(&self, before: Option<&str>, found: &StaticPods) -> bool {
        let same = before.is_none_or(|text| Self::read(text).is_some_and(|kept| kept.cert_sans == self.cert_sans));
        !same || !self.cert_sans.iter().all(|name| found.sans.contains(&plain(name)))
    }

    /// Whether the cluster's own configuration, from which kubeadm makes what joins and what is upgraded, has all.
    #[must_use]
    pub fn is_in(&self, cluster: &ClusterSettings) -> bool {
        let Some(all) = &cluster.cluster else { return false };
        let part = |name: &str| match name {
            API_SERVER => &all["apiServer"],
            "kube-controller-manager" => &all["controllerManager"],
            "kube-scheduler" => &all["scheduler"],
            _ => &all["etcd"]["local"],
        };
        // kubeadm writes some of its defaults there as well.
        let has = |have: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>| {
            wanted.iter().all(|(k, v)| have.get(k) == Some(v))
        };
        let sans: BTreeSet<&str> =
            all["apiServer"]["certSANs"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        self.extra_args.iter().all(|(name, wanted)| has(&arguments(&part(name)["extraArgs"]), wanted))
            && self.cert_sans.iter().all(|s| sans.contains(s.as_str()))
            && self.etcd_tag.as_deref().is_none_or(|tag| all["etcd"]["local"]["imageTag"].as_str() == Some(tag))
    }
}

/// Extra arguments in either form: a map, or a list of name and value.
fn arguments(value: &Value) -> BTreeMap<String, String> {
    let text = |v: &Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
    match value {
        Value::Object(map) => map.iter().map(|(k, v)| (k.clone(), text(v))).collect(),
        Value::Array(list) => {
            list.iter().filter_map(|a| Some((a["name"].as_str()?.to_owned(), text(&a["value"])))).collect()
        }
        _ => BTreeMap::new(),
    }
}

/// A name, or an address in the one way in which addresses are compared.
pub(super) fn plain(name: &str) -> String {
    name.parse::<IpAddr>().map_or_else(|_| name.to_ascii_lowercase(), |ip| ip.to_string())
}

/// The static pods of a host as their manifests have them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StaticPods {
    pods: BTreeMap<String, StaticPod>,
    sans: BTreeSet<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct StaticPod {
    command: BTreeSet<String>,
    image: String,
}

impl StaticPods {
    /// Reads manifests by component, and the API server's certificate.
    #[must_use]
    pub fn read<'a>(manifests: impl IntoIterator<Item = (&'a str, &'a str)>, certificate: &[u8]) -> Self {
        let pod = |text: &str| {
            let all: Value = serde_yaml_ng::from_str(text).ok()?;
            let container = &all["spec"]["containers"][0];
            let words = container["command"].as_array()?.iter().filter_map(Value::as_str);
            let image = container["image"].as_str()?.to_owned();
            Some(StaticPod { command: words.map(str::to_owned).collect(), image })
        };
        let pods = manifests.into_iter().filter_map(|(name, text)| Some((name.to_owned(), pod(text)?)));
        Self { pods: pods.collect(), sans: sans(certificate).unwrap_or_default() }
    }
}

fn sans(pem: &[u8]) -> Option<BTreeSet<String>> {
    let block = Pem::iter_from_buffer(pem).next()?.ok()?;
    let certificate = block.parse_x509().ok()?;
    let names = &certificate.subject_alternative_name().ok()??.value.general_names;
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(plain(name)),
        GeneralName::IPAddress(bytes) => address(bytes).map(|a| a.to_string()),
        _ => None,
    };
    Some(names.iter().filter_map(name).collect())
}

/// What is asked of a node's kubelet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KubeletSettings {
    /// Arguments, without the leading dashes.
    pub args: BTreeMap<String, String>,
    /// Its KubeletConfiguration, as far as it is asked for.
    pub config: Value,
}

/// What kubeadm itself writes into kubeadm-flags.env, from 1.20 on.
const KUBEADM_FLAGS: [&str; 9] = [
    "cgroup-driver",
    "cni-bin-dir",
    "container-runtime",
    "container-runtime-endpoint",
    "hostname-override",
    "network-plugin",
    "pod-infra-container-image",
    "register-with-taints",
    "resolv-conf",
];

impl KubeletSettings {
    /// What the inventory asks for.
    pub fn wanted(inv: &Inventory, node: &Node) -> Result<Self> {
        Ok(Self { args: kubelet_args(inv, node)?, config: kubelet_configuration(inv) })
    }

    /// As it is kept on a host.
    pub fn text(&self) -> Result<String> {
        written(self)
    }

    /// Reads [`text`](Self::text); `None` for anything else.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        serde_yaml_ng::from_str(text).ok()
    }

    /// Whether a node has all: its config.yaml and its kubeadm-flags.env.
    #[must_use]
    pub fn is_on(&self, config: &str, flags: &str) -> bool {
        let have: Value = serde_yaml_ng::from_str(config).unwrap_or_default();
        let words = words(flags);
        has_all(&self.config, &have) && self.args.iter().all(|(k, v)| words.contains(&format!("--{k}={v}").as_str()))
    }

    /// kubeadm-flags.env with these arguments: what kubeadm put there stays, anything else was asked for once and goes.
    #[must_use]
    pub fn flags(&self, before: &str) -> String {
        let name = |word: &str| word.trim_start_matches('-').split('=').next().unwrap_or_default().to_owned();
        let stays = |word: &&str| {
            let name = name(word);
            KUBEADM_FLAGS.contains(&name.as_str()) && !self.args.contains_key(&name)
        };
        let kept = words(before).into_iter().filter(stays).map(str::to_owned);
        let all: Vec<String> = kept.chain(self.args.iter().map(|(k, v)| format!("--{k}={v}"))).collect();
        format!("KUBELET_KUBEADM_ARGS=\"{}\"\n", all.join(" "))
    }
}

fn words(flags: &str) -> Vec<&str> {
    let line = flags.lines().find_map(|l| l.strip_prefix("KUBELET_KUBEADM_ARGS=")).unwrap_or_default();
    line.trim().trim_matches('"').split_whitespace().collect()
}

/// What the cluster keeps of its own settings, as a control plane tells.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ClusterSettings {
    /// The ClusterConfiguration.
    pub cluster: Option<Value>,
    /// The KubeletConfiguration that nodes take.
    pub kubelet: Option<Value>,
    /// The KubeProxyConfiguration.
    pub proxy: Option<Value>,
}

impl ClusterSettings {
    /// Reads lines of `key=BASE64`.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let map: BTreeMap<&str, &str> = text.lines().filter_map(|l| l.split_once('=')).collect();
        let document = |key: &str| -> Option<Value> {
            let bytes = STANDARD.decode(map.get(key)?.trim()).ok()?;
            serde_yaml_ng::from_slice::<Value>(&bytes).ok().filter(Value::is_object)
        };
        Self { cluster: document("cluster"), kubelet: document("kubelet"), proxy: document("proxy") }
    }

    /// What the inventory asks of kube-proxy, as it is kept on a host.
    pub fn proxy_text(inv: &Inventory) -> Result<String> {
        written(&proxy_configuration(inv))
    }
}

fn written(value: &impl Serialize) -> Result<String> {
    serde_yaml_ng::to_string(value).context(|| "failed to write settings as YAML".into())
}

/// Whether `have` has all of `wanted`: key by key, lists as a whole. What is empty may be left out, and one length of
/// time may be written in more than one way.
#[must_use]
pub fn has_all(wanted: &Value, have: &Value) -> bool {
    match (wanted, have) {
        (Value::Object(wanted), _) => wanted
            .iter()
            .filter(|(key, _)| !matches!(key.as_str(), "apiVersion" | "kind"))
            .all(|(key, value)| has_all(value, have.get(key).unwrap_or(&Value::Null))),
        (Value::Array(wanted), Value::Array(have)) => {
            wanted.len() == have.len() && wanted.iter().zip(have).all(|(w, h)| has_all(w, h))
        }
        (Value::String(wanted), Value::String(have)) => {
            wanted == have || duration(wanted).is_some_and(|w| Some(w) == duration(have))
        }
        (Value::Number(wanted), Value::Number(have)) => wanted.as_f64() == have.as_f64(),
        (wanted, Value::Null) => match wanted {
            Value::Bool(on) => !on,
            Value::Number(n) => n.as_f64() == Some(0.0),
            Value::String(text) => text.is_empty() || duration(text) == Some(0),
            Value::Array(list) => list.is_empty(),
            _ => true,
        },
        _ => wanted == have,
    }
}

/// A length of time as Go writes it, like `1m30s`, in nanoseconds.
fn duration(text: &str) -> Option<u128> {
    const UNITS: [(&str, u128); 7] = [
        ("ns", 1),
        ("us", 1_000),
        ("µs", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
    ];
    if text == "0" {
        return Some(0);
    }
    let (mut rest, mut sum) = (text, 0u128);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|n| *n > 0)?;
        let (number, more) = rest.split_at(digits);
        let letters = more.find(|c: char| c.is_ascii_digit()).unwrap_or(more.len());
        let (unit, more) = more.split_at(letters);
        let (_, size) = UNITS.iter().find(|(name, _)| *name == unit)?;
        sum = sum.checked_add(number.parse::<u128>().ok()?.checked_mul(*size)?)?;
        rest = more;
    }
    (!text.is_empty()).then_some(sum)
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
