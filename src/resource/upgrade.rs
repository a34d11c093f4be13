//! Which version a host and its cluster run, and how far an upgrade has come.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::judge::VERIFY_NAMESPACE;
use super::shell::shell_probe;
use crate::host::{Answer, Probe};
use crate::kubeadm::{self, CORDONED_BY, Foundation, NodeObject, UPGRADING_TO};
use crate::version::KubeVersion;

/// What kubeadm keeps of a control plane as static pods that have its version.
const COMPONENTS: [&str; 3] = ["kube-apiserver", "kube-controller-manager", "kube-scheduler"];

/// What the upgrade probe saw.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct UpgradeState {
    /// The version that `kubeadm upgrade` last ended well with here.
    pub mark: Option<String>,
    /// It runs right now.
    pub running: bool,
    /// The tags of the control plane's static pods, by component.
    pub components: BTreeMap<String, String>,
    /// The tag of etcd's static pod.
    pub etcd: Option<String>,
    /// The version in the cluster's own configuration, when this host could ask for it.
    pub configured: Option<String>,
    /// What the cluster was made with, as far as this host could ask for it.
    #[serde(default)]
    pub foundation: Option<Foundation>,
    /// Whether this host could read which kube-proxy and which CoreDNS the cluster has.
    #[serde(default)]
    pub addons_read: bool,
    /// The tag of kube-proxy's image; `None` when the cluster has no kube-proxy.
    pub proxy: Option<String>,
    /// The tag of CoreDNS's image; `None` when the cluster has no CoreDNS under kubeadm's name.
    #[serde(default)]
    pub coredns: Option<String>,
}

impl UpgradeState {
    /// Whether the static pods of a control plane are all of `version`.
    #[must_use]
    pub fn components_are(&self, version: &str) -> bool {
        COMPONENTS.iter().all(|c| self.components.get(*c).is_some_and(|v| v == version))
    }

    /// Whether the addons that the cluster has are these: kube-proxy of `proxy`, CoreDNS of `coredns`. `None` accepts any.
    #[must_use]
    pub fn addons_are(&self, proxy: Option<&str>, coredns: Option<&str>) -> bool {
        let same = |have: &Option<String>, wanted: Option<&str>| {
            have.as_deref().zip(wanted).is_none_or(|(have, wanted)| have == wanted)
        };
        self.addons_read && same(&self.proxy, proxy) && same(&self.coredns, coredns)
    }
}

/// Asks a host which version it was taken to.
#[must_use]
pub fn upgrade_probe() -> Probe {
    shell_probe("upgrade", &[])
}

/// Reads the answer to [`upgrade_probe`].
#[must_use]
pub fn upgrade_state(answer: &Answer) -> UpgradeState {
    let Answer::Shell { stdout, .. } = answer else {
        return UpgradeState::default();
    };
    let map: BTreeMap<&str, &str> = stdout.lines().filter_map(|l| l.split_once('=')).collect();
    let text = |key: &str| map.get(key).map(|v| v.trim().to_owned()).filter(|v| !v.is_empty());
    UpgradeState {
        mark: text("mark"),
        running: map.get("running") == Some(&"yes"),
        etcd: text("etcd"),
        components: COMPONENTS.iter().filter_map(|c| Some(((*c).to_owned(), text(c)?))).collect(),
        configured: text("configured"),
        foundation: text("cluster")
            .and_then(|encoded| String::from_utf8(STANDARD.decode(encoded).ok()?).ok())
            .and_then(|configuration| Foundation::read(&configuration)),
        addons_read: map.get("addons") == Some(&"read"),
        proxy: text("proxy"),
        coredns: text("coredns"),
    }
}

/// From this minor on kubeadm upgrades kube-proxy and CoreDNS with the last control plane, not with the first:
/// `UnupgradedControlPlaneInstances` in cmd/kubeadm/app/phases/upgrade/postupgrade.go of kubernetes/kubernetes.
const ADDONS_LAST_SINCE: u32 = 28;

/// Whether kubeadm of `version` upgrades kube-proxy and CoreDNS with the first control plane. A version that cannot be
/// read counts as a current one.
fn addons_come_first(version: &str) -> bool {
    plain_version(version).trim_start_matches('v').parse::<KubeVersion>().is_ok_and(|v| v.minor < ADDONS_LAST_SINCE)
}

/// Whether `kubeadm upgrade` has nothing left to do on the host. The addons count with the first control plane only where
/// kubeadm upgrades them there; else [`UpgradeState::addons_are`] is asked after the last one.
pub(super) fn is_upgraded(answer: &Answer, version: &str, first: bool, control_plane: bool) -> bool {
    let state = upgrade_state(answer);
    !state.running
        && state.mark.as_deref() == Some(version)
        && (!control_plane || state.components_are(version))
        && (!first
            || (state.configured.as_deref() == Some(version)
                && (!addons_come_first(version) || state.addons_are(Some(version), None))))
}

/// `v1.36.2` of `v1.36.2+vendor`.
#[must_use]
pub fn plain_version(version: &str) -> &str {
    version.split('+').next().unwrap_or(version)
}

/// Whether an upgrade of ours has begun on the node and not ended.
#[must_use]
pub fn is_marked(node: &NodeObject) -> bool {
    node.marks.contains_key(UPGRADING_TO) || node.marks.contains_key(CORDONED_BY)
}

/// Asks a control plane for the pods of a node.
pub(crate) fn pods_probe(node: &str) -> Probe {
    shell_probe("pods", &[node])
}

/// The pods that an emptied node has no more: `namespace/name` of each. `None` when the answer says nothing.
#[must_use]
pub(crate) fn movable_pods(answer: &Answer) -> Option<Vec<String>> {
    Some(movable(answer)?.into_iter().map(|pod| pod.name).collect())
}

/// The pods of which something is lost when their node is drained: `namespace/name` of each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Losses {
    /// Pods without a controller, which nothing starts again.
    pub(crate) bare: Vec<String>,
    /// Pods with data in an emptyDir volume.
    pub(crate) local_data: Vec<String>,
}

/// What a drain of the node would lose; test pods that this program left do not count. `None` when the answer says nothing.
#[must_use]
pub(crate) fn losses(answer: &Answer) -> Option<Losses> {
    let own = format!("{VERIFY_NAMESPACE}/");
    let pods: Vec<Movable> = movable(answer)?.into_iter().filter(|p| !p.name.starts_with(&own)).collect();
    let names = |which: fn(&Movable) -> bool| pods.iter().filter(|p| which(p)).map(|p| p.name.clone()).collect();
    Some(Losses { bare: names(|p| p.bare), local_data: names(|p| p.local_data) })
}

struct Movable {
    name: String,
    bare: bool,
    local_data: bool,
}

fn movable(answer: &Answer) -> Option<Vec<Movable>> {
    let Answer::Shell { code: 0, stdout, .. } = answer else {
        return None;
    };
    let movable = |line: &str| {
        let mut fields = line.split('|');
        let (name, phase, owner, mirror) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        // A daemon set's controller would bring its pod back at once; a static pod is the kubelet's own.
        let stays = matches!(phase, "Succeeded" | "Failed") || owner == "DaemonSet" || !mirror.is_empty();
        let bare = fields.next().is_some_and(str::is_empty);
        let local_data = fields.next().is_some_and(|volumes| !volumes.trim().is_empty());
        (!stays).then(|| Movable { name: name.escape_debug().to_string(), bare, local_data })
    };
    Some(stdout.lines().filter_map(movable).collect())
}

/// Asks whether a snapshot is there, can be read, and is not of an earlier day's upgrade.
pub(super) fn snapshot_probe(path: &str) -> Probe {
    shell_probe("snapshot", &[path])
}

fn node(answer: &Answer, name: &str) -> Option<NodeObject> {
    match answer {
        Answer::Shell { code: 0, stdout, .. } => kubeadm::nodes(stdout).ok()?.into_iter().find(|n| n.name == name),
        _ => None,
    }
}

pub(super) fn is_cordoned(answer: &Answer, name: &str, version: &str) -> bool {
    node(answer, name).is_some_and(|n| n.unschedulable && n.marks.get(UPGRADING_TO).is_some_and(|v| v == version))
}

pub(super) fn is_at_version(answer: &Answer, name: &str, version: &str) -> bool {
    node(answer, name).is_some_and(|n| n.ready && plain_version(&n.kubelet_version) == version)
}

/// Whether nothing of ours keeps pods off the node; with `ends`, nor its upgrade is still under way.
pub(super) fn is_released(answer: &Answer, name: &str, ends: bool) -> bool {
    let under_way = |n: &NodeObject| ends && n.marks.contains_key(UPGRADING_TO);
    node(answer, name).is_some_and(|n| !n.marks.contains_key(CORDONED_BY) && !under_way(&n))
}

/// Whether the upgrade of none of these is still under way.
pub(super) fn are_through(answer: &Answer, names: &[String]) -> bool {
    names.iter().all(|name| node(answer, name).is_some_and(|n| !n.marks.contains_key(UPGRADING_TO)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(stdout: &str) -> Answer {
        Answer::Shell { code: 0, stdout: stdout.into(), stderr: String::new() }
    }

    #[test]
    fn an_upgrade_is_done_only_with_all_its_parts() {
        for version in ["v1.20.5", "v1.27.16", "v1.28.0", "v1.36.3"] {
            let late = matches!(version, "v1.28.0" | "v1.36.3");
            let all = format!(
                "mark={version}\nkube-apiserver={version}\nkube-controller-manager={version}\n\
                 kube-scheduler={version}\nconfigured={version}\naddons=read\nproxy={version}\n"
            );
            assert!(is_upgraded(&said(&all), version, true, true));
            for line in all.lines() {
                let old = all.replace(line, &line.replace(version, "v1.19.0").replace("=read", "="));
                // kubeadm since 1.28 leaves kube-proxy as it is until the last control plane is upgraded.
                let addon = line.starts_with("proxy") || line.starts_with("addons");
                assert_eq!(is_upgraded(&said(&old), version, true, true), addon && late, "{version} {line}");
                let gone = all.replace(&format!("{line}\n"), "");
                // A cluster may do without kube-proxy.
                let may_lack = line.starts_with("proxy") || line.starts_with("addons") && late;
                assert_eq!(is_upgraded(&said(&gone), version, true, true), may_lack, "{version} {line}");
            }
            assert!(!is_upgraded(&said(&format!("{all}running=yes\n")), version, true, true));
        }
        assert!(is_upgraded(&said("mark=v2\n"), "v2", false, false));
        assert!(!is_upgraded(&said("mark=v2\n"), "v2", false, true));
        assert!(!is_upgraded(&Answer::Absent, "v2", false, false));
    }

    #[test]
    fn addons_are_as_wanted_only_when_they_could_be_read() {
        let are = |text: &str| upgrade_state(&said(text)).addons_are(Some("v1.36.3"), Some("v1.13.1"));
        assert!(are("addons=read\nproxy=v1.36.3\ncoredns=v1.13.1\n"));
        assert!(are("addons=read\n"), "a cluster may have neither");
        for not in [
            "",
            "proxy=v1.36.3\ncoredns=v1.13.1\n",
            "addons=read\nproxy=v1.35.6\ncoredns=v1.13.1\n",
            "addons=read\nproxy=v1.36.3\ncoredns=v1.12.4\n",
        ] {
            assert!(!are(not), "{not}");
        }
        assert!(upgrade_state(&said("addons=read\nproxy=v1\ncoredns=v2\n")).addons_are(None, None));
    }

    #[test]
    fn what_the_cluster_was_made_with_is_read() {
        let kept = STANDARD.encode("networking:\n  dnsDomain: site.local\n");
        let found = upgrade_state(&said(&format!("mark=v2\ncluster={kept}\n"))).foundation;
        assert_eq!(found.and_then(|f| f.domain).as_deref(), Some("site.local"));
        for nothing in ["", "cluster=\n", "cluster=###\n"] {
            assert_eq!(upgrade_state(&said(nothing)).foundation, None, "{nothing}");
        }
    }

    #[test]
    fn only_pods_that_move_count() {
        let text = "a/web-1|Running|ReplicaSet|\nkube-system/kube-proxy-x|Running|DaemonSet|\n\
                    kube-system/etcd-cp1|Running|Node|abc\nb/job-1|Succeeded|Job|\nc/bare|Pending||\njunk\n";
        assert_eq!(movable_pods(&said(text)), Some(vec!["a/web-1".into(), "c/bare".into()]));
        let failed = Answer::Shell { code: 1, stdout: String::new(), stderr: "refused".into() };
        assert_eq!(movable_pods(&failed), None);
        assert_eq!(losses(&failed), None);
        let text = "a/web|Running|ReplicaSet||ReplicaSet|\na/cache|Running|ReplicaSet||ReplicaSet|{}\n\
                    a/bare|Running||||\na/owned|Running|Thing||| {}\na/ended|Succeeded||||{}\nprovision-verify/v|Running||||\n\
                    k/etcd-cp1|Running|Node|abc|Node|\nk/agent|Running|DaemonSet||DaemonSet|{}\n";
        let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        // An owner that is no controller starts nothing again.
        let wanted = Losses { bare: names(&["a/bare", "a/owned"]), local_data: names(&["a/cache", "a/owned"]) };
        assert_eq!(losses(&said(text)), Some(wanted));
    }

    #[test]
    fn a_node_counts_as_it_is_marked() {
        let item = |unschedulable: bool, marks: &str| {
            said(&format!(
                r#"{{"items":[{{"metadata":{{"name":"w1","annotations":{{"other/x":"1"{marks}}}}},
                "spec":{{"unschedulable":{unschedulable}}},
                "status":{{"conditions":[{{"type":"Ready","status":"True"}}],"nodeInfo":{{"kubeletVersion":"v2+x"}}}}}}]}}"#
            ))
        };
        let (to, by) = (r#","provision.dev/upgrading-to":"v2""#, r#","provision.dev/cordoned-by":"upgrade""#);
        assert!(is_cordoned(&item(true, to), "w1", "v2") && !is_cordoned(&item(true, to), "w1", "v3"));
        assert!(!is_cordoned(&item(true, ""), "w1", "v2") && !is_cordoned(&item(false, to), "w1", "v2"));
        assert!(is_released(&item(true, ""), "w1", true), "a node that others cordoned is theirs");
        assert!(is_released(&item(false, to), "w1", false) && !is_released(&item(false, to), "w1", true));
        assert!(!is_released(&item(true, by), "w1", false));
        assert!(is_at_version(&item(false, ""), "w1", "v2") && !is_at_version(&item(false, ""), "w2", "v2"));
        assert!(are_through(&item(false, ""), &["w1".into()]) && !are_through(&item(false, to), &["w1".into()]));
        assert!(!are_through(&Answer::Absent, &["w1".into()]));
    }
}
