//! Whether the kubelet of a control plane has finished with its static pods.
//!
//! A kubelet of another minor version finds another hash for each container and restarts all static pods, etcd among them,
//! with its first sync of each. Until that sync its list of pods has no status of them; after it the containers are not
//! ready until they run again. What the API says of static pods is up to a minute late, so the kubelet itself is asked.

use std::collections::BTreeMap;

use chrono::DateTime;
use serde::Deserialize;

use super::shell::shell_probe;
use crate::host::{Answer, Probe};

/// The annotation that says where a kubelet has a pod from; `file` is a static pod.
const SOURCE: &str = "kubernetes.io/config.source";
const MICROS: u64 = 1_000_000;

/// The questions whose answers [`restless`] judges, in its order.
pub(super) fn static_pods_probes(node: &str) -> Vec<Probe> {
    vec![shell_probe("static-pods", &[node]), Probe::Unit("kubelet.service".into())]
}

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    items: Vec<Pod>,
}

#[derive(Deserialize)]
struct Pod {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
struct Spec {
    #[serde(default)]
    containers: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    container_statuses: Vec<Container>,
}

#[derive(Deserialize)]
struct Container {
    name: String,
    #[serde(default)]
    ready: bool,
    #[serde(default)]
    state: State,
}

#[derive(Deserialize, Default)]
struct State {
    running: Option<Running>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Running {
    started_at: String,
}

/// Why the static pods of a control plane may still restart; `None` when its kubelet has run for `stable_s` seconds, is
/// healthy, and has had every static pod ready for as long.
pub(crate) fn restless(answers: &[Answer], stable_s: u64) -> Option<String> {
    let [Answer::Shell { stdout, .. }, Answer::Unit(kubelet)] = answers else {
        return Some("the host does not say what its kubelet does".into());
    };
    let map: BTreeMap<&str, &str> = stdout.lines().filter_map(|l| l.split_once('=')).collect();
    let number = |key: &str| map.get(key).and_then(|v| v.trim().parse::<u64>().ok());
    if kubelet.active != "active" {
        return Some(format!("the kubelet is {}", kubelet.active));
    }
    let healthz = map.get("healthz").copied().unwrap_or_default();
    if healthz != "ok" {
        return Some(format!("the kubelet is not healthy: {}", healthz.escape_debug()));
    }
    let Some(now) = number("now") else { return Some("the host does not tell the time".into()) };
    let Some(list) = map.get("pods").and_then(|json| serde_json::from_str::<List>(json).ok()) else {
        return Some("the kubelet does not list its pods".into());
    };
    let young = |started: u64| now < started.saturating_add(stable_s);
    if young(kubelet.started_us / MICROS) {
        return Some(format!("the kubelet has run for less than {stable_s} s"));
    }
    let pods: Vec<&Pod> =
        list.items.iter().filter(|p| p.metadata.annotations.get(SOURCE).is_some_and(|s| s == "file")).collect();
    let has = |component: &str| pods.iter().any(|p| p.spec.containers.iter().any(|c| c.name == component));
    let mut manifests = map.keys().filter_map(|key| key.strip_prefix("manifest.")).peekable();
    if manifests.peek().is_none() {
        return Some("the host has no static pods of a control plane".into());
    }
    if let Some(component) = manifests.find(|component| !has(component)) {
        return Some(format!("the kubelet has no pod of {}", component.escape_debug()));
    }
    pods.into_iter().find_map(|pod| {
        let name = pod.metadata.name.escape_debug();
        let containers = &pod.status.container_statuses;
        // A new kubelet has no status of a pod that it has not synced yet.
        if containers.is_empty() || containers.len() < pod.spec.containers.len() {
            return Some(format!("the kubelet has not begun with {name}"));
        }
        containers.iter().find_map(|c| {
            let started = c.state.running.as_ref().and_then(|r| DateTime::parse_from_rfc3339(&r.started_at).ok());
            match started.and_then(|t| u64::try_from(t.timestamp()).ok()) {
                Some(_) if !c.ready => Some(format!("{} of {name} is not ready", c.name.escape_debug())),
                Some(started) if young(started) => {
                    Some(format!("{} of {name} was started less than {stable_s} s ago", c.name.escape_debug()))
                }
                Some(_) => None,
                None => Some(format!("{} of {name} does not run", c.name.escape_debug())),
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::host::UnitState;

    fn unit(started_s: u64) -> Answer {
        Answer::Unit(UnitState {
            active: "active".into(),
            enabled: "enabled".into(),
            needs_reload: false,
            started_us: started_s * MICROS,
        })
    }

    fn pod(name: &str, source: &str, statuses: &str) -> String {
        format!(
            r#"{{"metadata":{{"name":"{name}","annotations":{{"kubernetes.io/config.source":"{source}"}}}},
                "spec":{{"containers":[{{"name":"etcd","image":"x"}}]}},
                "status":{{"phase":"Running","containerStatuses":[{statuses}]}}}}"#
        )
    }

    fn container(ready: bool, state: &str) -> String {
        format!(r#"{{"name":"etcd","ready":{ready},"state":{state}}}"#)
    }

    const OLD: &str = r#"{"running":{"startedAt":"1970-01-01T00:01:00Z"}}"#;
    const NEW: &str = r#"{"running":{"startedAt":"1970-01-01T00:16:30Z"}}"#;

    fn said(manifests: &[&str], healthz: &str, pods: &[String]) -> Answer {
        let pods = format!(r#"{{"kind":"PodList","items":[{}]}}"#, pods.join(",")).replace('\n', "");
        let manifests: String = manifests.iter().map(|c| format!("manifest.{c}=yes\n")).collect();
        let stdout = format!("now=1000\n{manifests}healthz={healthz}\npods={pods}\n");
        Answer::Shell { code: 0, stdout, stderr: String::new() }
    }

    #[test]
    fn a_kubelet_has_finished_when_all_static_pods_have_been_ready_for_long_enough() {
        let good = container(true, OLD);
        let etcd = [pod("etcd-cp1", "file", &good)];
        // What the kubelet has from the API is no static pod, whatever it does.
        let other = pod("web", "api", &container(false, "{}"));
        assert_eq!(restless(&[said(&["etcd"], "ok", &[etcd[0].clone(), other]), unit(900)], 15), None);
        let of = |statuses: &str| pod("etcd-cp1", "file", statuses);
        for (answers, why) in [
            ([said(&["etcd"], "ok", &etcd), unit(990)], "the kubelet has run for less than 15 s"),
            ([said(&["etcd", "kube-apiserver"], "ok", &etcd), unit(900)], "the kubelet has no pod of kube-apiserver"),
            ([said(&["etcd"], "refused", &etcd), unit(900)], "the kubelet is not healthy: refused"),
            ([said(&["etcd"], "ok", &[of("")]), unit(900)], "the kubelet has not begun with etcd-cp1"),
            ([said(&["etcd"], "ok", &[of(&container(false, OLD))]), unit(900)], "etcd of etcd-cp1 is not ready"),
            (
                [said(&["etcd"], "ok", &[of(&container(false, r#"{"waiting":{}}"#))]), unit(900)],
                "etcd of etcd-cp1 does not run",
            ),
            (
                [said(&["etcd"], "ok", &[of(&container(true, NEW))]), unit(900)],
                "etcd of etcd-cp1 was started less than 15 s ago",
            ),
            ([Answer::Absent, unit(900)], "the host does not say what its kubelet does"),
            ([said(&["etcd"], "ok", &etcd), Answer::Absent], "the host does not say what its kubelet does"),
        ] {
            assert_eq!(restless(&answers, 15).as_deref(), Some(why));
        }
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic_or_passes_for_settled(text in "(now=[0-9]{0,3}\n|healthz=ok\n|pods=.{0,20}\n|manifest.etcd=yes\n){0,6}") {
            let answer = Answer::Shell { code: 0, stdout: text, stderr: String::new() };
            prop_assert!(restless(&[answer, unit(0)], 15).is_some());
        }
    }
}
