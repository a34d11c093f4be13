//! CycloneDX 1.5, JSON: the version that scanners of the last years read.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::part::{Part, TOOL, TOOL_VERSION, parts, uuid, verified_by};
use crate::bundle::licences::{Labels, LicenceBasis};
use crate::bundle::manifest::{ArtifactKind, BundleManifest, Digest};

/// The bill of a bundle's contents. The same manifest and labels give the same bytes: its serial number is made of the
/// digest of `bundle.json`, and it has no timestamp (which CycloneDX does not ask for).
#[must_use]
pub fn cyclonedx(manifest: &BundleManifest, labels: &Labels) -> String {
    let digest = Digest::of(manifest.to_canonical_json().as_bytes());
    let root = format!("bundle@{digest}");
    let mut taken = HashSet::from([root.clone()]);
    let components: Vec<Value> = parts(manifest, labels).iter().map(|part| component(part, &mut taken)).collect();
    let inside: Vec<&Value> = components.iter().filter_map(|c| c.get("bom-ref")).collect();
    let mut bill = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": format!("urn:uuid:{}", uuid(&digest)),
        "version": 1,
        "metadata": {
            "tools": { "components": [{ "type": "application", "name": TOOL, "version": TOOL_VERSION }] },
            "component": {
                "type": "application",
                "bom-ref": root,
                "name": "kubernetes-bundle",
                "version": manifest.kubernetes,
                "hashes": [sha256(&digest)],
                "properties": [
                    property("file", "bundle.json"),
                    property("lock", &manifest.lock.to_string()),
                ],
            },
        },
        "dependencies": [{ "ref": root, "dependsOn": inside }],
    });
    bill["components"] = Value::Array(components);
    let mut text = serde_json::to_string_pretty(&bill).unwrap_or_default();
    text.push('\n');
    text
}

fn sha256(digest: &Digest) -> Value {
    json!({ "alg": "SHA-256", "content": digest.hex() })
}

fn property(name: &str, value: &str) -> Value {
    json!({ "name": format!("{TOOL}:{name}"), "value": value })
}

/// `wanted`, or with a number behind it when that is taken: references are unique in a document.
fn reference(wanted: String, taken: &mut HashSet<String>) -> String {
    let mut free = wanted.clone();
    let mut number = 1;
    while !taken.insert(free.clone()) {
        number += 1;
        free = format!("{wanted}#{number}");
    }
    free
}

fn component(part: &Part<'_>, taken: &mut HashSet<String>) -> Value {
    let a = part.artifact;
    let kind = serde_json::to_value(a.kind).ok().and_then(|k| k.as_str().map(str::to_owned)).unwrap_or_default();
    let own = reference(format!("{kind}/{}@{}/{}", a.name, a.version, a.arch_name()), taken);
    let mut properties = vec![
        property("arch", a.arch_name()),
        property("kind", &kind),
        property("size", &a.size.to_string()),
        property("verified", &verified_by(&a.verified)),
    ];
    if part.licence.basis != LicenceBasis::Unknown {
        let basis = serde_json::to_value(part.licence.basis).unwrap_or_default();
        properties.push(property("licence-basis", basis.as_str().unwrap_or_default()));
    }
    let mut component = json!({
        "type": match a.kind {
            ArtifactKind::Image => "container",
            ArtifactKind::Manifest | ArtifactKind::File | ArtifactKind::Signature => "file",
            _ => "application",
        },
        "bom-ref": own,
        "name": part.name,
        "version": a.version,
        "hashes": [sha256(&a.digest)],
        "properties": properties,
    });
    if let Some(expression) = &part.licence.expression {
        component["licenses"] = json!([{ "expression": expression }]);
    } else if let Some(said) = &part.licence.said {
        component["licenses"] = json!([{ "license": { "name": said } }]);
    }
    if let Some(cpe) = &part.cpe {
        component["cpe"] = json!(cpe);
    }
    if let Some(purl) = &part.purl {
        component["purl"] = json!(purl);
    }
    if let Some(url) = part.url {
        component["externalReferences"] =
            json!([{ "type": "distribution", "url": url, "hashes": [sha256(&a.digest)] }]);
    }
    if !a.members.is_empty() {
        let member = |m: &crate::bundle::Member| {
            json!({
                "type": "file",
                "bom-ref": reference(format!("{own}!{}", m.path), taken),
                "name": m.path,
                "hashes": [sha256(&m.digest)],
                "properties": [property("size", &m.size.to_string()), property("mode", &format!("{:o}", m.mode))],
            })
        };
        component["components"] = a.members.iter().map(member).collect();
    }
    component
}
