//! What the versions of a cluster forbid. Pure.
//!
//! Sources: the version skew policy, <https://kubernetes.io/releases/version-skew-policy/>; etcd's upgrade guides,
//! <https://etcd.io/docs/latest/upgrades/>; containerd's table, <https://containerd.io/releases/>; cgroup v1 in the
//! kubelet, <https://kubernetes.io/docs/concepts/architecture/cgroups/>.

use std::collections::{BTreeMap, BTreeSet};

use super::refusal::{Refusal, listed};
use crate::facts::CgroupVersion;
use crate::inventory::{EtcdMode, Inventory};
use crate::kubernetes::{CGROUP_V2_FROM, CONTAINERD_2_FROM, external_etcd_floor, floor_before, stacked_etcd_floor};
use crate::version::{KubeVersion, Release};

/// The versions that run, each by the name of its node. What is not known is left out and not judged.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Running {
    /// The API servers.
    pub api_servers: BTreeMap<String, KubeVersion>,
    /// The kubelets of all nodes.
    pub kubelets: BTreeMap<String, KubeVersion>,
    /// etcd's members, or the endpoints of an external etcd.
    pub etcd: BTreeMap<String, Release>,
    /// The etcd that takes their place: of the bundle's image, or of its archive where etcd runs as units. `None` for an
    /// etcd that somebody else runs.
    pub next_etcd: Option<Release>,
    /// The containerd that each node's new kubelet will find: the bundle's where the upgrade brings one, else what runs.
    pub containerd: BTreeMap<String, Release>,
    /// The cgroup hierarchy of each node.
    pub cgroups: BTreeMap<String, CgroupVersion>,
}

/// Everything that forbids taking what runs to `target`; empty when it may begin or, after an interruption, go on.
#[must_use]
pub fn refusals(current: &Running, target: KubeVersion, inv: &Inventory) -> Vec<Refusal> {
    let mut found = Vec::new();
    control_planes(current, target, &mut found);
    kubelets(current, target, inv, &mut found);
    found.extend(etcd_refusals(current, target, inv));
    let old = current.containerd.iter().filter(|(_, r)| target.minor >= CONTAINERD_2_FROM && r.major() < 2);
    of_nodes(old.map(|(n, r)| (n, *r)), &mut found, |release, nodes| {
        Refusal::new(
            format!("Kubernetes {target} does not work with containerd {release}, on {nodes}"),
            format!(
                "go to containerd 2 on 1.{} first: leave runtime.containerd_version out or set it to a 2.x release, \
                 make a bundle with it and apply that",
                CONTAINERD_2_FROM - 1
            ),
        )
    });
    let v1 = current.cgroups.iter().filter(|(_, c)| **c != CgroupVersion::V2);
    let v1: Vec<&str> = v1.map(|(name, _)| name.as_str()).collect();
    if target.minor >= CGROUP_V2_FROM && !v1.is_empty() {
        found.extend(cgroup_v1(target, &listed(v1), inv));
    }
    found
}

fn control_planes(current: &Running, target: KubeVersion, found: &mut Vec<Refusal>) {
    let newer = current.api_servers.iter().filter(|(_, v)| **v > target);
    of_nodes(newer.map(|(n, v)| (n, *v)), found, |version, nodes| {
        Refusal::new(
            format!("Kubernetes {target} would be a downgrade: the control plane on {nodes} runs {version}"),
            "set cluster.version to what runs or to something newer; the way back is an etcd snapshot",
        )
    });
    // Those at the target are done, and a run that was interrupted goes on with the rest.
    let before: BTreeSet<KubeVersion> = current.api_servers.values().copied().filter(|v| *v < target).collect();
    if before.len() > 1
        && let Some(newest) = before.last()
    {
        let all: Vec<String> = current.api_servers.iter().map(|(name, v)| format!("{name} {v}")).collect();
        found.push(Refusal::new(
            format!(
                "the control planes run different versions, and it is no upgrade to {target} that was interrupted: {}",
                listed(all.iter().map(String::as_str))
            ),
            format!("finish that upgrade first: set cluster.version to {newest}, apply with its bundle, then go on"),
        ));
    }
    if let Some(oldest) = before.first().filter(|v| !v.may_upgrade_to(target)) {
        let step = oldest.minor + 1;
        let skipped: Vec<String> = (step..target.minor).map(|m| format!("1.{m}")).collect();
        found.push(Refusal::new(
            format!("from {oldest} to {target} leaves out {}", skipped.join(", ")),
            format!(
                "go one minor at a time: set cluster.version to a release of 1.{step} first, with a bundle of its own"
            ),
        ));
    }
}

fn kubelets(current: &Running, target: KubeVersion, inv: &Inventory, found: &mut Vec<Refusal>) {
    let newest = current.api_servers.values().max();
    let oldest = current.api_servers.values().min();
    // While the control planes are under way, the kubelet of one that is done is newer than the API servers of those
    // that are not: what counts is the newest.
    let ahead = |v: &KubeVersion| newest.is_some_and(|n| (v.major, v.minor) > (n.major, n.minor));
    of_nodes(current.kubelets.iter().filter(|(_, v)| ahead(v)).map(|(n, v)| (n, *v)), found, |version, nodes| {
        let server = newest.copied().unwrap_or(target);
        Refusal::new(
            format!("the kubelet {version} on {nodes} is newer than every API server, of which the newest is {server}"),
            format!("put kubelet {server} back there: a kubelet is never newer than the API server"),
        )
    });
    let newer = current.kubelets.iter().filter(|(_, v)| !ahead(v) && **v > target);
    of_nodes(newer.map(|(n, v)| (n, *v)), found, |version, nodes| {
        Refusal::new(
            format!("Kubernetes {target} would be a downgrade: the kubelet on {nodes} is {version}"),
            "set cluster.version to what runs or to something newer",
        )
    });
    let first = || match oldest.filter(|o| **o < target) {
        Some(server) => format!("bring it to {server} first: set cluster.version to that and apply"),
        None => "take the node out of the cluster and join it again".into(),
    };
    let too_old = |v: &KubeVersion| *v < target && !v.kubelet_may_join(target);
    of_nodes(current.kubelets.iter().filter(|(_, v)| too_old(v)).map(|(n, v)| (n, *v)), found, |version, nodes| {
        Refusal::new(format!("the kubelet {version} on {nodes} is too old for an API server of {target}"), first())
    });
    // An API server bears with older kubelets, but these are to be upgraded as well, and that goes one minor at a time:
    // <https://kubernetes.io/releases/version-skew-policy/#kubelet-1>.
    let own: BTreeSet<&str> = inv.hosts.iter().map(|h| h.name.as_str()).collect();
    let skips = |(name, v): &(&String, &KubeVersion)| {
        own.contains(name.as_str()) && **v < target && !too_old(v) && !v.may_upgrade_to(target)
    };
    of_nodes(current.kubelets.iter().filter(skips).map(|(n, v)| (n, *v)), found, |version, nodes| {
        Refusal::new(
            format!("the kubelet {version} on {nodes} would leave out a minor on its way to {target}"),
            first(),
        )
    });
}

/// cgroup v1 is refused twice: by the kubelet, unless its configuration says otherwise, and by kubeadm, whose
/// `SystemVerification` also runs before `kubeadm upgrade` and does not read that configuration.
fn cgroup_v1(target: KubeVersion, nodes: &str, inv: &Inventory) -> Vec<Refusal> {
    let way_out = "boot these hosts with cgroup v2 (systemd.unified_cgroup_hierarchy=1), or set kubelet.config \
                   failCgroupV1 = false and let kubeadm.ignore_preflight_errors name SystemVerification";
    let mut found = Vec::new();
    if !inv.kubelet.accepts_cgroup_v1() {
        let reason = format!("the kubelet of Kubernetes {target} does not start on cgroup v1, on {nodes}");
        found.push(Refusal::new(reason, way_out));
    }
    if !inv.kubeadm.ignores("SystemVerification") {
        let reason = format!("kubeadm {target} refuses cgroup v1 (SystemVerification), on {nodes}");
        found.push(Refusal::new(reason, way_out));
    }
    found
}

/// What forbids the etcd that `target` brings, or the one that is there already, also where Kubernetes itself stays.
#[must_use]
pub fn etcd_refusals(current: &Running, target: KubeVersion, inv: &Inventory) -> Vec<Refusal> {
    let mut found = Vec::new();
    let stacked = inv.etcd.mode == EtcdMode::Stacked;
    let floor = if stacked { stacked_etcd_floor(target) } else { external_etcd_floor(target) };
    match (current.next_etcd, floor) {
        (Some(next), Some(floor)) if next < floor => found.push(Refusal::new(
            if stacked {
                format!(
                    "kubeadm {target} starts etcd with flags that etcd {next} does not have; it needs {floor} or newer"
                )
            } else {
                format!("kubeadm {target} needs an external etcd of {floor} or newer, and the bundle has {next}")
            },
            if stacked {
                "leave etcd.image_tag out, or set it to a newer etcd, then lock and build the bundle again"
            } else {
                "leave etcd.version out, or set it to a newer etcd, then lock and build the bundle again"
            },
        )),
        // An etcd that stays as it is.
        (None, Some(floor)) if !stacked => {
            let old = current.etcd.iter().filter(|(_, r)| **r < floor);
            of_nodes(old.map(|(n, r)| (n, *r)), &mut found, |release, members| {
                Refusal::new(
                    format!("Kubernetes {target} needs an external etcd of {floor} or newer: {members} has {release}"),
                    "upgrade that etcd first, one minor at a time",
                )
            });
        }
        _ => {}
    }
    let Some(next) = current.next_etcd else { return found };
    let newer = current.etcd.iter().filter(|(_, r)| next < **r);
    of_nodes(newer.map(|(n, r)| (n, *r)), &mut found, |release, members| {
        Refusal::new(
            format!("the bundle's etcd {next} is older than the {release} on {members}"),
            "etcd's data goes forward only: make a bundle with etcd.version and etcd.image_tag as they run, or newer",
        )
    });
    let Some(floor) = floor_before(next) else { return found };
    let key = if stacked { "etcd.image_tag" } else { "etcd.version" };
    // Patches of a minor replace one another.
    let same = |r: Release| (r.major(), r.minor()) == (next.major(), next.minor());
    let old = current.etcd.iter().filter(|(_, r)| **r < floor && !same(**r));
    of_nodes(old.map(|(n, r)| (n, *r)), &mut found, |release, members| {
        Refusal::new(
            format!("etcd {next} cannot take over from etcd {release}, on {members}"),
            format!(
                "go to etcd {floor} or a newer patch of it first: set {key}, with Kubernetes as it is, and apply; leave \
                 the key out afterwards"
            ),
        )
    });
    found
}

/// One refusal a version, with the nodes that have it.
fn of_nodes<'a, V: Ord>(
    nodes: impl Iterator<Item = (&'a String, V)>,
    found: &mut Vec<Refusal>,
    refusal: impl Fn(&V, String) -> Refusal,
) {
    let mut by_version: BTreeMap<V, Vec<&str>> = BTreeMap::new();
    for (name, version) in nodes {
        by_version.entry(version).or_default().push(name);
    }
    found.extend(by_version.iter().map(|(version, names)| refusal(version, listed(names.iter().copied()))));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn inventory() -> Inventory {
        let text = include_str!("../../tests/inventory/valid/smallest.toml");
        toml::from_str(text).unwrap_or_else(|e| panic!("{e}"))
    }
    fn v(text: &str) -> KubeVersion {
        text.parse().unwrap_or_else(|e| panic!("{e}"))
    }
    fn nodes<T: std::str::FromStr>(pairs: &[(&str, &str)]) -> BTreeMap<String, T> {
        let value = |text: &str| text.parse().unwrap_or_else(|_| panic!("{text}"));
        pairs.iter().map(|(name, text)| ((*name).to_owned(), value(text))).collect()
    }
    fn running(servers: &[(&str, &str)], kubelets: &[(&str, &str)]) -> Running {
        Running { api_servers: nodes(servers), kubelets: nodes(kubelets), ..Running::default() }
    }
    fn reasons(current: &Running, target: &str) -> Vec<String> {
        let found = refusals(current, v(target), &inventory());
        assert!(found.iter().all(|r| r.way_out.len() > 20), "{found:?}");
        found.into_iter().map(|r| r.reason).collect()
    }

    #[test]
    fn a_plain_upgrade_and_its_resumption_are_allowed() {
        let even = running(&[("a", "1.35.1"), ("b", "1.35.1")], &[("a", "1.35.1"), ("b", "1.35.1"), ("w", "1.35.1")]);
        for target in ["1.35.1", "1.35.4", "1.36.0"] {
            assert_eq!(reasons(&even, target), [""; 0], "{target}");
        }
        // One control plane is done, with its kubelet; the other one and the worker are not.
        let half = running(&[("a", "1.36.2"), ("b", "1.35.1")], &[("a", "1.36.2"), ("b", "1.35.1"), ("w", "1.34.7")]);
        assert_eq!(reasons(&half, "1.36.2"), [""; 0]);
        assert_eq!(reasons(&Running::default(), "1.36.2"), [""; 0]);
    }

    #[test]
    fn skipping_and_going_back_are_refused() {
        let old = running(&[("a", "1.33.9")], &[("a", "1.33.9")]);
        assert_eq!(reasons(&old, "1.36.0"), ["from 1.33.9 to 1.36.0 leaves out 1.34, 1.35"]);
        let way = refusals(&old, v("1.36.0"), &inventory()).pop().map(|r| r.way_out).unwrap_or_default();
        assert!(way.contains("a release of 1.34 first"), "{way}");
        assert_eq!(
            reasons(&old, "1.33.8"),
            [
                "Kubernetes 1.33.8 would be a downgrade: the control plane on a runs 1.33.9",
                "Kubernetes 1.33.8 would be a downgrade: the kubelet on a is 1.33.9"
            ]
        );
    }

    #[test]
    fn a_mix_that_is_no_interrupted_upgrade_is_refused() {
        let mixed = running(&[("a", "1.35.4"), ("b", "1.34.1"), ("c", "1.35.4")], &[]);
        assert_eq!(
            reasons(&mixed, "1.36.0"),
            [
                "the control planes run different versions, and it is no upgrade to 1.36.0 that was interrupted: \
                 a 1.35.4, b 1.34.1, c 1.35.4",
                "from 1.34.1 to 1.36.0 leaves out 1.35"
            ]
        );
        assert_eq!(reasons(&mixed, "1.35.4"), [""; 0]);
    }

    #[test]
    fn kubelets_are_neither_newer_nor_too_old() {
        let ahead = running(&[("a", "1.35.1")], &[("w1", "1.36.0"), ("w2", "1.36.0")]);
        let why = "the kubelet 1.36.0 on w1, w2 is newer than every API server, of which the newest is 1.35.1";
        assert_eq!(reasons(&ahead, "1.36.0"), [why]);
        let behind = |kubelet| running(&[("a", "1.35.1")], &[("w", kubelet)]);
        assert_eq!(reasons(&behind("1.33.0"), "1.36.0"), [""; 0]);
        assert_eq!(
            reasons(&behind("1.32.9"), "1.36.0"),
            ["the kubelet 1.32.9 on w is too old for an API server of 1.36.0"]
        );
        // One of the inventory is taken along.
        let mut inv = inventory();
        inv.hosts[0].name = "w".into();
        let said = refusals(&behind("1.34.0"), v("1.36.0"), &inv);
        assert_eq!(said[0].reason, "the kubelet 1.34.0 on w would leave out a minor on its way to 1.36.0");
        assert!(said[0].way_out.contains("set cluster.version to that") && said.len() == 1, "{said:?}");
        assert_eq!(refusals(&behind("1.35.0"), v("1.36.0"), &inv), []);
        // Two minors before 1.28.
        let before = running(&[("a", "1.26.0")], &[("w", "1.24.0")]);
        assert_eq!(reasons(&before, "1.27.0"), ["the kubelet 1.24.0 on w is too old for an API server of 1.27.0"]);
        let since = running(&[("a", "1.27.0")], &[("w", "1.25.0")]);
        assert_eq!(reasons(&since, "1.28.0"), [""; 0]);
    }

    #[test]
    fn what_is_around_kubernetes_must_be_new_enough() {
        let mut around = running(&[("a", "1.35.1")], &[]);
        around.containerd = nodes(&[("a", "containerd://1.7.28"), ("b", "2.1.4"), ("c", "1.6.20~ds1")]);
        let mut last = around.clone();
        last.api_servers = nodes(&[("a", "1.36.1")]);
        assert_eq!(
            reasons(&last, "1.37.0"),
            [
                "Kubernetes 1.37.0 does not work with containerd 1.6.20, on c",
                "Kubernetes 1.37.0 does not work with containerd 1.7.28, on a"
            ]
        );
        // The kubelet of 1.36 still has a fallback for a runtime that does not answer RuntimeConfig.
        assert_eq!(reasons(&around, "1.36.0"), [""; 0]);
    }

    #[test]
    fn cgroup_v1_needs_a_setting_of_the_kubelet_and_one_of_kubeadm() {
        let mut old = running(&[("a", "1.34.1")], &[]);
        old.cgroups = [("a", CgroupVersion::V2), ("b", CgroupVersion::Hybrid), ("c", CgroupVersion::V1)]
            .map(|(name, cgroup)| (name.to_owned(), cgroup))
            .into();
        let kubelet = "the kubelet of Kubernetes 1.35.0 does not start on cgroup v1, on b, c";
        let kubeadm = "kubeadm 1.35.0 refuses cgroup v1 (SystemVerification), on b, c";
        assert_eq!(reasons(&old, "1.35.0"), [kubelet, kubeadm]);
        assert_eq!(reasons(&old, "1.34.3"), [""; 0]);
        let said = |value: serde_json::Value, ignored: &[&str]| -> Vec<String> {
            let mut inv = inventory();
            inv.kubelet.config.insert("failCgroupV1".into(), value);
            inv.kubeadm.ignore_preflight_errors = ignored.iter().map(|i| (*i).to_owned()).collect();
            // It is not looked at by `kubeadm upgrade`.
            inv.kubeadm.skip_phases = vec!["preflight".into()];
            refusals(&old, v("1.35.0"), &inv).into_iter().map(|r| r.reason).collect()
        };
        assert_eq!(said(false.into(), &[]), [kubeadm]);
        assert_eq!(said(false.into(), &["systemverification"]), [""; 0]);
        assert_eq!(said(false.into(), &["all"]), [""; 0]);
        for wrong in [serde_json::Value::Bool(true), "false".into(), serde_json::Value::Null] {
            assert_eq!(said(wrong, &["SystemVerification"]), [kubelet]);
        }
    }

    #[test]
    fn etcd_must_be_new_enough_for_the_next_one() {
        let mut cluster = running(&[("a", "1.33.1")], &[]);
        cluster.etcd = nodes(&[("a", "3.5.16-0"), ("b", "3.5.25-0"), ("c", "3.5.26-0"), ("d", "3.6.4")]);
        cluster.next_etcd = "3.6.5-0".parse().ok();
        let old = [
            "etcd 3.6.5 cannot take over from etcd 3.5.16, on a",
            "etcd 3.6.5 cannot take over from etcd 3.5.25, on b",
        ];
        assert_eq!(reasons(&cluster, "1.34.0"), old);
        // Also where Kubernetes stays, and where etcd runs as units.
        assert_eq!(reasons(&cluster, "1.33.1"), old);
        let mut own = inventory();
        own.etcd.mode = EtcdMode::External;
        own.etcd.hosts = vec!["a".into()];
        assert_eq!(refusals(&cluster, v("1.34.0"), &own).len(), 2);
        // Patches of a minor replace one another, and nothing goes back.
        cluster.next_etcd = "3.5.26-0".parse().ok();
        assert_eq!(reasons(&cluster, "1.34.0"), ["the bundle's etcd 3.5.26 is older than the 3.6.4 on d"]);
    }

    #[test]
    fn kubeadm_1_36_does_not_start_etcd_3_5() {
        let mut cluster = running(&[("a", "1.35.1")], &[]);
        cluster.etcd = nodes(&[("a", "3.5.26-0")]);
        cluster.next_etcd = "3.5.30-0".parse().ok();
        assert_eq!(
            reasons(&cluster, "1.36.0"),
            ["kubeadm 1.36.0 starts etcd with flags that etcd 3.5.30 does not have; it needs 3.6.0 or newer"]
        );
        assert_eq!(reasons(&cluster, "1.35.4"), [""; 0]);
        // As a unit it has our flags; only kubeadm's own check counts.
        let mut own = inventory();
        own.etcd.mode = EtcdMode::External;
        own.etcd.hosts = vec!["a".into()];
        assert_eq!(refusals(&cluster, v("1.36.0"), &own), []);
        cluster.next_etcd = "3.5.21".parse().ok();
        cluster.etcd.clear();
        let said = refusals(&cluster, v("1.36.0"), &own);
        assert_eq!(
            said[0].reason,
            "kubeadm 1.36.0 needs an external etcd of 3.5.24 or newer, and the bundle has 3.5.21"
        );
    }

    #[test]
    fn an_etcd_that_somebody_else_runs_must_be_new_enough() {
        let mut cluster = running(&[("a", "1.33.1")], &[]);
        let mut external = inventory();
        external.etcd.mode = EtcdMode::External;
        cluster.etcd = nodes(&[("https://e:2379", "3.5.9")]);
        assert_eq!(
            refusals(&cluster, v("1.34.0"), &external).into_iter().map(|r| r.reason).collect::<Vec<_>>(),
            ["Kubernetes 1.34.0 needs an external etcd of 3.5.11 or newer: https://e:2379 has 3.5.9"]
        );
        cluster.etcd = nodes(&[("https://e:2379", "3.5.24")]);
        assert_eq!(refusals(&cluster, v("1.34.0"), &external), []);
    }

    #[test]
    fn everything_is_said_at_once() {
        let mut all = running(&[("a", "1.33.0")], &[("a", "1.33.0"), ("w", "1.31.0"), ("x", "1.34.0")]);
        all.etcd = nodes(&[("a", "3.5.1")]);
        all.next_etcd = "3.6.8-0".parse().ok();
        all.containerd = nodes(&[("a", "1.7.1")]);
        all.cgroups = [("a".to_owned(), CgroupVersion::V1)].into();
        assert_eq!(reasons(&all, "1.36.0").len(), 6);
    }

    proptest! {
        /// Wherever an upgrade that was allowed stops, it may go on.
        #[test]
        fn an_allowed_upgrade_may_always_go_on(
            minor in 20u32..37, up in 0u32..2, patch in 0u32..9, servers in 1usize..6, done in 0usize..6, workers in 0u32..4
        ) {
            let version = |minor, patch| KubeVersion { major: 1, minor, patch };
            let (from, to) = (version(minor, 3), version(minor + up, 3 + patch));
            let state = |done: usize| {
                let api_servers: BTreeMap<String, KubeVersion> =
                    (0..servers).map(|n| (format!("c{n}"), if n < done { to } else { from })).collect();
                let mut kubelets = api_servers.clone();
                kubelets.insert("w".into(), version(from.minor.saturating_sub(workers), 0));
                Running { api_servers, kubelets, ..Running::default() }
            };
            if refusals(&state(0), to, &inventory()).is_empty() {
                prop_assert_eq!(refusals(&state(done.min(servers)), to, &inventory()), []);
            }
        }
    }
}
