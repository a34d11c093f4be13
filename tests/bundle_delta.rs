//! Deltas as a user makes, carries and merges them; prune and diff.

#![expect(clippy::unwrap_used, reason = "a test")]

#[path = "bundle/site.rs"]
mod site;

use std::process::Command;

use provision::bundle::Digest;
use site::{Site, text, tree};

const BIN: &str = "/k8s/v1.36.2/bin/linux/amd64";

/// Upstream puts other bytes under a name; the lock is made anew as `NAME.toml` and the bundle as `NAME`.
fn release(site: &Site, name: &str, changed: &[(&str, &str)]) {
    for (file, body) in changed {
        site.upstream.put(&format!("{BIN}/{file}.sha256"), "text/plain", Digest::of(body.as_bytes()).hex());
        site.upstream.put(&format!("{BIN}/{file}"), "application/octet-stream", *body);
    }
    site.ok("c", &["lock", "--lock", &format!("{name}.toml")]);
    site.ok("c", &["build", "--lock", &format!("{name}.toml"), "--out", name]);
    // A signature travels with what it signs.
    if !site.path("lead.key").exists() {
        let made = Command::new("minisign")
            .args(["-G", "-W", "-p", "lead.pub", "-s", "lead.key"])
            .current_dir(site.dir.path())
            .output()
            .expect("this test needs the Debian package minisign: apt-get install minisign");
        assert!(made.status.success(), "{}", text(&made));
    }
    site.ok("c", &["sign", name, "--key", "lead.key"]);
}

/// Bundles `v1`, `v2` and `v3`; the kubelet of 8 MB stays, kubectl changes each time.
fn three() -> Site {
    let site = Site::new();
    release(&site, "v1", &[]);
    release(&site, "v2", &[("kubectl", "kubectl two")]);
    release(&site, "v3", &[("kubectl", "kubectl three")]);
    site
}

fn digest(site: &Site, bundle: &str) -> Digest {
    Digest::of(&std::fs::read(site.path(bundle).join("bundle.json")).unwrap())
}

fn size(site: &Site, name: &str) -> u64 {
    std::fs::metadata(site.path(name)).unwrap().len()
}

#[test]
fn a_delta_and_its_base_are_the_whole_in_every_form() {
    let site = three();
    site.ok("c", &["pack", "v1", "--out", "v1.tar"]);
    site.ok("c", &["pack", "v1", "--out", "set.tar", "--split", "3MB"]);
    site.ok("c", &["pack", "v2", "--out", "v2.tar"]);
    // All that tells what the far side has gives the same delta; the lock names no bundle.json, so it has its own base.
    for have in ["v1", "v1.tar", "set.tar.001", "v1/bundle.json"] {
        site.ok("c", &["delta", "--have", have, "v2", "--out", "delta.tar"]);
        assert!(size(&site, "delta.tar") < 100_000, "{}", size(&site, "delta.tar"));
        let bytes = std::fs::read(site.path("delta.tar")).unwrap();
        let first = std::fs::read(site.path("first.tar")).unwrap_or_else(|_| bytes.clone());
        assert!(first == bytes, "{have}");
        std::fs::write(site.path("first.tar"), bytes).unwrap();
    }
    site.ok("c", &["delta", "--have", "v1.toml", "v2.tar", "--out", "by-lock", "--form", "dir"]);
    site.ok("c", &["delta", "--have", "v1", "v2.tar", "--out", "delta-set", "--split", "4K"]);
    // A tar is signed before it is packed, and nobody has signed it when it is not.
    let said = site.fails(3, "c", &["sign", "v2.tar", "--key", "lead.key"]);
    assert!(said.contains("only that form takes a signature"), "{said}");
    site.ok("c", &["build", "--lock", "v2.toml", "--out", "unsigned.tar"]);
    assert!(site.fails(3, "c", &["verify", "unsigned.tar", "--key", "lead.pub"]).contains("not to be trusted"));
    // As it is it is used for nothing.
    for delta in ["delta.tar", "by-lock", "delta-set.002"] {
        for args in [&["verify", delta][..], &["inspect", delta], &["prune", delta], &["delta", "--have", "v1", delta]]
        {
            let said = site.fails(3, "c", args);
            let base = if delta == "by-lock" { "lock sha256:".into() } else { digest(&site, "v1").to_string() };
            assert!(said.contains("is a delta") && said.contains(&base) && said.contains("merge BASE"), "{said}");
        }
    }
    for (number, inputs) in
        [["v1", "delta.tar"], ["delta.tar", "v1.tar"], ["set.tar.001", "by-lock"], ["delta-set.001", "v1"]]
            .iter()
            .enumerate()
    {
        let out = format!("merged{number}");
        site.ok("c", &["merge", inputs[0], inputs[1], "--out", &out]);
        assert_eq!(tree(&site.path(&out)), tree(&site.path("v2")), "{inputs:?}");
        site.ok("c", &["verify", &out, "--key", "lead.pub"]);
        site.ok("c", &["merge", inputs[1], inputs[0], "--out", &format!("{out}.tar")]);
        assert!(
            std::fs::read(site.path(&format!("{out}.tar"))).unwrap() == std::fs::read(site.path("v2.tar")).unwrap()
        );
    }
    // A packed delta unpacked is that delta.
    site.ok("c", &["unpack", "delta.tar", "--out", "unpacked"]);
    site.ok("c", &["merge", "unpacked", "v1", "--out", "of-unpacked"]);
    assert_eq!(tree(&site.path("of-unpacked")), tree(&site.path("v2")));
    // On one file system a blob that both have lies there once.
    use std::os::unix::fs::MetadataExt as _;
    let kubelet = std::fs::read_dir(site.path("merged0/blobs/sha256")).unwrap().map(Result::unwrap);
    let kubelet = kubelet.map(|e| e.metadata().unwrap()).find(|m| m.len() == 8_000_000).unwrap();
    assert!(kubelet.nlink() >= 3, "{}", kubelet.nlink());
    // The far side has all of it but bundle.json, or nothing.
    site.ok("c", &["delta", "--have", "v2", "v2", "--out", "nothing.tar"]);
    site.ok("c", &["merge", "v2", "nothing.tar", "--out", "same"]);
    assert_eq!(tree(&site.path("same")), tree(&site.path("v2")));
}

#[test]
fn deltas_come_in_any_order_and_a_missing_base_is_named() {
    let site = three();
    site.ok("c", &["delta", "--have", "v1", "v2", "--out", "d12"]);
    site.ok("c", &["delta", "--have", "v2", "v3", "--out", "d23.tar"]);
    let orders =
        [["v1", "d12", "d23.tar"], ["d23.tar", "v1", "d12"], ["d12", "d23.tar", "v1"], ["d23.tar", "d12", "v1"]];
    for order in orders {
        site.ok("c", &[&["merge", "--out", "merged"], &order[..]].concat());
        assert_eq!(tree(&site.path("merged")), tree(&site.path("v3")), "{order:?}");
    }
    // The second came, the first did not.
    let said = site.fails(3, "c", &["merge", "--out", "x", "d23.tar"]);
    assert!(said.contains(&format!("missing is the bundle whose bundle.json is {}", digest(&site, "v2"))), "{said}");
    let said = site.fails(3, "c", &["merge", "--out", "x", "d23.tar", "d12"]);
    assert!(said.contains(&format!("missing is the bundle whose bundle.json is {}", digest(&site, "v1"))), "{said}");
    // A wrong base: a bundle with another kubelet.
    release(&site, "other", &[("kubelet", "another kubelet")]);
    let said = site.fails(3, "c", &["merge", "--out", "x", "other", "d12"]);
    let (wanted, given) = (digest(&site, "v1"), digest(&site, "other"));
    assert!(said.contains(&wanted.to_string()) && said.contains(&format!("other: {given}")), "{said}");
    // Nothing to merge; two ways; a circle.
    assert!(site.fails(3, "c", &["merge", "--out", "x", "v1", "v2"]).contains("none of these bundles is a delta"));
    site.ok("c", &["delta", "--have", "v1", "v3", "--out", "d13"]);
    let said = site.fails(3, "c", &["merge", "--out", "x", "v1", "d12", "d13"]);
    assert!(said.contains("lead to different bundles"), "{said}");
    site.ok("c", &["delta", "--have", "v2", "v1", "--out", "d21"]);
    assert!(site.fails(3, "c", &["merge", "--out", "x", "d12", "d21"]).contains("made against another"));
    assert!(!site.path("x").exists() && !site.path("x.partial").exists());
    // One made against several needs each that it took something from.
    site.ok("c", &["delta", "--have", "v1", "--have", "other", "v3", "--out", "small.tar"]);
    site.ok("c", &["merge", "small.tar", "other", "v1", "--out", "merged"]);
    assert_eq!(tree(&site.path("merged")), tree(&site.path("v3")));
    let said = site.fails(3, "c", &["merge", "small.tar", "v1", "--out", "x"]);
    assert!(said.contains(&format!("missing is the bundle whose bundle.json is {given}")), "{said}");
}

#[test]
fn a_damaged_base_or_delta_makes_no_bundle() {
    let site = three();
    site.ok("c", &["delta", "--have", "v1", "v2", "--out", "d12"]);
    for dir in ["v1", "d12"] {
        let names: Vec<_> =
            std::fs::read_dir(site.path(dir).join("blobs/sha256")).unwrap().map(Result::unwrap).collect();
        for entry in names.iter().filter(|e| e.metadata().unwrap().len() > 2).take(4) {
            let good = std::fs::read(entry.path()).unwrap();
            let mut bad = good.clone();
            bad[0] ^= 1;
            // The blob is a hard link: a new file, or the others are damaged too.
            std::fs::remove_file(entry.path()).unwrap();
            std::fs::write(entry.path(), bad).unwrap();
            let out = site.bundle("c", &["merge", "v1", "d12", "--out", "x"]);
            let hex = entry.file_name().into_string().unwrap();
            let needed = site.path("v2/blobs/sha256").join(&hex).exists();
            // What v2 does not need is not looked at.
            assert_eq!(out.status.code(), Some(if needed { 3 } else { 0 }), "{}", text(&out));
            assert!(!needed || text(&out).contains(&hex), "{}", text(&out));
            assert!(!needed || !site.path("x").exists());
            let _ = std::fs::remove_dir_all(site.path("x"));
            std::fs::remove_file(entry.path()).unwrap();
            std::fs::write(entry.path(), good).unwrap();
        }
    }
    for broken in [
        "{}",
        "{\"format_version\":1,\"bases\":[],\"left_out\":{}}",
        "{\"format_version\":9,\"bases\":[{\"lock\":\"x\"}]}",
    ] {
        std::fs::write(site.path("d12/delta.json"), broken).unwrap();
        assert!(site.fails(3, "c", &["merge", "v1", "d12", "--out", "x"]).contains("delta.json"));
    }
    let hostile = format!(
        "{{\"format_version\":1,\"bases\":[{{\"lock\":\"{0}\"}}],\"left_out\":{{\"{0}\":{1},\"{2}\":{1}}}}}",
        "0".repeat(64),
        u64::MAX,
        "1".repeat(64)
    );
    std::fs::write(site.path("d12/delta.json"), hostile).unwrap();
    assert!(site.fails(3, "c", &["verify", "d12"]).contains("is a delta"));
    assert!(site.fails(3, "c", &["merge", "v1", "d12", "--out", "x"]).contains("in none of these bundles"));
}

#[test]
fn prune_removes_what_nothing_leads_to() {
    let site = three();
    let whole = tree(&site.path("v1"));
    let strays = [("0".repeat(64), 1000), ("half.partial".to_owned(), 234)];
    for (name, len) in &strays {
        std::fs::write(site.path("v1/blobs/sha256").join(name), vec![0; *len]).unwrap();
    }
    // A blob that is not what its name says is damage, whoever needs it.
    assert!(site.fails(3, "c", &["verify", "v1"]).contains(&strays[0].0));
    let out = site.bundle("c", &["prune", "v1"]);
    assert!(out.status.success() && text(&out).contains("2 blobs removed, 1234 bytes"), "{}", text(&out));
    assert_eq!(tree(&site.path("v1")), whole);
    site.ok("c", &["verify", "v1"]);
    // Of a bundle with gaps nothing is removed.
    let index = std::fs::read_to_string(site.path("v1/index.json")).unwrap();
    std::fs::write(site.path("v1/index.json"), index.replacen("sha256:", "sha256:f", 1)).unwrap();
    assert!(site.fails(3, "c", &["prune", "v1"]).contains("nothing was removed"));
    std::fs::remove_file(site.path("v1/index.json")).unwrap();
    assert!(site.fails(3, "c", &["prune", "v1"]).contains("index.json is missing"));
    site.ok("c", &["pack", "v2", "--out", "v2.tar"]);
    assert!(site.fails(3, "c", &["prune", "v2.tar"]).contains("no directory"));
}

#[test]
fn diff_tells_what_changed_between_locks_and_bundles() {
    let site = Site::new();
    release(&site, "v1", &[]);
    let inventory = std::fs::read_to_string(site.path("inventory.toml")).unwrap();
    site.image("library/busybox:1.37");
    let changed = inventory
        + "\n[verify]\nimage = \"docker.io/library/busybox:1.37\"\n[kubeadm]\nskip_phases = [\"addon/kube-proxy\"]\n";
    std::fs::write(site.path("inventory.toml"), changed).unwrap();
    release(&site, "v2", &[("kubectl", "kubectl two")]);
    site.ok("c", &["pack", "v2", "--out", "v2.tar", "--split", "3MB"]);
    for new in ["v2", "v2.toml", "v2.tar.001", "v2/bundle.json"] {
        for old in ["v1", "v1.toml"] {
            let out = site.bundle("c", &["diff", old, new, "--detailed-exitcode"]);
            let said = text(&out);
            assert_eq!(out.status.code(), Some(2), "{said}");
            assert!(said.contains("- image    amd64  registry.k8s.io/kube-proxy v1.36.2  "), "{said}");
            assert!(said.contains("~ binary   amd64  kubectl 1.36.2  "), "{said}");
            assert!(said.contains("~ image    amd64  docker.io/library/busybox 1.36 -> 1.37  "), "{said}");
            assert!(said.ends_with("0 added, 1 removed, 2 changed\n"), "{said}");
        }
    }
    let out = site.bundle("c", &["--format", "json", "diff", "v1", "v2"]);
    assert!(out.status.success());
    let json: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(json["removed"][0]["name"], "registry.k8s.io/kube-proxy");
    let kubectl = json["changed"].as_array().unwrap().iter().find(|c| c["name"] == "kubectl").unwrap();
    assert_eq!((&kubectl["old"]["size"], &kubectl["new"]["size"]), (&7.into(), &11.into()));
    assert_eq!(kubectl["new"]["digest"], Digest::of(b"kubectl two").to_string());
    assert_eq!(json["kubernetes"], serde_json::json!(["1.36.2", "1.36.2"]));
    let out = site.bundle("c", &["diff", "v1.toml", "v1", "--detailed-exitcode"]);
    assert!(out.status.success() && text(&out) == "no difference\n", "{}", text(&out));
    assert!(site.fails(3, "c", &["diff", "v1", "nowhere"]).contains("failed to open"));
}
