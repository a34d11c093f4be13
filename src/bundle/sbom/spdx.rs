//! SPDX 2.3, JSON.

use serde_json::{Value, json};

use super::part::{Part, TOOL, TOOL_VERSION, parts, uuid, verified_by};
use crate::bundle::licences::{Labels, NO_ASSERTION};
use crate::bundle::manifest::{ArtifactKind, BundleManifest, Digest, Member};

/// SPDX asks for a time of creation. Every bundle bears this one: the same lock gives the same bundle, bit for bit, on any
/// day, and the document is made of nothing but the bundle.
const CREATED: &str = "1970-01-01T00:00:00Z";
const DOCUMENT: &str = "SPDXRef-DOCUMENT";
const BUNDLE: &str = "SPDXRef-bundle";

/// The bill of a bundle's contents. The same manifest and labels give the same bytes: its namespace is made of the digest
/// of `bundle.json`, its time of creation is fixed.
///
/// The members of an archive are packages of purpose FILE: what SPDX calls a file needs a SHA-1, which a bundle does not
/// hold.
#[must_use]
pub fn spdx(manifest: &BundleManifest, labels: &Labels) -> String {
    let digest = Digest::of(manifest.to_canonical_json().as_bytes());
    let mut packages = vec![json!({
        "SPDXID": BUNDLE,
        "name": "kubernetes-bundle",
        "versionInfo": manifest.kubernetes,
        "packageFileName": "bundle.json",
        "downloadLocation": NO_ASSERTION,
        "filesAnalyzed": false,
        "checksums": [sha256(&digest)],
        "licenseConcluded": NO_ASSERTION,
        "licenseDeclared": NO_ASSERTION,
        "copyrightText": NO_ASSERTION,
        "sourceInfo": format!("built from the lock with the digest {}", manifest.lock),
    })];
    let mut relationships = vec![relationship(DOCUMENT, "DESCRIBES", BUNDLE)];
    for (n, part) in parts(manifest, labels).iter().enumerate() {
        let own = format!("SPDXRef-artifact-{n}");
        packages.push(package(&own, part));
        relationships.push(relationship(BUNDLE, "CONTAINS", &own));
        for (m, member) in part.artifact.members.iter().enumerate() {
            let inside = format!("{own}-file-{m}");
            packages.push(file(&inside, member));
            relationships.push(relationship(&own, "CONTAINS", &inside));
        }
    }
    let document = json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": DOCUMENT,
        "name": format!("kubernetes-bundle-{}", manifest.kubernetes),
        "documentNamespace": format!("urn:uuid:{}", uuid(&digest)),
        "creationInfo": {
            "created": CREATED,
            "creators": [format!("Tool: {TOOL}-{TOOL_VERSION}")],
            "comment": "The time is fixed: this document is made of the bundle alone, the same for the same bundle.",
        },
        "packages": packages,
        "relationships": relationships,
    });
    let mut text = serde_json::to_string_pretty(&document).unwrap_or_default();
    text.push('\n');
    text
}

fn sha256(digest: &Digest) -> Value {
    json!({ "algorithm": "SHA256", "checksumValue": digest.hex() })
}

fn relationship(from: &str, kind: &str, to: &str) -> Value {
    json!({ "spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to })
}

fn package(id: &str, part: &Part<'_>) -> Value {
    let a = part.artifact;
    let mut package = json!({
        "SPDXID": id,
        "name": part.name,
        "versionInfo": a.version,
        "downloadLocation": part.url.unwrap_or(NO_ASSERTION),
        "filesAnalyzed": false,
        "checksums": [sha256(&a.digest)],
        "licenseConcluded": NO_ASSERTION,
        "licenseDeclared": part.licence.or_no_assertion(),
        "copyrightText": NO_ASSERTION,
        "primaryPackagePurpose": match a.kind {
            ArtifactKind::Image => "CONTAINER",
            ArtifactKind::Binary => "APPLICATION",
            ArtifactKind::Archive => "ARCHIVE",
            ArtifactKind::Package => "INSTALL",
            ArtifactKind::Chart | ArtifactKind::Manifest | ArtifactKind::File | ArtifactKind::Signature => "FILE",
        },
        "sourceInfo": format!("{}, {} bytes, verified: {}", a.arch_name(), a.size, verified_by(&a.verified)),
    });
    if let Some(said) = &part.licence.said {
        package["licenseComments"] = json!(format!("the image states `{said}`, which is no SPDX expression"));
    }
    let reference = |category: &str, kind: &str, locator: &str| json!({ "referenceCategory": category, "referenceType": kind, "referenceLocator": locator });
    let purl = part.purl.iter().map(|purl| reference("PACKAGE-MANAGER", "purl", purl));
    let cpe = part.cpe.iter().map(|cpe| reference("SECURITY", "cpe23Type", cpe));
    let references: Vec<Value> = purl.chain(cpe).collect();
    if !references.is_empty() {
        package["externalRefs"] = Value::Array(references);
    }
    package
}

fn file(id: &str, member: &Member) -> Value {
    json!({
        "SPDXID": id,
        "name": member.path,
        "packageFileName": format!("./{}", member.path.trim_start_matches("./")),
        "downloadLocation": NO_ASSERTION,
        "filesAnalyzed": false,
        "checksums": [sha256(&member.digest)],
        "licenseConcluded": NO_ASSERTION,
        "licenseDeclared": NO_ASSERTION,
        "copyrightText": NO_ASSERTION,
        "primaryPackagePurpose": "FILE",
        "sourceInfo": format!("{} bytes, mode {:o}", member.size, member.mode),
    })
}
