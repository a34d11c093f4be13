//! Gathers facts and observations from all hosts at once; the only part of this module that does I/O.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use futures::StreamExt as _;

use super::model::{Facts, HostFacts, answer_to, budgets_probe, fact_probes, host_facts};
use crate::error::Result;
use crate::host::{Answer, Host, Probe};
use crate::inventory::{Inventory, Node};
use crate::kubeadm;
use crate::resource::{etcd_probe, nodes_probe};
use crate::upgrade::{Budget, budgets};

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
}

/// Asks every host for its facts, `concurrency` at a time, one round trip each. Fails with the first host's error.
pub async fn gather(inv: &Inventory, hosts: &BTreeMap<String, Arc<dyn Host>>, concurrency: usize) -> Result<Facts> {
    let nodes: Vec<Node> = inv.machines().into_iter().filter(|n| hosts.contains_key(&n.name)).collect();
    let asked = nodes.into_iter().map(|node| {
        let host = Arc::clone(&hosts[&node.name]);
        let probes = fact_probes(inv, &node);
        async move {
            let sent = now_ms();
            let answers = host.probe(&probes).await?;
            let facts = host_facts(&probes, &answers, sent, now_ms());
            Ok::<_, crate::error::Error>((node, facts, probes, answers))
        }
    });
    let results: Vec<_> = futures::stream::iter(asked).buffer_unordered(concurrency.max(1)).collect().await;
    let mut facts = Facts::default();
    let mut voices: BTreeMap<String, Voice> = BTreeMap::new();
    for result in results {
        let (node, host, probes, answers): (Node, HostFacts, Vec<Probe>, Vec<Answer>) = result?;
        let said = |probe: Probe| shell_ok(answer_to(&probes, &answers, &probe));
        if let Some(objects) = said(nodes_probe()).and_then(|out| kubeadm::nodes(&out).ok()) {
            let etcd = said(etcd_probe());
            let members = etcd.as_ref().and_then(|out| kubeadm::Members::read(out).ok());
            let etcd = etcd.and_then(|out| out.lines().next().and_then(|l| kubeadm::etcd_members(l).ok()));
            let budgets = said(budgets_probe(inv)).and_then(|out| read_budgets(&out));
            voices.insert(node.name.clone(), Voice { objects, etcd, members, budgets });
        }
        facts.hosts.insert(node.name, host);
    }
    // The first control plane of the inventory that answers speaks for the cluster, but never a foreign one.
    for node in inv.control_planes() {
        let ours = facts.hosts.get(&node.name).and_then(|h| h.state.claim.as_ref()) == Some(&inv.cluster.name);
        if let Some(voice) = voices.remove(&node.name).filter(|_| ours) {
            facts.nodes = Some(voice.objects);
            facts.etcd = voice.etcd;
            facts.members = voice.members;
            facts.budgets = voice.budgets;
            facts.voice = Some(node.name);
            break;
        }
    }
    Ok(facts)
}

/// What a control plane says of the cluster.
struct Voice {
    objects: Vec<kubeadm::NodeObject>,
    etcd: Option<Vec<kubeadm::EtcdMember>>,
    members: Option<kubeadm::Members>,
    budgets: Option<Vec<Budget>>,
}

fn read_budgets(text: &str) -> Option<Vec<Budget>> {
    let mut lines = text.lines();
    budgets(lines.next()?, lines.next()?).ok()
}

fn shell_ok(answer: Option<&Answer>) -> Option<String> {
    match answer {
        Some(Answer::Shell { code: 0, stdout, .. }) => Some(stdout.clone()),
        _ => None,
    }
}

/// Asks each host its questions, one round trip each, and returns the answers by host and question.
pub async fn observe(
    hosts: &BTreeMap<String, Arc<dyn Host>>,
    questions: &BTreeMap<String, Vec<Probe>>,
    concurrency: usize,
) -> Result<BTreeMap<String, BTreeMap<Probe, Answer>>> {
    let asked = questions.iter().filter_map(|(name, probes)| {
        let host = Arc::clone(hosts.get(name)?);
        Some(async move {
            let answers = host.probe(probes).await?;
            Ok::<_, crate::error::Error>((name.clone(), probes.iter().cloned().zip(answers).collect()))
        })
    });
    let results: Vec<Result<(String, BTreeMap<Probe, Answer>)>> =
        futures::stream::iter(asked).buffer_unordered(concurrency.max(1)).collect().await;
    results.into_iter().collect()
}
