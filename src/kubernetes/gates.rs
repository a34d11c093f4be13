//! Feature gates by minor: `bundles/gates.toml`, embedded, and the removed ones of `bundles/removals.toml`. Pure.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use super::component::Component;
use super::removals::table;
use crate::error::{Error, Result};
use crate::nearest::nearest;

/// Gates that stand for all gates of a stage: component-base/featuregate.
const OF_ALL: [&str; 2] = ["AllAlpha", "AllBeta"];

/// Gates that one component does not register although the others do. Source: what `--help`
/// of the five components of 1.36.3 lists.
const NOT_IN: [(Component, &str); 1] = [(Component::KubeScheduler, "ControllerManagerReleaseLeaderElectionLockOnExit")];

/// kubeadm's own gates with the first minor that no longer has each, and the minor from which on it is locked to true:
/// `InitFeatureGates` in cmd/kubeadm/app/features/features.go of 1.35 and 1.36.
const KUBEADM: [(&str, Option<u32>, Option<u32>); 4] = [
    ("ControlPlaneKubeletLocalMode", Some(36), Some(35)),
    ("NodeLocalCRISocket", None, Some(36)),
    ("PublicKeysECDSA", None, None),
    ("RootlessControlPlane", None, None),
];

/// Why a component of a minor does not start with a gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GateFault {
    /// It never had it, as far as the table goes.
    Unknown {
        /// A gate of that minor with a like name.
        near: Option<String>,
        /// The table has every gate of this minor. Without that the gate may exist.
        certain: bool,
    },
    /// It does not have it yet.
    NotYet {
        /// The first minor that has it.
        from: u32,
        /// The table has every gate of this minor.
        certain: bool,
    },
    /// It does not have it any more.
    Gone {
        /// The first minor without it.
        since: u32,
        /// Where that is written.
        source: String,
    },
    /// It has only one value.
    Locked {
        /// That value.
        to: bool,
        /// The first minor with the lock.
        since: u32,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    complete: Vec<u32>,
    gates: BTreeMap<String, String>,
}

/// A gate from a minor on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Spec {
    minor: u32,
    on: bool,
    locked: bool,
}

struct Gates {
    complete: Vec<u32>,
    gates: BTreeMap<String, Vec<Spec>>,
}

static GATES: LazyLock<std::result::Result<Gates, String>> =
    LazyLock::new(|| read(include_str!("../../bundles/gates.toml")));

fn read(text: &str) -> std::result::Result<Gates, String> {
    let raw: Raw = toml::from_str(text).map_err(|e| e.to_string())?;
    let gates = raw.gates.into_iter().map(|(name, history)| {
        let specs: Option<Vec<Spec>> = history.split("; ").map(spec).collect();
        specs.map(|s| (name.clone(), s)).ok_or_else(|| format!("{name}: {history}"))
    });
    Ok(Gates { complete: raw.complete, gates: gates.collect::<std::result::Result<_, _>>()? })
}

/// Reads `36 ga on locked`.
fn spec(text: &str) -> Option<Spec> {
    let words: Vec<&str> = text.split(' ').collect();
    let (minor, stage, value, locked) = match words[..] {
        [minor, stage, value] => (minor, stage, value, false),
        [minor, stage, value, "locked"] => (minor, stage, value, true),
        _ => return None,
    };
    let on = match value {
        "on" => true,
        "off" => false,
        _ => return None,
    };
    matches!(stage, "alpha" | "beta" | "ga" | "deprecated").then_some(())?;
    Some(Spec { minor: minor.parse().ok()?, on, locked })
}

fn gates() -> Result<&'static Gates> {
    GATES.as_ref().map_err(|e| Error::failed(format!("failed to read bundles/gates.toml: {e}")))
}

/// What is wrong with setting this gate to `on` for this component of 1.`minor`; nothing when it may be set so.
///
/// # Errors
/// When a table in the program is broken, which a test rules out.
pub fn gate_fault(component: Component, minor: u32, gate: &str, on: bool) -> Result<Option<GateFault>> {
    if OF_ALL.contains(&gate) {
        return Ok(None);
    }
    let (known, removed) = (gates()?, &table()?.gate);
    let certain = known.complete.contains(&minor);
    if NOT_IN.contains(&(component, gate)) {
        return Ok(Some(GateFault::Unknown { near: None, certain }));
    }
    let gone_at = |name: &str| removed.iter().find(|g| g.names.iter().any(|n| n == name));
    if let Some(gone) = gone_at(gate) {
        if gone.minor <= minor {
            return Ok(Some(GateFault::Gone { since: gone.minor, source: gone.source.clone() }));
        }
        if !known.gates.contains_key(gate) {
            // When it came and whether it is locked is not in any table.
            return Ok(None);
        }
    }
    let Some(history) = known.gates.get(gate) else {
        let names: Vec<&str> = known
            .gates
            .iter()
            .filter(|(name, h)| h.iter().any(|s| s.minor <= minor) && gone_at(name).is_none_or(|g| g.minor > minor))
            .map(|(name, _)| name.as_str())
            .collect();
        return Ok(Some(GateFault::Unknown { near: nearest(gate, &names).map(str::to_owned), certain }));
    };
    let now = history.iter().rev().find(|s| s.minor <= minor);
    Ok(match (now, history.first()) {
        (None, Some(first)) => Some(GateFault::NotYet { from: first.minor, certain }),
        (Some(spec), _) if spec.locked && spec.on != on => {
            let since = history.iter().find(|s| s.locked).map_or(minor, |s| s.minor);
            Some(GateFault::Locked { to: spec.on, since })
        }
        _ => None,
    })
}

/// The minor after `from` and up to `to` from which on the gate has this one value only.
///
/// # Errors
/// When the table in the program is broken.
pub fn locked_between(from: u32, to: u32, gate: &str) -> Result<Option<(u32, bool)>> {
    let history = gates()?.gates.get(gate);
    let locked = history.into_iter().flatten().find(|s| s.locked);
    Ok(locked.filter(|s| from < s.minor && s.minor <= to).map(|s| (s.minor, s.on)))
}

/// The same for a gate of kubeadm itself; of minors that are in no table nothing is said.
///
/// # Errors
/// When the table in the program is broken.
pub fn kubeadm_gate_fault(minor: u32, gate: &str, on: bool) -> Result<Option<GateFault>> {
    if !gates()?.complete.contains(&minor) {
        return Ok(None);
    }
    let source = "https://github.com/kubernetes/kubernetes/blob/master/cmd/kubeadm/app/features/features.go";
    let Some((_, gone, locked)) = KUBEADM.iter().find(|(name, ..)| *name == gate) else {
        let names: Vec<&str> =
            KUBEADM.iter().filter(|k| k.1.is_none_or(|g| g > minor)).map(|(name, ..)| *name).collect();
        return Ok(Some(GateFault::Unknown { near: nearest(gate, &names).map(str::to_owned), certain: true }));
    };
    Ok(match (*gone, *locked) {
        (Some(since), _) if since <= minor => Some(GateFault::Gone { since, source: source.into() }),
        (_, Some(since)) if since <= minor && !on => Some(GateFault::Locked { to: true, since }),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(minor: u32, gate: &str, on: bool) -> Option<GateFault> {
        gate_fault(Component::KubeApiserver, minor, gate, on).unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn the_table_is_well_formed() {
        let known = gates().unwrap_or_else(|e| panic!("{e}"));
        assert!(known.gates.len() > 240, "{}", known.gates.len());
        for (name, history) in &known.gates {
            assert!(!history.is_empty() && history.windows(2).all(|w| w[0].minor < w[1].minor), "{name}");
            // A lock holds until the gate is gone, and nothing changes behind it.
            let locked = history.iter().position(|s| s.locked);
            assert!(locked.is_none_or(|at| history[at..].iter().all(|s| s.locked && s.on == history[at].on)), "{name}");
        }
        for gone in &table().unwrap_or_else(|e| panic!("{e}")).gate {
            for name in &gone.names {
                // Of the complete minors the table has what is removed later.
                let has = known.gates.contains_key(name);
                assert_eq!(has, known.complete.iter().any(|c| *c < gone.minor), "{name} {}", gone.minor);
            }
        }
    }

    /// Each was set on a kube-apiserver 1.36.3, which did not start.
    #[test]
    fn gates_that_an_api_server_of_1_36_refused_are_refused() {
        let locked = [
            "DRAAdminAccess",
            "DeclarativeValidation",
            "DisableNodeKubeProxyVersion",
            "ExternalServiceAccountTokenSigner",
            "ImageVolume",
            "KubeletPSI",
            "KubeletPodResourcesDynamicResources",
            "KubeletPodResourcesGet",
            "MutableCSINodeAllocatableCount",
            "NodeLogQuery",
            "ProcMountType",
            "SELinuxChangePolicy",
            "SELinuxMountReadWriteOncePod",
            "UserNamespacesSupport",
            "TopologyManagerPolicyOptions",
        ];
        for (gates, to) in [(&locked[..], true), (&["GitRepoVolumeDriver", "SeparateCacheWatchRPC"][..], false)] {
            for gate in gates {
                assert_eq!(fault(36, gate, !to), Some(GateFault::Locked { to, since: 36 }), "{gate}");
                assert_eq!((fault(36, gate, to), fault(35, gate, !to)), (None, None), "{gate}");
            }
        }
    }

    /// Both values of every gate, as a kube-scheduler 1.36.3 took them.
    #[test]
    fn the_table_says_what_a_scheduler_of_1_36_said() {
        let recorded = include_str!("../../tests/recorded/gates-kube-scheduler-1.36.3.txt");
        let mut lines = 0;
        for line in recorded.lines().filter(|l| !l.starts_with('#')) {
            let words: Vec<&str> = line.split(' ').collect();
            let [gate, on, off] = words[..] else { panic!("{line}") };
            lines += 1;
            for (value, said) in [(true, on), (false, off)] {
                let found = gate_fault(Component::KubeScheduler, 36, gate, value).unwrap_or_else(|e| panic!("{e}"));
                let expected = match found {
                    None => ["starts", "depends"],
                    Some(GateFault::Locked { .. }) => ["locked", ""],
                    Some(_) => ["unknown", ""],
                };
                assert!(expected.contains(&said), "{gate}={value}: {said}, {found:?}");
            }
        }
        assert!(lines > 250, "{lines}");
    }

    #[test]
    fn gates_that_do_not_exist_are_refused() {
        let near = |text: &str| Some(text.to_owned());
        assert_eq!(fault(36, "NodeSwapp", true), Some(GateFault::Unknown { near: near("NodeSwap"), certain: true }));
        assert_eq!(fault(36, "Zyx", true), Some(GateFault::Unknown { near: None, certain: true }));
        assert_eq!(fault(33, "Zyx", true), Some(GateFault::Unknown { near: None, certain: false }));
        assert_eq!(fault(35, "PodsAPI", true), Some(GateFault::NotYet { from: 36, certain: true }));
        assert_eq!(fault(30, "PodsAPI", true), Some(GateFault::NotYet { from: 36, certain: false }));
        assert!(matches!(fault(36, "MemoryManager", true), Some(GateFault::Gone { since: 36, .. })));
        assert!(matches!(fault(36, "KMSv2", true), Some(GateFault::Gone { since: 32, .. })));
        assert_eq!((fault(31, "KMSv2", true), fault(36, "AllAlpha", true)), (None, None));
        // What is not in the table for one minor may be gone in the next.
        assert_eq!(fault(35, "MemoryManager", false), Some(GateFault::Locked { to: true, since: 32 }));
    }

    #[test]
    fn locks_are_found_between_two_minors() {
        let between = |from, to, gate| locked_between(from, to, gate).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(between(35, 36, "ProcMountType"), Some((36, true)));
        assert_eq!((between(36, 37, "ProcMountType"), between(34, 35, "ProcMountType")), (None, None));
    }

    #[test]
    fn kubeadm_has_gates_of_its_own() {
        let fault = |minor, gate, on| kubeadm_gate_fault(minor, gate, on).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!((fault(36, "PublicKeysECDSA", true), fault(20, "IPv6DualStack", true)), (None, None));
        assert!(matches!(fault(36, "ControlPlaneKubeletLocalMode", true), Some(GateFault::Gone { since: 36, .. })));
        assert_eq!(fault(35, "ControlPlaneKubeletLocalMode", true), None);
        assert_eq!(fault(36, "NodeLocalCRISocket", false), Some(GateFault::Locked { to: true, since: 36 }));
        assert!(matches!(fault(36, "NodeSwap", true), Some(GateFault::Unknown { certain: true, .. })));
    }
}
