//! The screen and the page of a small, a large and a hostile cluster.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::facts::{Facts, HostFacts};
use crate::host::Answer;
use crate::inventory::{Inventory, Role, parse};
use crate::kubeadm::{Certificate, EtcdMember, NodeObject};
use crate::plan::Observations;
use crate::resource::{EtcdHost, NodeState, cluster_status_probe, control_plane_probe};

/// Three control planes, and so many workers in pools.
fn inventory(pools: &[(&str, usize)]) -> Inventory {
    let mut text = "[cluster]\nname = \"prod\"\nversion = \"1.36.2\"\n[endpoint]\nmode = \"haproxy\"\n".to_owned();
    for (pool, _) in pools {
        text += &format!("[pools.{pool}]\n");
    }
    for n in 1..=3 {
        text +=
            &format!("[[hosts]]\nname = \"cp{n}\"\naddress = \"192.168.10.{}\"\nrole = \"control-plane\"\n", n + 10);
    }
    for (at, (pool, count)) in pools.iter().enumerate() {
        for n in 1..=*count {
            text += &format!(
                "[[hosts]]\nname = \"{pool}{n}\"\naddress = \"192.168.{}.{n}\"\nrole = \"worker\"\npool = \"{pool}\"\n",
                at + 20
            );
        }
    }
    match parse(&text) {
        Ok(loaded) => loaded.inventory,
        Err(all) => panic!("{all:?}"),
    }
}

struct Cluster {
    inv: Inventory,
    facts: Facts,
    answers: Observations,
    errors: Vec<String>,
    last: Option<LastOperation>,
}

fn shell(stdout: String) -> Answer {
    Answer::Shell { code: 0, stdout, stderr: String::new() }
}

/// A cluster in which all is well.
fn well(inv: Inventory) -> Cluster {
    const NOW: i64 = 1_767_225_600;
    let mut facts = Facts { voice: Some("cp1".into()), ..Facts::default() };
    let mut answers = Observations::new();
    let (mut objects, mut members) = (Vec::new(), Vec::new());
    for (node, id) in inv.nodes().into_iter().zip(1..) {
        let plane = node.role.is_control_plane();
        let manifests = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"].map(String::from);
        let certificate = Certificate {
            path: "/etc/kubernetes/pki/apiserver.crt".into(),
            subject: String::new(),
            issuer: String::new(),
            ca: false,
            not_before: 0,
            not_after: NOW + (360 + i64::try_from(id).unwrap_or(0)) * 86_400,
        };
        let mut host = HostFacts {
            state: NodeState {
                kubelet_conf: true,
                claim: Some("prod".into()),
                joined: true,
                node: Some(true),
                control_plane_label: plane,
                manifests: if plane { manifests.into() } else { Vec::new() },
                ..NodeState::default()
            },
            now_s: NOW,
            ..HostFacts::default()
        };
        host.certificates.all = vec![certificate];
        facts.hosts.insert(node.name.clone(), host);
        let taint = "node-role.kubernetes.io/control-plane:NoSchedule".to_owned();
        objects.push(NodeObject {
            name: node.name.clone(),
            ready: true,
            unschedulable: false,
            kubelet_version: "v1.36.2".into(),
            runtime: "containerd://2.2.1".into(),
            labels: BTreeMap::new(),
            taints: if plane { vec![taint] } else { Vec::new() },
            address: None,
            marks: BTreeMap::new(),
        });
        if plane {
            members.push(EtcdMember { id, name: node.name.clone(), peer_urls: Vec::new(), learner: false });
            let health = "kube-apiserver=ok\nkube-controller-manager=ok\nkube-scheduler=ok\n".to_owned();
            let probe = control_plane_probe(&node.address.to_string());
            answers.entry(node.name.clone()).or_default().insert(probe, shell(health));
        }
    }
    (facts.nodes, facts.etcd) = (Some(objects), Some(members));
    let last = LastOperation {
        operation: "20260101T000000Z-1".into(),
        command: "apply".into(),
        user: "release".into(),
        host: "dmz".into(),
        started: "2025-12-31T23:58:00.123Z".into(),
        ok: Some(true),
        error: None,
    };
    let mut cluster = Cluster { inv, facts, answers, errors: Vec::new(), last: Some(last) };
    etcd_says(&mut cluster, "ok", &[1, 2, 3]);
    cluster
}

fn etcd_says(cluster: &mut Cluster, endpoint: &str, members: &[u64]) {
    let said: Vec<String> = members
        .iter()
        .map(|id| {
            format!(
                r#"{{"Status":{{"header":{{"member_id":{id}}},"leader":2,"version":"3.6.8","dbSize":{id}2345678}}}}"#
            )
        })
        .collect();
    let answer = shell(format!("endpoint={endpoint}\netcd=[{}]\n", said.join(",")));
    cluster.answers.entry("cp1".into()).or_default().insert(cluster_status_probe(), answer);
}

fn object<'a>(cluster: &'a mut Cluster, name: &str) -> &'a mut NodeObject {
    match cluster.facts.nodes.iter_mut().flatten().find(|n| n.name == name) {
        Some(object) => object,
        None => panic!("no {name}"),
    }
}

/// Something is wrong on many hosts.
fn spoiled(mut cluster: Cluster) -> Cluster {
    object(&mut cluster, "web1").ready = false;
    object(&mut cluster, "web2").unschedulable = true;
    object(&mut cluster, "db1").kubelet_version = "v1.35.4".into();
    let mut stranger = object(&mut cluster, "db1").clone();
    stranger.name = "old-worker".into();
    cluster.facts.nodes.iter_mut().for_each(|all| all.push(stranger.clone()));
    cluster.facts.hosts.remove("cp3");
    cluster.errors.push("cp3: failed to connect to 192.168.10.13:22".into());
    if let Some(host) = cluster.facts.hosts.get_mut("cp2") {
        host.strays.pods = vec![("/etc/kubernetes/manifests/miner.yaml".into(), "evil.example/miner:1".into())];
    }
    etcd_says(&mut cluster, "ok", &[1, 2]);
    cluster
}

fn status(cluster: &Cluster) -> Status {
    Status::new(Seen {
        inv: &cluster.inv,
        facts: &cluster.facts,
        answers: &cluster.answers,
        errors: cluster.errors.clone(),
        inventory: format!("sha256:{}", "0123456789abcdef".repeat(4)),
        last: cluster.last.clone(),
        checked_at: "2026-01-01T00:00:00Z".into(),
    })
}

fn page(cluster: &Cluster) -> String {
    html(&status(cluster)).unwrap_or_else(|e| panic!("{}", e.report()))
}

const SMALL: [(&str, usize); 1] = [("web", 2)];
const LARGE: [(&str, usize); 3] = [("db", 8), ("gpu", 10), ("web", 29)];

#[test]
fn a_small_cluster_fits_a_screen() {
    let screen = text(&status(&well(inventory(&SMALL))), false);
    assert!(screen.lines().count() <= 24 && screen.lines().all(|l| l.chars().count() <= 80), "{screen}");
    insta::assert_snapshot!(screen);
}

#[test]
fn a_large_cluster_fits_a_screen() {
    let seen = status(&well(inventory(&LARGE)));
    let screen = text(&seen, false);
    assert!(screen.lines().count() <= 24 && screen.lines().all(|l| l.chars().count() <= 80), "{screen}");
    assert_eq!(text(&seen, true).lines().filter(|l| l.contains(" worker ")).count(), 47);
    insta::assert_snapshot!(text(&status(&spoiled(well(inventory(&LARGE)))), false));
}

#[test]
fn programs_find_what_they_found_before() {
    let seen = serde_json::to_value(status(&spoiled(well(inventory(&LARGE))))).unwrap_or_default();
    assert_eq!((seen["cluster"].as_str(), seen["well"].as_bool()), (Some("prod"), Some(false)));
    assert_eq!((seen["answers"].as_str(), seen["endpoint"].as_str()), (Some("cp1"), Some("api.prod.internal:8443")));
    assert_eq!(seen["not_in_inventory"], serde_json::json!(["old-worker"]));
    assert_eq!(seen["errors"].as_array().map(Vec::len), Some(1));
    let cp1 = &seen["hosts"][0];
    let expected = serde_json::json!({
        "name": "cp1", "address": "192.168.10.11", "role": "control-plane", "state": "member", "ready": true,
        "kubelet": "v1.36.2", "etcd": "member", "cordoned": false,
    });
    for (key, value) in expected.as_object().into_iter().flatten() {
        assert_eq!(cp1[key], *value, "{key}");
    }
    assert_eq!(seen["hosts"][2]["state"], "unreachable");
}

#[test]
fn each_trouble_has_its_health() {
    let mut cluster = spoiled(well(inventory(&LARGE)));
    let seen = status(&cluster);
    let health = |name: &str| seen.hosts.iter().find(|h| h.name == name).map(|h| h.health);
    assert_eq!(["cp1", "cp2", "cp3"].map(health), [Health::Well, Health::Attention, Health::Bad].map(Some));
    assert_eq!(
        ["web1", "web2", "db1", "db2"].map(health),
        [Health::Bad, Health::Attention, Health::Attention, Health::Well].map(Some)
    );
    assert_eq!(
        seen.etcd.as_ref().map(|e| (e.voters, e.answering, e.quorum, e.leader.as_deref())),
        Some((3, 2, 2, Some("cp2")))
    );
    assert_eq!(seen.health(), Health::Bad);
    // Nothing answers at all: what is known is told, and nothing else.
    cluster.facts = Facts::default();
    cluster.answers.clear();
    let seen = status(&cluster);
    assert!(!seen.well && seen.etcd.is_none() && seen.certificate.is_none());
    assert!(text(&seen, true).contains("no control plane answers"));
    assert!(page(&cluster).contains("unreachable"));
}

/// Nobody is called to a cluster that does its work: `well`, which the exit code follows, is not so for less.
#[test]
fn drift_alone_is_no_alarm() {
    let mut cluster = well(inventory(&SMALL));
    assert_eq!((status(&cluster).well, status(&cluster).health()), (true, Health::Well));
    object(&mut cluster, "web2").unschedulable = true;
    assert_eq!((status(&cluster).well, status(&cluster).health()), (true, Health::Attention));
}

#[test]
fn the_page_of_a_small_cluster() {
    insta::assert_snapshot!(page(&well(inventory(&SMALL))));
}

#[test]
fn the_page_of_a_large_cluster() {
    let page = page(&spoiled(well(inventory(&LARGE))));
    assert_eq!(page.matches("class=\"frame\"").count(), 5, "control planes, three pools, and the stranger");
    let shapes = |health: &str| page.matches(&format!("<g class=\"{health}\">")).count();
    assert_eq!(["well", "attention", "bad", "unknown"].map(shapes), [46, 3, 2, 1], "the endpoint among them");
}

#[test]
fn hosts_of_etcd_alone_are_no_nodes_and_count() {
    let text_of = include_str!("../../inventories/own-etcd.toml");
    let inv = parse(text_of).unwrap_or_else(|d| panic!("{d:?}")).inventory;
    let mut cluster = well(inv);
    for host in cluster.facts.hosts.values_mut() {
        host.state.manifests.retain(|m| m != "etcd");
        host.state.claim = Some("own-etcd".into());
    }
    cluster.facts.voice = Some("cp-1".into());
    let said = cluster.answers.remove("cp1").unwrap_or_default();
    cluster.answers.entry("cp-1".into()).or_default().extend(said);
    let members = ["etcd-1", "etcd-2", "etcd-3"];
    let member = |(name, id): (&str, u64)| EtcdMember { id, name: name.into(), peer_urls: Vec::new(), learner: false };
    cluster.facts.etcd = Some(members.into_iter().zip(1..).map(member).collect());
    for name in members {
        let etcd = Some(EtcdHost { active: true, unit: true, ..EtcdHost::default() });
        cluster.facts.hosts.insert(name.into(), HostFacts { etcd, ..HostFacts::default() });
    }
    let seen = status(&cluster);
    assert_eq!(seen.health(), Health::Well, "{}", text(&seen, true));
    let row = |seen: &Status, name: &str| seen.hosts.iter().find(|h| h.name == name).cloned();
    let etcd = row(&seen, "etcd-2").map(|h| (h.state, h.role, h.ready, h.etcd_leader));
    assert_eq!(etcd, Some(("etcd".into(), Role::Etcd, None, true)));
    assert!(text(&seen, false).contains("v1.36.2 on 4 of 4 hosts"), "{}", text(&seen, false));
    let html = page(&cluster);
    assert_eq!(html.matches("class=\"frame\"").count(), 3, "control planes, etcd, and workers");
    if let Some(etcd) = cluster.facts.hosts.get_mut("etcd-2").and_then(|h| h.etcd.as_mut()) {
        etcd.active = false;
    }
    let seen = status(&cluster);
    assert!(!seen.well && seen.health() == Health::Bad);
    assert_eq!(row(&seen, "etcd-2").map(|h| h.unhealthy), Some(vec!["provision-etcd.service does not run".to_owned()]));
    // One that never became a member, or lost it.
    cluster.facts.etcd.iter_mut().for_each(|all| all.retain(|m| m.name != "etcd-2"));
    assert_eq!(row(&status(&cluster), "etcd-2").map(|h| h.state), Some("bare".into()));
}

#[test]
fn it_needs_no_other_file() {
    let page = page(&spoiled(well(inventory(&LARGE))));
    for word in ["src=", "<link", "@import", "url(", "<script", "http://", "https://", "javascript:"] {
        assert!(!page.contains(word), "{word}");
    }
    assert!(page.contains("default-src 'none'"));
}

/// A cluster whose every text is this.
fn named(text: &str) -> Cluster {
    let mut cluster = spoiled(well(inventory(&LARGE)));
    cluster.inv.cluster.name = text.into();
    cluster.inv.cluster.version = text.into();
    cluster.inv.endpoint.host = Some(text.into());
    for host in &mut cluster.inv.hosts {
        host.pool = host.pool.as_ref().map(|_| text.into());
    }
    cluster.errors = vec![text.into()];
    for object in cluster.facts.nodes.iter_mut().flatten() {
        object.kubelet_version = text.into();
        object.taints = vec![text.into()];
        if object.name == "old-worker" {
            object.name = text.into();
        }
    }
    for host in cluster.facts.hosts.values_mut() {
        host.state.claim = Some(text.into());
        host.strays.pods = vec![(text.into(), text.into())];
        host.certificates.all.iter_mut().for_each(|c| c.path = text.into());
        host.certificates.unreadable = Some(text.into());
    }
    cluster
        .last
        .iter_mut()
        .for_each(|l| (l.user, l.host, l.ok, l.error) = (text.into(), text.into(), Some(false), Some(text.into())));
    etcd_says(&mut cluster, &text.replace('\n', " "), &[1]);
    cluster
}

#[test]
fn a_hostile_name_stays_text() {
    let page = page(&named("</text><script>alert(1)</script>\"' onload=\"alert(2)<img src=x>&amp;"));
    assert!(!page.contains("<script") && !page.contains("<img") && !page.contains("\" onload"));
    assert!(page.contains("&lt;script&gt;alert(1)"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn no_name_adds_an_element(name in "[<>\"'&/a-z=]{1,40}|\\PC{1,40}") {
        let tags = |page: &str| page.matches('<').count();
        prop_assert_eq!(tags(&page(&named(&name))), tags(&page(&named("a"))));
    }
}
