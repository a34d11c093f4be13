//! What the versions of a cluster forbid. Pure.
//!
//! Sources: the version skew policy, <https://kubernetes.io/releases/version-skew-policy/>; etcd's upgrade guides,
//! <https://etcd.io/docs/latest/upgrades/>; containerd's table, <https://containerd.io/releases/>; cgroup v1 in the
//! kubelet, <https://kubernetes.io/docs/concepts/architecture/cgroups/>.

use std::collections::{BTreeMap, BTreeSet};

use super::refusal::{Refusal, listed};
use crate::error::Error;
use crate::facts::CgroupVersion;
use crate::inventory::{EtcdMode, Inventory};
use crate::version::KubeVersion;

/// The first minor that needs containerd 2: before it the kubelet can do without asking for the cgroup driver over CRI.
const CONTAINERD_2_FROM: u32 = 36;
/// The first minor whose kubelet does not start on cgroup v1 unless it is told to.
const CGROUP_V2_FROM: u32 = 35;

/// From which minor on kubeadm wants which external etcd: `MinExternalEtcdVersion` in cmd/kubeadm/app/constants of the
/// minor's first releases. Later patches may want more, and kubeadm says so itself.
const EXTERNAL_ETCD: [(u32, Release); 3] =
    [(20, Release::new(3, 2, 18)), (31, Release::new(3, 5, 11)), (35, Release::new(3, 5, 24))];
/// From which minor on kubeadm brings which etcd when it runs etcd itself, and the oldest etcd of the minor before from
/// which etcd's own guide lets one go there.
const STACKED_ETCD: [(u32, u32, Release); 3] =
    [(20, 4, Release::new(3, 3, 0)), (22, 5, Release::new(3, 4, 0)), (34, 6, Release::new(3, 5, 20))];

/// The release of a program other than Kubernetes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release {
    major: u32,
    minor: u32,
    patch: u32,
}

impl Release {
    /// `major.minor.patch`
    #[must_use]
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self { major, minor, patch }
    }
}

impl std::fmt::Display for Release {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl std::str::FromStr for Release {
    type Err = Error;

    /// Reads `2.1.4`, `v3.5.16-0`, `1.6.20~ds1` and, as node objects have it, `containerd://2.1.4`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let version = text.rsplit("//").next().unwrap_or(text);
        let version = version.strip_prefix('v').unwrap_or(version);
        let end = version.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(version.len());
        let mut parts = version.get(..end).unwrap_or_default().split('.').map(str::parse::<u32>);
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(Ok(major)), Some(Ok(minor)), Some(Ok(patch)), None) => Ok(Self { major, minor, patch }),
            _ => Err(Error::failed(format!("`{text}` is not a release of the form major.minor.patch"))),
        }
    }
}

/// The versions that run, each by the name of its node. What is not known is left out and not judged.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Running {
    /// The API servers.
    pub api_servers: BTreeMap<String, KubeVersion>,
    /// The kubelets of all nodes.
    pub kubelets: BTreeMap<String, KubeVersion>,
    /// etcd's members, or the endpoints of an external etcd.
    pub etcd: BTreeMap<String, Release>,
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
    etcd(current, target, inv.etcd.mode, &mut found);
    let old = current.containerd.iter().filter(|(_, r)| target.minor >= CONTAINERD_2_FROM && r.major < 2);
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
    let allowed = inv.kubelet.config.get("failCgroupV1") == Some(&serde_json::Value::Bool(false));
    let v1 = current.cgroups.iter().filter(|(_, c)| **c != CgroupVersion::V2);
    let v1: Vec<&str> = v1.map(|(name, _)| name.as_str()).collect();
    if target.minor >= CGROUP_V2_FROM && !allowed && !v1.is_empty() {
        found.push(Refusal::new(
            format!("the kubelet of Kubernetes {target} does not start on cgroup v1, on {}", listed(v1)),
            "boot these hosts with cgroup v2 (systemd.unified_cgroup_hierarchy=1), or set kubelet.config \
             failCgroupV1 = false and let kubeadm.ignore_preflight_errors name SystemVerification",
        ));
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

fn etcd(current: &Running, target: KubeVersion, mode: EtcdMode, found: &mut Vec<Refusal>) {
    let floor = match mode {
        EtcdMode::External => newest_to(&EXTERNAL_ETCD, target, |(minor, _)| *minor).map(|(_, floor)| (None, *floor)),
        EtcdMode::Stacked => {
            newest_to(&STACKED_ETCD, target, |(minor, ..)| *minor).map(|(_, brought, floor)| (Some(*brought), *floor))
        }
    };
    let Some((brought, floor)) = floor else { return };
    let old = current.etcd.iter().filter(|(_, r)| **r < floor);
    of_nodes(old.map(|(n, r)| (n, *r)), found, |release, members| match brought {
        Some(minor) => Refusal::new(
            format!(
                "Kubernetes {target} brings etcd 3.{minor}, which cannot take over from etcd {release}, on {members}"
            ),
            format!(
                "go to etcd {floor} or newer first: set etcd.image_tag, with Kubernetes as it is, and apply; leave the \
                 key out afterwards"
            ),
        ),
        None => Refusal::new(
            format!("Kubernetes {target} needs an external etcd of {floor} or newer: {members} has {release}"),
            "upgrade that etcd first, one minor at a time",
        ),
    });
}

fn newest_to<T>(table: &[T], target: KubeVersion, from: impl Fn(&T) -> u32) -> Option<&T> {
    table.iter().rev().find(|entry| from(entry) <= target.minor)
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
        let refused = reasons(&around, "1.36.0");
        assert_eq!(
            refused,
            [
                "Kubernetes 1.36.0 does not work with containerd 1.6.20, on c",
                "Kubernetes 1.36.0 does not work with containerd 1.7.28, on a"
            ]
        );
        assert_eq!(reasons(&around, "1.35.3"), [""; 0]);

        let mut old = running(&[("a", "1.34.1")], &[]);
        old.cgroups = [("a", CgroupVersion::V2), ("b", CgroupVersion::Hybrid), ("c", CgroupVersion::V1)]
            .map(|(name, cgroup)| (name.to_owned(), cgroup))
            .into();
        let why = "the kubelet of Kubernetes 1.35.0 does not start on cgroup v1, on b, c";
        assert_eq!(reasons(&old, "1.35.0"), [why]);
        assert_eq!(reasons(&old, "1.34.3"), [""; 0]);
        let mut told = inventory();
        told.kubelet.config.insert("failCgroupV1".into(), false.into());
        assert_eq!(refusals(&old, v("1.35.0"), &told), []);
    }

    #[test]
    fn etcd_must_be_new_enough() {
        let mut cluster = running(&[("a", "1.33.1")], &[]);
        cluster.etcd = nodes(&[("a", "3.5.16-0"), ("b", "3.5.21-0"), ("c", "3.6.4")]);
        assert_eq!(
            reasons(&cluster, "1.34.0"),
            ["Kubernetes 1.34.0 brings etcd 3.6, which cannot take over from etcd 3.5.16, on a"]
        );
        assert_eq!(reasons(&cluster, "1.33.4"), [""; 0]);
        let mut external = inventory();
        external.etcd.mode = EtcdMode::External;
        let refused = |target: &str| -> Vec<String> {
            refusals(&cluster, v(target), &external).into_iter().map(|r| r.reason).collect()
        };
        assert_eq!(refused("1.34.0"), [""; 0]);
        cluster.etcd = nodes(&[("https://e:2379", "3.5.9")]);
        assert_eq!(
            refusals(&cluster, v("1.34.0"), &external).into_iter().map(|r| r.reason).collect::<Vec<_>>(),
            ["Kubernetes 1.34.0 needs an external etcd of 3.5.11 or newer: https://e:2379 has 3.5.9"]
        );
    }

    #[test]
    fn everything_is_said_at_once() {
        let mut all = running(&[("a", "1.33.0")], &[("a", "1.33.0"), ("w", "1.31.0"), ("x", "1.34.0")]);
        all.etcd = nodes(&[("a", "3.5.1")]);
        all.containerd = nodes(&[("a", "1.7.1")]);
        all.cgroups = [("a".to_owned(), CgroupVersion::V1)].into();
        assert_eq!(reasons(&all, "1.36.0").len(), 6);
    }

    #[test]
    fn releases_are_read_as_programs_print_them() {
        for (text, release) in
            [("v3.5.16-0", (3, 5, 16)), ("containerd://2.1.4", (2, 1, 4)), ("1.6.20~ds1", (1, 6, 20))]
        {
            assert_eq!(text.parse::<Release>().ok(), Some(Release::new(release.0, release.1, release.2)), "{text}");
        }
        for bad in ["", "1.2", "x", "1.2.3.4", "//", "99999999999.0.0"] {
            assert!(bad.parse::<Release>().is_err(), "{bad}");
        }
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

        #[test]
        fn no_text_makes_a_release_panic(text in ".{0,20}") {
            let _ = text.parse::<Release>().is_ok();
        }
    }
}
