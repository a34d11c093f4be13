//! Whether a bill says the same as another one. Another version of this program may word it otherwise, and know more
//! licences; names, versions and digests must be the same.

use std::collections::BTreeSet;

use serde_json::Value;

use super::part::{TOOL, TOOL_VERSION};

/// Whether `found` is as good as `made`, which this program makes of the bundle: the same bytes when the same version made
/// both, else the same things by name, version and digest.
pub(in crate::bundle) fn same_facts(found: &str, made: &str) -> bool {
    if found == made {
        return true;
    }
    let Ok(found) = serde_json::from_str::<Value>(found) else { return false };
    let Ok(made) = serde_json::from_str::<Value>(made) else { return false };
    maker(&found).is_some_and(|version| version != TOOL_VERSION) && facts(&found) == facts(&made)
}

/// The version of this program that made a bill, if it says so.
fn maker(bill: &Value) -> Option<String> {
    if let Some(creators) = bill.pointer("/creationInfo/creators") {
        let prefix = format!("Tool: {TOOL}-");
        return creators.as_array()?.iter().find_map(|c| c.as_str()?.strip_prefix(&prefix).map(str::to_owned));
    }
    let tool = bill.pointer("/metadata/tools/components/0")?;
    (tool.get("name")?.as_str()? == TOOL).then(|| tool.get("version")?.as_str().map(str::to_owned))?
}

/// Everything with a digest: its name, version and digests. Values of other shapes are kept as they are, so nothing that
/// differs looks the same.
fn facts(bill: &Value) -> BTreeSet<[String; 3]> {
    let mut all = BTreeSet::new();
    let mut open = vec![bill];
    while let Some(value) = open.pop() {
        match value {
            Value::Object(map) => {
                let digests = map.get("hashes").or(map.get("checksums"));
                // An external reference has digests too, and no name: its component's are the same.
                if let (Some(digests), Some(name)) = (digests, map.get("name")) {
                    let version = map.get("version").or(map.get("versionInfo"));
                    all.insert([name, version.unwrap_or(&Value::Null), digests].map(Value::to_string));
                }
                open.extend(map.values());
            }
            Value::Array(items) => open.extend(items),
            _ => {}
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::licences::Labels;
    use crate::bundle::sample::manifest;
    use crate::bundle::sbom::{cyclonedx, spdx};

    #[test]
    fn another_version_may_word_it_otherwise_and_not_change_what_is_inside() {
        for make in [cyclonedx, spdx] {
            let made = make(&manifest(), &Labels::new());
            assert!(same_facts(&made, &made));
            assert!(!same_facts(&made.replace("Apache-2.0", "MIT"), &made), "the same version: the same bytes");
            let older = made.replace(&format!("\"{TOOL_VERSION}\""), "\"0.0.1\"");
            let older = older.replace(&format!("{TOOL}-{TOOL_VERSION}"), &format!("{TOOL}-0.0.1"));
            assert!(same_facts(&older.replace("Apache-2.0", "MIT"), &made));
            for (from, to) in [("kubeadm", "kubeadn"), ("2.2.1", "2.2.0"), ("bin/a", "bin/b")] {
                assert!(!same_facts(&older.replace(from, to), &made), "{from}");
            }
            let digest = manifest().artifacts[0].digest.hex().to_owned();
            assert!(!same_facts(&older.replace(&digest, &"0".repeat(64)), &made));
            assert!(!same_facts("{", &made) && !same_facts("{}", &made));
        }
    }
}
