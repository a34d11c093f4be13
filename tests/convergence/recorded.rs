//! What real clusters answered (tests/recorded, one directory a version) is read as it is meant, and the cluster in memory
//! says nothing that a real one of that version does not.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use provision::host::Answer;
use provision::kubeadm::{self, Members};
use provision::resource::{Membership, control_plane_health, membership, node_state, shell_probe, upgrade_state};
use serde_json::Value;

use super::recorded_probes::{RECORDED, file};
use super::world::{INVENTORY, bundle, connect, read, undisturbed};

/// What the API says of cordoned nodes and of taints with a value alone: no recorded cluster has one.
const OF_OTHER_STATES: [&str; 2] = [".items[].spec.unschedulable: bool", ".items[].spec.taints[].value: text"];

/// Version and directory.
fn recordings() -> Vec<(String, PathBuf)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded");
    let entries = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_dir());
    let mut all: Vec<_> = entries.map(|p| (p.file_name().unwrap().to_str().unwrap().to_owned(), p)).collect();
    all.sort();
    all
}

fn answer(dir: &Path, host: &str, probe: &str) -> Answer {
    let stdout = std::fs::read_to_string(dir.join(file(host, probe))).unwrap();
    Answer::Shell { code: 0, stdout, stderr: String::new() }
}

fn text(dir: &Path, host: &str, probe: &str) -> String {
    let Answer::Shell { stdout, .. } = answer(dir, host, probe) else { unreachable!() };
    stdout
}

/// The fields of a value, by path, with their types. What is under labels and annotations is a cluster's own.
fn fields(at: &str, value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(_)
            if ["labels", "annotations", "matchLabels", "nodeSelector"].iter().any(|k| at.ends_with(k)) =>
        {
            found.insert(at.to_owned());
        }
        Value::Object(map) => map.iter().for_each(|(key, value)| fields(&format!("{at}.{key}"), value, found)),
        Value::Array(all) => all.iter().for_each(|value| fields(&format!("{at}[]"), value, found)),
        Value::Null => {}
        Value::Bool(_) => drop(found.insert(format!("{at}: bool"))),
        Value::Number(_) => drop(found.insert(format!("{at}: number"))),
        Value::String(_) => drop(found.insert(format!("{at}: text"))),
    }
}

/// The form of an answer: JSON as a whole, or line by line JSON, `key=value` or words.
fn form(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    if let Ok(value) = serde_json::from_str::<Value>(text) {
        fields("", &value, &mut found);
        return found;
    }
    for line in text.lines().filter(|l| !l.is_empty()) {
        let (key, value) = line.split_once('=').filter(|(k, _)| !k.contains(['{', ' '])).unwrap_or(("", line));
        match serde_json::from_str::<Value>(value) {
            Ok(value @ (Value::Object(_) | Value::Array(_))) => fields(key, &value, &mut found),
            _ => drop(found.insert(key.to_owned())),
        }
    }
    found
}

#[tokio::test]
async fn the_cluster_in_memory_answers_as_real_ones_do() {
    let all = recordings();
    assert!(!all.is_empty());
    for (version, dir) in all {
        let inv = read(&INVENTORY.replace("1.36.2", version.trim_start_matches('v')));
        let fake = undisturbed(&inv, &bundle(&inv)).await;
        let hosts = connect(&fake, &inv).await.unwrap();
        // The lab of Debian's packages has no CoreDNS.
        let has_dns = !text(&dir, "cp1", "dns").contains("\"items\": []");
        for (host, probe, args) in RECORDED {
            let args: Vec<&str> = args.iter().map(|a| if *a == "@cp1" { "192.168.10.11" } else { a }).collect();
            let answers = hosts[host].probe(&[shell_probe(probe, &args)]).await.unwrap();
            let [Answer::Shell { code: 0, stdout, .. }] = answers.as_slice() else {
                panic!("{host} {probe}: {answers:?}")
            };
            if probe == "dns" && !has_dns {
                continue;
            }
            let (here, real) = (form(stdout), form(&text(&dir, host, probe)));
            let elsewhere = |f: &str| OF_OTHER_STATES.contains(&f) || (f == "coredns" && !has_dns);
            let more: Vec<&String> = here.difference(&real).filter(|f| !elsewhere(f)).collect();
            assert!(more.is_empty(), "{version}, {host} {probe}: no real cluster says {more:?}; it says {real:?}");
        }
    }
}

#[test]
fn what_real_ones_answer_is_read() {
    for (version, dir) in recordings() {
        let nodes = kubeadm::nodes(&text(&dir, "cp1", "nodes")).unwrap();
        let names: Vec<&str> = nodes.iter().map(|n| n.name.as_str()).collect();
        assert_eq!(names, ["cp1", "cp2", "cp3", "w1", "w2"], "{version}");
        assert!(nodes.iter().all(|n| n.ready && n.kubelet_version == version), "{version}: {nodes:?}");
        let members = Members::read(&text(&dir, "cp1", "etcd")).unwrap();
        let mut healthy: Vec<&str> = members.names(true).collect();
        healthy.sort_unstable();
        assert_eq!(healthy, ["cp1", "cp2", "cp3"], "{version}: {members:?}");
        let health = control_plane_health(&answer(&dir, "cp1", "control-plane")).unwrap();
        assert!(health.len() == 3 && health.iter().all(|(_, state)| state == "ok"), "{version}: {health:?}");
        let state = upgrade_state(&answer(&dir, "cp1", "upgrade"));
        assert!(state.components_are(&version) && state.addons_read && !state.running, "{version}: {state:?}");
        assert_eq!((state.configured.as_ref(), state.proxy.as_ref()), (Some(&version), Some(&version)), "{version}");
        assert!(state.foundation.is_some() && state.etcd.is_some(), "{version}: {state:?}");
        for (host, plane) in [("cp1", true), ("w1", false)] {
            let state = node_state(&answer(&dir, host, "node-state"));
            let claim = state.claim.clone().unwrap_or_default();
            assert_eq!(membership(&state, &claim, plane, true), Membership::Member, "{version} {host}: {state:?}");
        }
    }
}
