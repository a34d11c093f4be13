//! Whoever leaves, in whatever order and state: etcd keeps its quorum after every step, or nothing is begun.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{Action, Order, Stage, Step, beyond, has_joined, may_replace, order, removal, without};
use crate::error::Kind;
use crate::facts::Standing;
use crate::inventory::{Inventory, parse};
use crate::kubeadm::{Member, Members, NodeObject};

const HEAD: &str = "[cluster]\nname = \"lab\"\nversion = \"1.36.2\"\n[endpoint]\nmode = \"haproxy\"\n";

fn inventory(planes: usize, workers: usize) -> Inventory {
    let host = |name: String, role: &str, at: usize| {
        format!("[[hosts]]\nname = \"{name}\"\nrole = \"{role}\"\naddress = \"192.168.10.{at}\"\n")
    };
    let hosts: String = (1..=planes)
        .map(|n| host(format!("cp{n}"), "control-plane", n))
        .chain((1..=workers).map(|n| host(format!("w{n}"), "worker", 100 + n)))
        .collect();
    parse(&format!("{HEAD}{hosts}")).unwrap_or_else(|d| panic!("{d:?}")).inventory
}

/// The cluster of the inventory, in which these are dead.
fn cluster(inv: &Inventory, dead: &BTreeSet<String>) -> Standing {
    let alive = |name: &String| !dead.contains(name);
    let label = |plane: bool| plane.then(|| ("node-role.kubernetes.io/control-plane".to_owned(), String::new()));
    let object = |n: &crate::inventory::Node| NodeObject {
        name: n.name.clone(),
        ready: alive(&n.name),
        unschedulable: false,
        kubelet_version: "v1.36.2".into(),
        runtime: String::new(),
        labels: label(n.role.is_control_plane()).into_iter().collect(),
        taints: Vec::new(),
        address: Some(n.address.to_string()),
        marks: std::collections::BTreeMap::new(),
    };
    let member = |(id, n): (usize, crate::inventory::Node)| Member {
        id: id as u64,
        host: n.address.to_string(),
        voter: true,
        healthy: alive(&n.name),
        name: n.name,
    };
    let all: BTreeSet<String> = inv.hosts.iter().map(|h| h.name.clone()).filter(alive).collect();
    Standing {
        voice: "cp1".into(),
        nodes: inv.nodes().iter().map(object).collect(),
        members: Some(Members(inv.control_planes().into_iter().enumerate().map(member).collect())),
        answering: all.clone(),
        kubelets: all,
    }
}

fn steps(stages: &[Stage]) -> Vec<&Step> {
    stages.iter().flat_map(|s| if let Stage::Steps(steps) = s { steps.as_slice() } else { &[] }).collect()
}

fn titles(stages: &[Stage]) -> Vec<String> {
    let of = |stage: &Stage| match stage {
        Stage::Steps(steps) => steps.iter().map(|s| s.id.clone()).collect(),
        Stage::Settle { without } => vec![format!("settle without {}", without.join(" "))],
    };
    stages.iter().flat_map(of).collect()
}

#[test]
fn one_that_serves_is_let_go_of_before_it_goes() {
    let inv = inventory(3, 1);
    let stages = removal(&inv, &cluster(&inv, &BTreeSet::new()), &["cp2".into()]).unwrap_or_default();
    assert_eq!(
        titles(&stages),
        [
            "leave/cp1/evacuate-cp2",
            "settle without cp2",
            "leave/cp1/etcd-cp2",
            "leave/cp2/bare",
            "leave/cp1/forget-cp2",
            "settle without cp2"
        ]
    );
}

#[test]
fn the_dead_leave_first_and_nobody_waits_for_their_pods() {
    let inv = inventory(3, 1);
    let dead = BTreeSet::from(["cp3".to_owned()]);
    let stages = removal(&inv, &cluster(&inv, &dead), &["w1".into(), "cp3".into()]).unwrap_or_default();
    assert_eq!(
        titles(&stages),
        [
            "leave/cp1/etcd-cp3",
            "leave/cp1/forget-cp3",
            "leave/cp1/evacuate-w1",
            "settle without cp3 w1",
            "leave/w1/bare",
            "leave/cp1/forget-w1",
            "settle without cp3 w1"
        ]
    );
    let left = steps(&stages).into_iter().find_map(|s| match &s.action {
        Action::LeaveEtcd { healthy, .. } => Some(healthy.clone()),
        _ => None,
    });
    assert_eq!(left, Some(vec!["cp1".to_owned(), "cp2".to_owned()]));
}

#[test]
fn a_successor_comes_first_unless_the_old_one_is_dead() {
    let inv = inventory(4, 0);
    let mut standing = cluster(&inv, &BTreeSet::from(["cp3".to_owned()]));
    let plain = Order::JoinFirst { without: Vec::new(), first: Vec::new() };
    assert_eq!(order(&inv, &standing, "cp2"), plain);
    assert_eq!(order(&inv, &standing, "cp3"), Order::LeaveFirst);
    // The hosts' shares of the pod network are read on the hosts: the pods of one that is not listed move before.
    let rest = without(&inv, &["cp2".into()]).unwrap_or_else(|e| panic!("{e}"));
    let moved = |order: Order| match order {
        Order::JoinFirst { without, first } => Some((without, first.iter().map(|s| s.id.clone()).collect::<Vec<_>>())),
        Order::LeaveFirst => None,
    };
    let evacuated = vec!["leave/cp1/evacuate-cp2".to_owned()];
    assert_eq!(moved(order(&rest, &standing, "cp2")), Some((vec!["cp2".to_owned()], evacuated)));
    let mut other = rest.clone();
    other.cni.plugin = crate::inventory::CniPlugin::None;
    assert_eq!(moved(order(&other, &standing, "cp2")), Some((vec!["cp2".to_owned()], Vec::new())));
    // Its etcd votes while its kubelet is down.
    let mut still = standing.clone();
    still.kubelets.remove("cp2");
    assert_eq!(moved(order(&inv, &still, "cp2")), Some((vec!["cp2".to_owned()], Vec::new())));
    still.answering.remove("cp2");
    assert_eq!(may_replace(&inv, &still, "cp2", "cp4").map_err(|e| e.kind()), Err(Kind::Refused), "it is hidden");
    assert!(may_replace(&inv, &standing, "cp3", "cp4").is_ok());
    let kind = |old: &str, new: &str| may_replace(&inv, &standing, old, new).map_err(|e| e.kind());
    assert_eq!(kind("cp3", "cp3"), Err(Kind::Usage));
    assert_eq!(kind("cp3", "cp9"), Err(Kind::Usage));
    assert_eq!(kind("cp9", "cp4"), Err(Kind::Refused), "cp3 is the one that is dead");
    // One that serves is not replaced beside one that is dead.
    assert_eq!(kind("cp2", "cp4"), Err(Kind::Refused));
    // Killed between etcd's part and the rest: nobody joins on the word of one that is on its way out.
    let mut half = standing.clone();
    half.members.iter_mut().for_each(|m| m.0.retain(|m| m.name != "cp2"));
    assert_eq!(order(&inv, &half, "cp2"), Order::LeaveFirst);
    standing.members = None;
    assert_eq!(may_replace(&inv, &standing, "cp9", "cp4").map_err(|e| e.kind()), Ok(()));
}

#[test]
fn the_old_one_stays_until_the_new_one_is_a_healthy_voter() {
    let inv = inventory(4, 0);
    let standing = cluster(&inv, &BTreeSet::new());
    let joined = |edit: &dyn Fn(&mut Member)| {
        let mut standing = standing.clone();
        standing.members.iter_mut().flat_map(|m| &mut m.0).filter(|m| m.name == "cp4").for_each(edit);
        has_joined(&inv, &standing, "cp1", "cp4").map_err(|e| e.kind())
    };
    assert_eq!(joined(&|_| {}), Ok(()));
    assert_eq!(joined(&|m| m.healthy = false), Err(Kind::Refused));
    assert_eq!(joined(&|m| m.voter = false), Err(Kind::Refused));
    assert_eq!(joined(&|m| m.name = "cp9".into()), Err(Kind::Refused));
}

#[test]
fn one_that_is_at_work_is_not_taken_for_dead() {
    let inv = inventory(3, 1);
    let mut standing = cluster(&inv, &BTreeSet::new());
    standing.answering.remove("w1");
    let kind = |inv: &Inventory, standing: &Standing| {
        removal(inv, standing, &["w1".into()]).map(|stages| titles(&stages).len()).map_err(|e| e.kind())
    };
    assert_eq!(kind(&inv, &standing), Err(Kind::Refused));
    let rest = without(&inv, &["w1".into()]).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(kind(&rest, &standing), Ok(3), "evacuated, forgotten, settled");
    standing.kubelets.remove("w1");
    assert_eq!(kind(&inv, &standing), Ok(2));
}

#[test]
fn what_only_they_do_stops_them() {
    let kind = |inv: &Inventory, name: &str| without(inv, &[name.into()]).map(drop).map_err(|e| e.kind());
    let mut inv = inventory(2, 1);
    assert_eq!(kind(&inventory(1, 1), "cp1"), Err(Kind::Refused));
    inv.registry.mode = crate::inventory::RegistryMode::Builtin;
    inv.registry.hosts = vec!["w1".into()];
    assert_eq!(kind(&inv, "w1"), Err(Kind::Refused));
    inv.registry.hosts.push("cp2".into());
    assert_eq!(kind(&inv, "w1"), Ok(()));
    inv.endpoint.mode = crate::inventory::EndpointMode::FirstNode;
    assert_eq!((kind(&inv, "cp1"), kind(&inv, "cp2")), (Err(Kind::Refused), Ok(())));
    assert_eq!(kind(&inv, "cp0"), Err(Kind::Refused), "it may have been the endpoint");
}

#[test]
fn hosts_of_an_etcd_beside_kubernetes_are_not_removed_as_nodes() {
    let text = include_str!("../../inventories/own-etcd.toml");
    let inv = parse(text).unwrap_or_else(|d| panic!("{d:?}")).inventory;
    let error = without(&inv, &["etcd-2".into()]).map(drop).map_err(|e| (e.kind(), e.hints().join("\n")));
    assert!(matches!(&error, Err((Kind::Refused, hints)) if hints.contains("reset --host etcd-2")), "{error:?}");
    let rest = without(&inv, &["worker-1".into()]).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(rest.etcd_nodes().len(), 3, "a worker leaves, and etcd stays");
    let mut standing = cluster(&inv, &BTreeSet::new());
    standing.members = None;
    let error = may_replace(&inv, &standing, "worker-1", "etcd-1").map_err(|e| e.kind());
    assert_eq!(error, Err(Kind::Refused), "one of role etcd takes no node's place");
    // etcd has nothing to do with who leaves.
    let stages = removal(&inv, &standing, &["cp-2".into()]).unwrap_or_else(|e| panic!("{e}"));
    assert!(!titles(&stages).iter().any(|t| t.contains("etcd")), "{:?}", titles(&stages));
}

#[test]
fn more_than_the_leaving_is_not_done_beside_it() {
    let step = |id: &str, phase| Step {
        id: id.into(),
        phase,
        host: "w2".into(),
        action: Action::SwapOff,
        reason: String::new(),
        diff: None,
        disruption: super::Disruption::Quiet,
        needs: Vec::new(),
    };
    use super::PhaseId::{JoinWorker, Prepare, UpgradeWorker};
    let join = [step("join-worker/w2/kubeadm", JoinWorker)];
    assert!(beyond(&join, None).is_err() && beyond(&join, Some("w2")).is_ok());
    assert!(beyond(&[step("a", Prepare), step("join-worker/w2/endpoint", JoinWorker)], None).is_ok());
    assert!(beyond(&[step("a", UpgradeWorker)], Some("w2")).is_err());
}

proptest! {
    #[test]
    fn etcd_has_quorum_after_every_step_or_nothing_is_begun(
        planes in 1usize..8, workers in 0usize..3, dead in any::<u16>(), leaving in 1u16..,
    ) {
        let inv = inventory(planes, workers);
        let pick = |bits: u16| -> Vec<String> {
            inv.hosts.iter().enumerate().filter(|(n, _)| bits >> n & 1 == 1).map(|(_, h)| h.name.clone()).collect()
        };
        let dead: BTreeSet<String> = pick(dead).into_iter().collect();
        let names = pick(leaving);
        prop_assume!(!names.is_empty());
        let standing = cluster(&inv, &dead);
        let mut etcd = standing.members.clone().unwrap_or_default();
        let before = etcd.without(u64::MAX);
        prop_assume!(before.has_quorum());
        match removal(&inv, &standing, &names) {
            Err(e) => prop_assert_eq!(e.kind(), Kind::Refused),
            Ok(stages) => {
                for step in steps(&stages) {
                    if let Action::LeaveEtcd { node, .. } = &step.action {
                        etcd.0.retain(|m| m.name != *node);
                        prop_assert!(etcd.without(u64::MAX).has_quorum(), "after {}", step.id);
                    }
                }
                for name in &names {
                    prop_assert!(etcd.of(name, None).is_none());
                }
                // Nobody dead is waited for, and of those alive each is made bare after etcd let go of it.
                for step in steps(&stages) {
                    if let Action::Evacuate { node, .. } | Action::ResetHost { node, .. } = &step.action {
                        prop_assert!(!dead.contains(node));
                    }
                }
            }
        }
    }
}
