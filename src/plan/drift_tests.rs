//! What is told and what is not.

use super::drift::MANIFESTS;
use super::planner_tests::{bare, bundle, inventory, member};
use super::*;
use crate::error::Result;
use crate::facts::Facts;
use crate::inventory::{EndpointMode, Inventory, Role};
use crate::kubeadm::{Certificate, NodeObject, UPGRADING_TO};

fn object(name: &str, taints: &[&str]) -> NodeObject {
    NodeObject {
        name: name.into(),
        ready: true,
        unschedulable: false,
        kubelet_version: "v1.36.2".into(),
        runtime: String::new(),
        labels: [("a".to_owned(), "b".to_owned()), ("kubernetes.io/os".to_owned(), "linux".to_owned())].into(),
        taints: taints.iter().map(|t| (*t).to_owned()).collect(),
        address: None,
        marks: [].into(),
    }
}

const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane:NoSchedule";

/// A control plane and a worker that are as the inventory says.
fn whole() -> (Inventory, Facts) {
    let mut inv = inventory(1, 1);
    inv.hosts[0].labels.insert("a".into(), "b".into());
    let mut facts = bare(&inv);
    for (name, host) in &mut facts.hosts {
        member(host, name.starts_with("cp"));
        host.now_s = 1_000_000_000;
    }
    facts.nodes =
        Some(vec![object("cp0", &[CONTROL_PLANE]), object("w0", &["node.kubernetes.io/not-ready:NoExecute"])]);
    facts.voice = Some("cp0".into());
    (inv, facts)
}

fn told(inv: &Inventory, facts: &Facts) -> Vec<(DriftKind, String, String)> {
    drift(inv, facts).into_iter().map(|d| (d.kind, d.host, d.what)).collect()
}

fn one(kind: DriftKind, host: &str, what: &str) -> Vec<(DriftKind, String, String)> {
    vec![(kind, host.to_owned(), what.to_owned())]
}

#[test]
fn a_cluster_as_wanted_has_nothing_to_tell() {
    let (inv, facts) = whole();
    assert_eq!(drift(&inv, &facts), []);
    assert_eq!(drift(&inv, &bare(&inv)), []);
}

/// Whatever the endpoint, no static pod that a plan writes is told as somebody else's.
#[test]
fn own_static_pods_are_known() -> Result<()> {
    use EndpointMode::{External, FirstNode, Haproxy, KeepalivedHaproxy, KubeVip};
    for mode in [FirstNode, External, Haproxy, KeepalivedHaproxy, KubeVip] {
        let (mut inv, mut facts) = whole();
        inv.endpoint.mode = mode;
        inv.endpoint.host = Some("10.0.0.100".into());
        inv.endpoint.interface = Some("eth0".into());
        inv.endpoint.virtual_router_id = Some(5);
        (inv.endpoint.image, inv.endpoint.keepalived_image) =
            (Some("docker.io/library/haproxy:3.2".into()), Some("k:1".into()));
        for wanted in desired(&inv, &bundle(), &facts)? {
            if let Action::WriteFile { path, .. } = &wanted.action
                && path.starts_with(MANIFESTS)
                && let Some(host) = facts.hosts.get_mut(&wanted.host)
            {
                host.strays.pods.push((path.clone(), "image".into()));
            }
        }
        assert_eq!(drift(&inv, &facts), [], "{mode:?}");
        for host in facts.hosts.values_mut() {
            host.strays.pods.push((format!("{MANIFESTS}/own.yaml"), "evil:1".into()));
        }
        assert_eq!(told(&inv, &facts).len(), 2, "{mode:?}");
    }
    Ok(())
}

#[test]
fn files_beside_ours_are_told() {
    let (inv, mut facts) = whole();
    let Some(host) = facts.hosts.get_mut("w0") else { panic!("no w0") };
    // Of a control plane, not of a worker.
    host.strays.pods = vec![(format!("{MANIFESTS}/etcd.yaml"), "etcd:1".into())];
    let told_of = told(&inv, &facts);
    assert_eq!(told_of, one(DriftKind::StaticPod, "w0", "static pod /etc/kubernetes/manifests/etcd.yaml"));
    assert!(drift(&inv, &facts)[0].found.contains("etcd:1"));
    let Some(host) = facts.hosts.get_mut("w0") else { panic!("no w0") };
    host.strays.pods.clear();
    let dir = "/etc/systemd/system/kubelet.service.d";
    host.strays.drop_ins = vec![format!("{dir}/10-kubeadm.conf"), format!("{dir}/99.conf")];
    let told_of = told(&inv, &facts);
    assert_eq!(told_of, one(DriftKind::DropIn, "w0", "drop-in /etc/systemd/system/kubelet.service.d/99.conf"));
}

#[test]
fn certificates_are_told_by_the_hosts_own_clock() {
    let (inv, mut facts) = whole();
    let Some(host) = facts.hosts.get_mut("cp0") else { panic!("no cp0") };
    let now = host.now_s;
    let made = |days: i64| Certificate {
        path: "/etc/kubernetes/pki/apiserver.crt".into(),
        subject: String::new(),
        issuer: String::new(),
        ca: false,
        not_before: 0,
        not_after: now + days * 86_400,
    };
    host.certificates.all = vec![made(365)];
    assert_eq!(drift(&inv, &facts), []);
    for (days, said) in [(-3, "ended 3 days ago"), (7, "ends in 7 days")] {
        let Some(host) = facts.hosts.get_mut("cp0") else { panic!("no cp0") };
        host.certificates.all = vec![made(days)];
        let all = drift(&inv, &facts);
        assert!(all.len() == 1 && all[0].found.contains(said) && all[0].hint.contains("certs renew"), "{all:?}");
    }
    // A life of forty days: the kubelet's next one comes when four are left.
    let Some(host) = facts.hosts.get_mut("cp0") else { panic!("no cp0") };
    host.certificates.all = vec![Certificate { not_before: now - 33 * 86_400, ..made(7) }];
    assert_eq!(drift(&inv, &facts), []);
    let Some(host) = facts.hosts.get_mut("cp0") else { panic!("no cp0") };
    host.certificates.all = vec![made(-3)];
    host.now_s = 0;
    assert_eq!(drift(&inv, &facts), [], "without a clock nothing is said");
}

#[test]
fn nodes_are_told() {
    let (inv, mut facts) = whole();
    facts.nodes.iter_mut().flatten().for_each(|n| n.marks.clear());
    facts.nodes.iter_mut().flatten().last().into_iter().for_each(|n| n.name = "other".into());
    assert_eq!(told(&inv, &facts), one(DriftKind::UnknownNode, "other", "node object"));
    facts.nodes.iter_mut().flatten().last().into_iter().for_each(|n| n.name = "w0".into());
    facts.nodes.iter_mut().flatten().last().into_iter().for_each(|n| n.unschedulable = true);
    assert_eq!(told(&inv, &facts), one(DriftKind::Cordon, "w0", "scheduling"));
    // An upgrade of ours does that, and ends it.
    let marks = [(UPGRADING_TO.to_owned(), "v1.36.2".to_owned())];
    facts.nodes.iter_mut().flatten().last().into_iter().for_each(|n| n.marks = marks.clone().into());
    assert_eq!(drift(&inv, &facts), []);
}

#[test]
fn taints_and_labels_that_nobody_manages_are_told() {
    let (mut inv, mut facts) = whole();
    facts.nodes = Some(vec![object("cp0", &[]), object("w0", &["gone=bad:NoExecute", CONTROL_PLANE])]);
    let all = told(&inv, &facts);
    assert_eq!(all[0].2, format!("taint {CONTROL_PLANE}"));
    assert_eq!(all[0].1, "cp0");
    assert_eq!((all.len(), all[1].2.as_str()), (3, "taint gone=bad:NoExecute"));
    // Nobody wants it there, or kubeadm was told not to set it.
    inv.kubeadm.skip_phases = vec!["mark-control-plane".into()];
    assert!(told(&inv, &facts).iter().all(|d| d.1 == "w0"));
    inv.kubeadm.skip_phases.clear();
    inv.hosts[0].role = Role::Both;
    assert!(told(&inv, &facts).iter().all(|d| d.1 == "w0"));
    facts.nodes = Some(vec![object("cp0", &[]), object("w0", &[])]);
    assert_eq!(drift(&inv, &facts), []);
    // Given to the worker alone, the label is nothing that the control plane should have.
    inv.hosts[0].labels.clear();
    assert_eq!(told(&inv, &facts), one(DriftKind::Label, "cp0", "label a"));
}
