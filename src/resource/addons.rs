//! Releases of charts and raw manifests on the cluster.

use super::shell::shell_probe;
use crate::bundle::Digest;
use crate::host::{Answer, Probe};
use crate::inventory::Inventory;

/// The label on every release that we installed: `provision=yes`. It tells ours from others'.
pub(crate) const RELEASE_LABEL: &str = "provision=yes";

/// What a release of this chart with these values is described as. helm keeps the description, so that it can be read
/// back, and puts another in its place when it rolls back: then the release is not what was wanted.
#[must_use]
pub fn release_mark(chart: &Digest, values: &[String]) -> String {
    let all = serde_json::json!([chart.to_string(), values]);
    format!("provision {}", Digest::of(all.to_string().as_bytes()))
}

/// Asks for the newest revision of a release.
pub(super) fn release_probe(release: &str, namespace: &str) -> Probe {
    shell_probe("release", &[release, namespace])
}

/// Whether the newest revision runs and is described so.
pub(super) fn is_released(answer: &Answer, mark: &str) -> bool {
    let Answer::Shell { code: 0, stdout, .. } = answer else { return false };
    let revisions: Vec<serde_json::Value> = serde_json::from_str(stdout).unwrap_or_default();
    let text = |key: &str| revisions.last().and_then(|r| r.get(key)?.as_str());
    text("status") == Some("deployed") && text("description") == Some(mark)
}

/// Asks whether applying the manifest, which must be in the node's store, would change anything.
pub(super) fn manifest_probe(digest: &Digest, server_side: bool) -> Probe {
    shell_probe("manifest", &[digest.hex(), if server_side { "true" } else { "false" }])
}

/// Asks for all releases that we installed.
#[must_use]
pub fn releases_probe() -> Probe {
    shell_probe("releases", &[RELEASE_LABEL])
}

/// The releases of ours, as `namespace/name`, that the inventory does not name any more.
#[must_use]
pub fn left_over_releases(answer: &Answer, inv: &Inventory) -> Vec<String> {
    let Answer::Shell { code: 0, stdout, .. } = answer else { return Vec::new() };
    let releases: Vec<serde_json::Value> = serde_json::from_str(stdout).unwrap_or_default();
    let named = |namespace: &str, name: &str| inv.charts.iter().any(|c| c.namespace == namespace && c.name == name);
    releases
        .iter()
        .filter_map(|r| Some((r.get("namespace")?.as_str()?, r.get("name")?.as_str()?)))
        .filter(|(namespace, name)| !named(namespace, name))
        .map(|(namespace, name)| format!("{namespace}/{name}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(stdout: &str) -> Answer {
        Answer::Shell { code: 0, stdout: stdout.into(), stderr: String::new() }
    }

    #[test]
    fn releases_that_left_the_inventory_are_named() {
        let text = include_str!("../../inventories/charts.toml");
        let inv = crate::inventory::parse(text).unwrap_or_else(|d| panic!("{d:?}")).inventory;
        let list = r#"[{"name":"hello","namespace":"hello","revision":"2"},{"name":"hello","namespace":"shop"}]"#;
        assert_eq!(left_over_releases(&said(list), &inv), ["shop/hello"]);
        for nothing in ["", "[]", "{}", "not json"] {
            assert!(left_over_releases(&said(nothing), &inv).is_empty());
        }
    }

    #[test]
    fn a_release_counts_only_as_it_was_wanted() {
        let chart = Digest::of(b"chart");
        let mark = release_mark(&chart, &["a: 1".into()]);
        assert_ne!(mark, release_mark(&chart, &["a: 2".into()]));
        assert_ne!(mark, release_mark(&Digest::of(b"other"), &["a: 1".into()]));
        // The boundary between two files counts.
        assert_ne!(release_mark(&chart, &["a".into(), "b".into()]), release_mark(&chart, &["ab".into()]));
        let with = |status: &str, description: &str| {
            said(&serde_json::json!([{ "revision": 2, "status": status, "description": description }]).to_string())
        };
        assert!(is_released(&with("deployed", &mark), &mark));
        for (status, description) in
            [("failed", mark.as_str()), ("pending-upgrade", &mark), ("deployed", "Rollback to 1"), ("deployed", "")]
        {
            assert!(!is_released(&with(status, description), &mark), "{status} {description}");
        }
        let lost = Answer::Shell { code: 1, stdout: String::new(), stderr: "Error: release: not found".into() };
        for answer in [lost, said(""), said("[]"), said("{"), Answer::Absent] {
            assert!(!is_released(&answer, &mark));
        }
    }
}
