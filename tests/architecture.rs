//! The arrows of the design, held against the code: russh only under host/ssh, indicatif only under report, no I/O and
//! no clock in the pure modules.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::path::{Path, PathBuf};

fn sources(dir: &Path, all: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, all);
        } else if path.extension().is_some_and(|e| e == "rs") {
            all.push(path);
        }
    }
}

/// Files under src that mention one of `words` outside comments, except those under `allowed`.
fn offenders(words: &[&str], allowed: &[&str]) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    sources(&root, &mut all);
    assert!(all.len() > 60, "only {} sources were read", all.len());
    let mut found = Vec::new();
    for path in all {
        let name = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
        if allowed.iter().any(|a| name.starts_with(a)) {
            continue;
        }
        for line in std::fs::read_to_string(&path).unwrap().lines().filter(|l| !l.trim_start().starts_with("//")) {
            if words.iter().any(|w| line.contains(w)) {
                found.push(format!("{name}: {line}"));
            }
        }
    }
    found
}

fn only_in(words: &[&str], allowed: &[&str]) {
    let found = offenders(words, allowed);
    assert!(found.is_empty(), "{words:?} outside {allowed:?}:\n{}", found.join("\n"));
}

#[test]
fn russh_is_known_to_host_ssh_alone() {
    only_in(&["russh"], &["host/ssh/"]);
}

#[test]
fn indicatif_is_known_to_report_alone() {
    only_in(&["indicatif"], &["report/"]);
}

#[test]
fn pure_modules_know_no_io_and_no_clock() {
    let root = [
        "bundle/",
        "cli/",
        "exec/",
        "facts/gather.rs",
        "host/",
        "lab/",
        "registry/",
        "report/",
        "main.rs",
        "inventory/parse.rs",
    ];
    // What is left is pure: inventory, kubeadm, plan, phase, resource, upgrade, facts' model and checks, version, error.
    only_in(&["tokio::", "std::fs", "std::net::Tcp", "SystemTime", "Instant::now", "std::process"], &root);
}

/// What is said of a bundle follows from its manifest alone.
#[test]
fn what_is_said_of_a_bundle_is_pure() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bundle");
    let mut all = ["licences.rs", "versions.rs", "provenance.rs", "manifest.rs"].map(|f| root.join(f)).to_vec();
    sources(&root.join("sbom"), &mut all);
    sources(&root.join("inspect"), &mut all);
    for path in all {
        let text = std::fs::read_to_string(&path).unwrap();
        for word in ["tokio::", "std::fs", "std::env", "SystemTime", "Instant", "chrono", "random"] {
            assert!(!text.contains(word), "{}: {word}", path.display());
        }
    }
}
