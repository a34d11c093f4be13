//! PodDisruptionBudgets that no drain can ever satisfy. Pure.
//!
//! The arithmetic is that of the disruption controller, pkg/controller/disruption in kubernetes/kubernetes: percentages
//! are rounded up, those of `maxUnavailable` as well as those of `minAvailable`.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::refusal::{Refusal, listed};
use crate::error::{Context as _, Result};

/// A PodDisruptionBudget with the pods that it protects and a drain would evict.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Budget {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// How many pods have to stay.
    pub min_available: Option<Amount>,
    /// How many pods may be away.
    pub max_unavailable: Option<Amount>,
    /// How many pods there should be.
    pub expected: u64,
    /// How many are healthy.
    pub healthy: u64,
    /// How many may be evicted now.
    pub allowed: u64,
    /// Its pods and the nodes they are on.
    pub pods: BTreeMap<String, String>,
}

/// A number of pods, or a share of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// So many.
    Count(u64),
    /// So many of a hundred.
    Percent(u64),
}

impl Amount {
    fn of(self, total: u64) -> u64 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => percent.saturating_mul(total).div_ceil(100),
        }
    }
}

impl Budget {
    /// How many pods must stay healthy.
    fn needed(&self) -> u64 {
        match (self.max_unavailable, self.min_available) {
            (Some(away), _) => self.expected.saturating_sub(away.of(self.expected)),
            (None, Some(stay)) => stay.of(self.expected),
            (None, None) => 0,
        }
    }

    /// Whether not one pod may go even when all are healthy.
    #[must_use]
    pub fn never_allows(&self) -> bool {
        self.expected > 0 && self.needed() >= self.expected
    }
}

#[derive(Deserialize)]
struct List<T> {
    items: Vec<T>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Object<S, T> {
    #[serde(default)]
    api_version: String,
    metadata: Metadata,
    #[serde(default)]
    spec: S,
    #[serde(default)]
    status: T,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    namespace: String,
    name: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(default)]
    owner_references: Vec<Owner>,
}

#[derive(Deserialize)]
struct Owner {
    kind: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct BudgetSpec {
    min_available: Option<Written>,
    max_unavailable: Option<Written>,
    selector: Option<Selector>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Count(u64),
    Text(String),
}

impl Written {
    fn amount(&self) -> Option<Amount> {
        match self {
            Self::Count(count) => Some(Amount::Count(*count)),
            Self::Text(text) => text.strip_suffix('%')?.parse().ok().map(Amount::Percent),
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct BudgetStatus {
    expected_pods: u64,
    current_healthy: u64,
    disruptions_allowed: u64,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Selector {
    match_labels: BTreeMap<String, String>,
    match_expressions: Vec<Expression>,
}

#[derive(Deserialize)]
struct Expression {
    key: String,
    operator: String,
    #[serde(default)]
    values: Vec<String>,
}

impl Selector {
    fn is_empty(&self) -> bool {
        self.match_labels.is_empty() && self.match_expressions.is_empty()
    }

    fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let holds = |e: &Expression| {
            let value = labels.get(&e.key);
            match e.operator.as_str() {
                "In" => value.is_some_and(|v| e.values.contains(v)),
                "NotIn" => value.is_none_or(|v| !e.values.contains(v)),
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        };
        self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(holds)
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct PodSpec {
    node_name: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct PodStatus {
    phase: String,
}

/// Reads `kubectl get poddisruptionbudgets -A -o json` and `kubectl get pods -A -o json`, of `policy/v1` and
/// `policy/v1beta1` alike. Pods that no drain evicts are left out: those of DaemonSets, static ones, and ended ones.
///
/// # Errors
/// When either is not such a list.
pub fn budgets(budgets_json: &str, pods_json: &str) -> Result<Vec<Budget>> {
    let budgets: List<Object<BudgetSpec, BudgetStatus>> =
        serde_json::from_str(budgets_json).context(|| "failed to read the list of PodDisruptionBudgets".into())?;
    let pods: List<Object<PodSpec, PodStatus>> =
        serde_json::from_str(pods_json).context(|| "failed to read the list of pods".into())?;
    let mut evicted: BTreeMap<&str, Vec<&Object<PodSpec, PodStatus>>> = BTreeMap::new();
    for pod in pods.items.iter().filter(|p| is_evicted(p)) {
        evicted.entry(&pod.metadata.namespace).or_default().push(pod);
    }
    let read = |object: &Object<BudgetSpec, BudgetStatus>| {
        let (spec, status) = (&object.spec, &object.status);
        // A selector without a condition means every pod in policy/v1, and none in v1beta1.
        let every = object.api_version != "policy/v1beta1";
        let selects = |labels| spec.selector.as_ref().is_some_and(|s| (every || !s.is_empty()) && s.matches(labels));
        let near = evicted.get(object.metadata.namespace.as_str()).into_iter().flatten();
        Budget {
            namespace: object.metadata.namespace.clone(),
            name: object.metadata.name.clone(),
            min_available: spec.min_available.as_ref().and_then(Written::amount),
            max_unavailable: spec.max_unavailable.as_ref().and_then(Written::amount),
            expected: status.expected_pods,
            healthy: status.current_healthy,
            allowed: status.disruptions_allowed,
            pods: near
                .filter(|p| selects(&p.metadata.labels))
                .map(|p| (p.metadata.name.clone(), p.spec.node_name.clone()))
                .collect(),
        }
    };
    Ok(budgets.items.iter().map(read).collect())
}

fn is_evicted(pod: &Object<PodSpec, PodStatus>) -> bool {
    !pod.spec.node_name.is_empty()
        && !matches!(pod.status.phase.as_str(), "Succeeded" | "Failed")
        && !pod.metadata.annotations.contains_key("kubernetes.io/config.mirror")
        && !pod.metadata.owner_references.iter().any(|o| o.kind == "DaemonSet")
}

/// What keeps `drained` nodes from ever being emptied: budgets that never allow a pod to go, and pods that several
/// budgets protect, which the API server does not evict at all.
#[must_use]
pub fn never(budgets: &[Budget], drained: &BTreeSet<String>) -> Vec<Refusal> {
    let mut found = Vec::new();
    for budget in budgets.iter().filter(|b| b.never_allows()) {
        let nodes: BTreeSet<&str> = budget.pods.values().map(String::as_str).filter(|n| drained.contains(*n)).collect();
        if nodes.is_empty() {
            continue;
        }
        let pods =
            if budget.expected == 1 { "its one pod".into() } else { format!("one of its {} pods", budget.expected) };
        found.push(Refusal::new(
            format!(
                "the PodDisruptionBudget {}/{} never lets {pods} go, as {} must stay; it holds up {}",
                budget.namespace,
                budget.name,
                budget.needed(),
                listed(nodes)
            ),
            "run one pod more or set maxUnavailable: 1, at least for the time of the upgrade",
        ));
    }
    let mut owners: BTreeMap<(&str, &str), Vec<&Budget>> = BTreeMap::new();
    for budget in budgets {
        for (pod, _) in budget.pods.iter().filter(|(_, node)| drained.contains(*node)) {
            owners.entry((&budget.namespace, pod)).or_default().push(budget);
        }
    }
    let mut shared: BTreeMap<(&str, Vec<&str>), Vec<&str>> = BTreeMap::new();
    for ((namespace, pod), several) in owners.into_iter().filter(|(_, several)| several.len() > 1) {
        shared.entry((namespace, several.iter().map(|b| b.name.as_str()).collect())).or_default().push(pod);
    }
    for ((namespace, names), pods) in shared {
        found.push(Refusal::new(
            format!(
                "several PodDisruptionBudgets of {namespace} select the same pods, which are then never evicted: {} \
                 select {}",
                listed(names),
                listed(pods)
            ),
            "let each pod be selected by one budget only",
        ));
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn budget(min: Option<Amount>, max: Option<Amount>, expected: u64) -> Budget {
        Budget { min_available: min, max_unavailable: max, expected, ..Budget::default() }
    }

    #[test]
    fn a_budget_is_never_met_when_every_pod_must_stay() {
        use Amount::{Count, Percent};
        for (min, max, expected, never) in [
            (None, Some(Count(0)), 3, true),
            (None, Some(Percent(0)), 3, true),
            (None, Some(Count(1)), 1, false),
            // Rounded up: one of the three may go.
            (None, Some(Percent(1)), 3, false),
            (Some(Count(1)), None, 1, true),
            (Some(Count(1)), None, 2, false),
            (Some(Count(5)), None, 3, true),
            (Some(Percent(100)), None, 3, true),
            // 4.5 is rounded up to all five.
            (Some(Percent(90)), None, 5, true),
            (Some(Percent(90)), None, 10, false),
            // It protects nothing yet.
            (Some(Count(1)), None, 0, false),
            (None, None, 3, false),
        ] {
            assert_eq!(budget(min, max, expected).never_allows(), never, "{min:?} {max:?} {expected}");
        }
    }

    const BUDGETS: &str = r#"{"kind":"List","items":[
        {"apiVersion":"policy/v1","metadata":{"namespace":"db","name":"one"},
         "spec":{"minAvailable":1,"selector":{"matchLabels":{"app":"db"}}},
         "status":{"expectedPods":1,"currentHealthy":1,"desiredHealthy":1,"disruptionsAllowed":0}},
        {"apiVersion":"policy/v1","metadata":{"namespace":"web","name":"most"},
         "spec":{"maxUnavailable":"25%","selector":{"matchExpressions":[
            {"key":"app","operator":"In","values":["web","api"]},{"key":"canary","operator":"DoesNotExist"}]}},
         "status":{"expectedPods":4,"currentHealthy":4,"desiredHealthy":3,"disruptionsAllowed":1}},
        {"apiVersion":"policy/v1","metadata":{"namespace":"web","name":"all"},
         "spec":{"maxUnavailable":0,"selector":{}},"status":{"expectedPods":2}},
        {"apiVersion":"policy/v1beta1","metadata":{"namespace":"old","name":"none"},
         "spec":{"maxUnavailable":0,"selector":{}},"status":{"expectedPods":2}},
        {"apiVersion":"policy/v1","metadata":{"namespace":"new","name":"young"},"spec":{"minAvailable":"50%"}}
    ]}"#;

    fn pod(namespace: &str, name: &str, node: &str, more: &str) -> String {
        format!(
            r#"{{"apiVersion":"v1","metadata":{{"namespace":"{namespace}","name":"{name}"{more}}},
                "spec":{{"nodeName":"{node}"}},"status":{{"phase":"Running"}}}}"#
        )
    }

    fn read(pods: &[String]) -> Vec<Budget> {
        let pods = format!(r#"{{"items":[{}]}}"#, pods.join(","));
        budgets(BUDGETS, &pods).unwrap_or_else(|e| panic!("{e}"))
    }

    fn drained(nodes: &[&str]) -> BTreeSet<String> {
        nodes.iter().map(|n| (*n).to_owned()).collect()
    }

    #[test]
    fn both_versions_of_the_api_are_read() {
        let read = read(&[
            pod("db", "db-0", "n1", r#","labels":{"app":"db"}"#),
            pod("web", "web-0", "n1", r#","labels":{"app":"web"}"#),
            pod("web", "web-1", "n2", r#","labels":{"app":"web","canary":"yes"}"#),
            pod("web", "agent", "n2", r#","labels":{"app":"web"},"ownerReferences":[{"kind":"DaemonSet"}]"#),
            pod("web", "static", "n2", r#","labels":{"app":"web"},"annotations":{"kubernetes.io/config.mirror":"x"}"#),
            pod("web", "pending", "", r#","labels":{"app":"web"}"#),
            pod("old", "x", "n1", ""),
        ]);
        let placed = |b: &Budget| (b.name.clone(), b.pods.keys().cloned().collect::<Vec<_>>().join(" "));
        assert_eq!(
            read.iter().map(placed).collect::<Vec<_>>(),
            [("one", "db-0"), ("most", "web-0"), ("all", "web-0 web-1"), ("none", ""), ("young", "")]
                .map(|(name, pods)| (name.to_owned(), pods.to_owned()))
        );
        let most = read.get(1).cloned().unwrap_or_default();
        assert_eq!(
            (most.max_unavailable, most.expected, most.healthy, most.allowed),
            (Some(Amount::Percent(25)), 4, 4, 1)
        );
        assert_eq!(read.last().and_then(|b| b.min_available), Some(Amount::Percent(50)));
    }

    #[test]
    fn only_budgets_with_pods_on_drained_nodes_are_in_the_way() {
        let read = read(&[
            pod("db", "db-0", "n1", r#","labels":{"app":"db"}"#),
            pod("web", "web-0", "n2", r#","labels":{"app":"web"}"#),
        ]);
        let reasons =
            |nodes: &[&str]| -> Vec<String> { never(&read, &drained(nodes)).into_iter().map(|r| r.reason).collect() };
        assert_eq!(
            reasons(&["n1"]),
            ["the PodDisruptionBudget db/one never lets its one pod go, as 1 must stay; it holds up n1"]
        );
        assert_eq!(
            reasons(&["n2", "n3"]),
            [
                "the PodDisruptionBudget web/all never lets one of its 2 pods go, as 2 must stay; it holds up n2",
                "several PodDisruptionBudgets of web select the same pods, which are then never evicted: most, all \
                 select web-0"
            ]
        );
        assert_eq!(reasons(&["n3"]), [""; 0]);
    }

    #[test]
    fn what_is_no_list_is_an_error() {
        for bad in ["", "{}", "[]", r#"{"items":[{"metadata":{}}]}"#] {
            assert!(budgets(bad, r#"{"items":[]}"#).is_err() && budgets(r#"{"items":[]}"#, bad).is_err(), "{bad}");
        }
    }

    proptest! {
        /// Against the controller's own arithmetic: when all pods are healthy, are any disruptions allowed?
        #[test]
        fn never_is_when_healthy_pods_allow_none(expected in 1u64..200, amount in 0u64..200, kind in 0u8..4) {
            let share = (expected as f64 * amount.min(100) as f64 / 100.0).ceil() as u64;
            let (budget, desired) = match kind {
                0 => (budget(Some(Amount::Count(amount)), None, expected), amount),
                1 => (budget(Some(Amount::Percent(amount.min(100))), None, expected), share),
                2 => (budget(None, Some(Amount::Count(amount)), expected), expected.saturating_sub(amount)),
                _ => (budget(None, Some(Amount::Percent(amount.min(100))), expected), expected.saturating_sub(share)),
            };
            prop_assert_eq!(budget.never_allows(), expected.saturating_sub(desired) == 0);
        }

        #[test]
        fn no_json_makes_it_panic(text in ".{0,80}") {
            let _ = budgets(&text, &text).is_ok();
        }
    }
}
