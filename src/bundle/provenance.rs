//! `provenance.json`: who built a bundle, from which lock, with which version: an in-toto statement (v1) with SLSA's
//! provenance (v1) as its predicate. Pure.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::manifest::{BundleManifest, Digest};
use crate::inventory::Sources;

const STATEMENT: &str = "https://in-toto.io/Statement/v1";
const PREDICATE: &str = "https://slsa.dev/provenance/v1";
/// What is built, and what `externalParameters` mean: the section of the README of this name.
const BUILD_TYPE: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "#bundle-provenance-v1");

/// What a statement is made of.
#[derive(Debug, Clone, Copy)]
pub struct Provenance<'a> {
    /// What was built.
    pub manifest: &'a BundleManifest,
    /// The files it vouches for, by name.
    pub subjects: &'a BTreeMap<&'static str, Digest>,
    /// Who says to have built it. It is what the caller says, never guessed from the machine.
    pub builder: &'a str,
    /// Where it was fetched from: the base URLs, without logins.
    pub sources: &'a Sources,
}

/// The statement. It has no times: the same lock, sources, builder and version give the same bytes.
#[must_use]
pub fn provenance(of: &Provenance<'_>) -> String {
    let subject: Vec<Value> = of
        .subjects
        .iter()
        .map(|(name, digest)| json!({ "name": name, "digest": { "sha256": digest.hex() } }))
        .collect();
    let s = of.sources;
    let registries: BTreeMap<&String, String> = s.registries.iter().map(|(k, v)| (k, without_login(v))).collect();
    let statement = json!({
        "_type": STATEMENT,
        "subject": subject,
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "kubernetes": of.manifest.kubernetes,
                    "sources": {
                        "kubernetes": without_login(&s.kubernetes),
                        "containerd": without_login(&s.containerd),
                        "runc": without_login(&s.runc),
                        "cni_plugins": without_login(&s.cni_plugins),
                        "crictl": without_login(&s.crictl),
                        "etcd": without_login(&s.etcd),
                        "registries": registries,
                    },
                },
                "resolvedDependencies": [
                    { "name": "lock", "digest": { "sha256": of.manifest.lock.hex() } },
                ],
            },
            "runDetails": {
                "builder": { "id": of.builder, "version": { "provision": env!("CARGO_PKG_VERSION") } },
            },
        },
    });
    let mut text = serde_json::to_string_pretty(&statement).unwrap_or_default();
    text.push('\n');
    text
}

/// A base URL without the user and password that may stand in it.
fn without_login(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

/// What a statement says that is not so of this bundle; `subjects` are the files as they lie there. Empty when all is
/// true.
#[must_use]
pub fn provenance_problems(
    text: &str,
    manifest: &BundleManifest,
    subjects: &BTreeMap<&'static str, Digest>,
) -> Vec<String> {
    let Ok(statement) = serde_json::from_str::<Value>(text) else {
        return vec!["it is no JSON".into()];
    };
    let mut problems = Vec::new();
    for (key, want) in [("_type", STATEMENT), ("predicateType", PREDICATE)] {
        if statement.get(key).and_then(Value::as_str) != Some(want) {
            problems.push(format!("its {key} is not {want}"));
        }
    }
    let build_type = statement.pointer("/predicate/buildDefinition/buildType").and_then(Value::as_str);
    if build_type != Some(BUILD_TYPE) {
        problems.push(format!("its buildType is not {BUILD_TYPE}"));
    }
    let named = |list: Option<&Value>| -> BTreeMap<String, String> {
        let entries = list.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let text = |entry: &Value, at: &str| entry.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
        entries.iter().map(|entry| (text(entry, "/name"), text(entry, "/digest/sha256"))).collect()
    };
    let said = named(statement.get("subject"));
    for (name, digest) in subjects {
        match said.get(*name) {
            Some(hex) if hex == digest.hex() => {}
            Some(hex) => {
                problems.push(format!("its subject {name} has the digest sha256:{hex}, the file has {digest}"))
            }
            None => problems.push(format!("it does not vouch for {name}")),
        }
    }
    let dependencies = named(statement.pointer("/predicate/buildDefinition/resolvedDependencies"));
    match dependencies.get("lock") {
        Some(hex) if hex == manifest.lock.hex() => {}
        Some(hex) => {
            problems.push(format!("it names the lock sha256:{hex}, bundle.json was built from {}", manifest.lock));
        }
        None => problems.push("it names no lock".into()),
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::sample::manifest;

    fn made(builder: &str) -> (String, BTreeMap<&'static str, Digest>) {
        let subjects = BTreeMap::from([("bundle.json", Digest::of(b"b")), ("index.json", Digest::of(b"i"))]);
        let mut sources = Sources { kubernetes: "https://me:pw@mirror.example/k8s".into(), ..Sources::default() };
        sources.registries.insert("registry.k8s.io".into(), "http://token@10.0.0.1:5000/a@b".into());
        let text = provenance(&Provenance { manifest: &manifest(), subjects: &subjects, builder, sources: &sources });
        (text, subjects)
    }

    #[test]
    fn it_says_what_is_so_and_holds_no_login() {
        let (text, subjects) = made("https://ci.example/runner\"");
        assert_eq!(provenance_problems(&text, &manifest(), &subjects), Vec::<String>::new());
        assert!(!text.contains("me:pw") && !text.contains("token@"), "{text}");
        let json: Value = serde_json::from_str(&text).unwrap_or_default();
        let at = |p: &str| json.pointer(p).and_then(Value::as_str).unwrap_or_default().to_owned();
        assert_eq!(at("/predicate/runDetails/builder/id"), "https://ci.example/runner\"");
        let sources = "/predicate/buildDefinition/externalParameters/sources";
        assert_eq!(at(&format!("{sources}/kubernetes")), "https://mirror.example/k8s");
        assert_eq!(at(&format!("{sources}/registries/registry.k8s.io")), "http://10.0.0.1:5000/a@b");
    }

    #[test]
    fn what_is_not_so_is_named() {
        let (text, subjects) = made("unknown");
        let mut other = subjects.clone();
        other.insert("bundle.json", Digest::of(b"c"));
        other.insert("more.json", Digest::of(b"m"));
        let mut another = manifest();
        another.lock = Digest::of(b"other");
        let problems = provenance_problems(&text, &another, &other).join("\n");
        for want in ["subject bundle.json has the digest", "vouch for more.json", "names the lock sha256:"] {
            assert!(problems.contains(want), "{want}: {problems}");
        }
        assert_eq!(provenance_problems("{}", &manifest(), &subjects).len(), 6);
        assert_eq!(provenance_problems("[", &manifest(), &subjects), ["it is no JSON"]);
        let edited = text.replace("/Statement/v1", "/Statement/v0");
        assert!(provenance_problems(&edited, &manifest(), &subjects).join("").contains("_type"));
    }
}
