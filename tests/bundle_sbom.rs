//! Bills of materials, provenance and inspection of a bundle as a user gets them, read by the tools that others use.

#![expect(clippy::unwrap_used, reason = "a test")]

#[path = "bundle/site.rs"]
mod site;

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::Path;
use std::process::Command;

use provision::bundle::Digest;
use serde_json::{Value, json};
use site::{Site, targz, text};

/// An image that says its licence, with a package database in its layer for scanners to find.
fn labelled_image(site: &Site, name: &str, licence: &str) {
    let (repository, tag) = name.split_once(':').unwrap();
    let put = |body: Vec<u8>, media_type: &str| {
        let (digest, size) = (Digest::of(&body), body.len());
        site.upstream.put(&format!("/v2/{repository}/blobs/{digest}"), "application/octet-stream", body);
        json!({ "mediaType": media_type, "digest": digest.to_string(), "size": size })
    };
    let status = b"Package: conntrack\nStatus: install ok installed\nVersion: 1:1.4.7-1\nArchitecture: amd64\n\n";
    let release = b"ID=debian\nVERSION_ID=12\n";
    let layer = targz(&[("etc/os-release", release), ("var/lib/dpkg/status", status)]);
    let mut tar = Vec::new();
    flate2::read::GzDecoder::new(layer.as_slice()).read_to_end(&mut tar).unwrap();
    let config = json!({
        "architecture": "amd64", "os": "linux",
        "config": { "Labels": { "org.opencontainers.image.licenses": licence } },
        "rootfs": { "type": "layers", "diff_ids": [Digest::of(&tar).to_string()] },
    });
    let manifest_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({
        "schemaVersion": 2, "mediaType": manifest_type,
        "config": put(config.to_string().into_bytes(), "application/vnd.oci.image.config.v1+json"),
        "layers": [put(layer, "application/vnd.oci.image.layer.v1.tar+gzip")],
    })
    .to_string();
    let at = |reference: &str| format!("/v2/{repository}/manifests/{reference}");
    site.upstream.put(&at(&Digest::of(manifest.as_bytes()).to_string()), manifest_type, manifest.clone());
    site.upstream.put(&at(tag), manifest_type, manifest);
}

/// A site with a bundle that holds labelled images.
fn built() -> Site {
    let site = Site::new();
    labelled_image(&site, "library/busybox:1.36", "GPL-2.0");
    labelled_image(&site, "library/haproxy:3.2", "as the vendor says");
    site.ok("c", &["lock"]);
    site.ok("c", &["build", "--builder", "https://ci.example/jobs/7"]);
    site
}

fn json_of(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn find<'a>(list: &'a Value, name: &str) -> &'a Value {
    list.as_array().unwrap().iter().find(|c| c["name"] == name).unwrap_or_else(|| panic!("no {name}"))
}

/// What a script of tests/sbom printed; it must succeed.
fn script(name: &str, args: &[&str]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sbom").join(name);
    let out = Command::new(path).args(args).output().unwrap();
    assert!(out.status.success(), "{name} {args:?}: {}", text(&out));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

#[test]
fn the_bills_come_with_the_bundle_and_are_made_anew_from_it() {
    let site = built();
    for (form, name) in [("cyclonedx", "sbom.cdx.json"), ("spdx", "sbom.spdx.json")] {
        let inside = std::fs::read_to_string(site.path("bundle").join(name)).unwrap();
        let out = site.bundle("c", &["sbom", "bundle", "--as", form]);
        assert_eq!(String::from_utf8_lossy(&out.stdout), inside);
        site.ok("c", &["sbom", "bundle", "--as", form, "-o", "out.json"]);
        assert_eq!(std::fs::read_to_string(site.path("out.json")).unwrap(), inside);
    }
    let bill = json_of(&site.path("bundle/sbom.cdx.json"));
    let bundle = json_of(&site.path("bundle/bundle.json"));
    assert_eq!(bill["components"].as_array().unwrap().len(), bundle["artifacts"].as_array().unwrap().len());
    let cni = find(&bill["components"], "cni-plugins");
    let files: Vec<&str> = cni["components"].as_array().unwrap().iter().map(|f| f["name"].as_str().unwrap()).collect();
    assert_eq!(files, ["./bridge", "./LICENSE"]);
    assert_eq!(cni["hashes"][0]["content"], Digest::of(&site_file(&site, cni)).hex());
    assert_eq!(cni["licenses"][0]["expression"], "Apache-2.0");
    // What an image says of itself wins; put right when it can be, kept as its word when not.
    let of = |name: &str| find(&bill["components"], name)["licenses"][0].clone();
    assert_eq!(of("docker.io/library/busybox"), json!({ "expression": "GPL-2.0-only" }));
    assert_eq!(of("docker.io/library/haproxy"), json!({ "license": { "name": "as the vendor says" } }));
    let document = json_of(&site.path("bundle/sbom.spdx.json"));
    let haproxy = find(&document["packages"], "docker.io/library/haproxy");
    assert_eq!(haproxy["licenseDeclared"], "NOASSERTION");
    assert!(haproxy["licenseComments"].as_str().unwrap().contains("as the vendor says"));
}

/// The blob of a component's digest.
fn site_file(site: &Site, component: &Value) -> Vec<u8> {
    let hex = component["hashes"][0]["content"].as_str().unwrap();
    std::fs::read(site.path("bundle/blobs/sha256").join(hex)).unwrap()
}

#[test]
fn the_makers_of_both_forms_find_the_bills_valid() {
    let site = built();
    let (cyclonedx, spdx) = (site.path("bundle/sbom.cdx.json"), site.path("bundle/sbom.spdx.json"));
    // The SPDX validator takes no address for a download's host, only names.
    let named = std::fs::read_to_string(&spdx).unwrap().replace("//127.0.0.1:", "//upstream.test:");
    let spdx = site.path("named.json");
    std::fs::write(&spdx, named).unwrap();
    let said = script("validate.sh", &[cyclonedx.to_str().unwrap(), spdx.to_str().unwrap()]);
    println!("{said}");
    assert!(said.starts_with("valid: 16 package URLs"), "{said}");
    // The validators do see what is wrong.
    let broken = std::fs::read_to_string(&spdx).unwrap().replace("Apache-2.0", "Apache 2");
    std::fs::write(site.path("broken.json"), broken).unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sbom/validate.sh");
    let out = Command::new(path).arg(&cyclonedx).arg(site.path("broken.json")).output().unwrap();
    assert!(!out.status.success(), "{}", text(&out));
}

/// grype's and syft's own readers: every component of either bill is found, with its package URL; an image taken out of
/// the layout by skopeo shows what is installed in it.
#[test]
fn a_scanner_reads_the_bills_and_the_layout() {
    let site = built();
    let bill = json_of(&site.path("bundle/sbom.cdx.json"));
    // Both spellings of a slash are the same package URL.
    let spelt = |component: &Value| component["purl"].as_str().unwrap_or_default().replace("%2F", "/");
    let all: BTreeSet<String> = bill["components"].as_array().unwrap().iter().map(spelt).collect();
    assert_eq!(all.len(), 16);
    // In CycloneDX they take a component of type container for what was scanned, not for something to scan.
    let (images, files): (BTreeSet<String>, BTreeSet<String>) = all.into_iter().partition(|p| p.starts_with("pkg:oci"));
    for (name, wanted) in [("sbom.cdx.json", files.clone()), ("sbom.spdx.json", &files | &images)] {
        let read = script("syft.sh", &["convert", site.path("bundle").join(name).to_str().unwrap(), "-o", "syft-json"]);
        let read: Value = serde_json::from_str(&read).unwrap();
        let found: BTreeSet<String> = read["artifacts"].as_array().unwrap().iter().map(spelt).collect();
        let missing: Vec<&String> = wanted.difference(&found).collect();
        assert!(missing.is_empty(), "{name}: not read: {missing:?}");
        let containerd = find(&read["artifacts"], "containerd");
        assert!(containerd["cpes"].to_string().contains("linuxfoundation:containerd:2.0.0"), "{containerd}");
    }
    let copied = Command::new("skopeo")
        .args(["copy", "--quiet", "oci:bundle:docker.io/library/busybox:1.36", "oci:one"])
        .current_dir(site.dir.path())
        .output()
        .unwrap_or_else(|e| panic!("skopeo does not run ({e}): install the Debian package skopeo"));
    assert!(copied.status.success(), "{}", text(&copied));
    let one = format!("oci-dir:{}", site.path("one").display());
    let read: Value = serde_json::from_str(&script("syft.sh", &["scan", &one, "-o", "syft-json"])).unwrap();
    assert_eq!(find(&read["artifacts"], "conntrack")["version"], "1:1.4.7-1");
}

#[test]
fn the_provenance_says_who_built_it_from_what() {
    let site = built();
    let statement = json_of(&site.path("bundle/provenance.json"));
    assert_eq!(statement["_type"], "https://in-toto.io/Statement/v1");
    assert_eq!(statement["predicateType"], "https://slsa.dev/provenance/v1");
    for name in ["bundle.json", "index.json", "sbom.cdx.json", "sbom.spdx.json"] {
        let bytes = std::fs::read(site.path("bundle").join(name)).unwrap();
        assert_eq!(find(&statement["subject"], name)["digest"]["sha256"], Digest::of(&bytes).hex());
    }
    let predicate = &statement["predicate"];
    assert_eq!(predicate["runDetails"]["builder"]["id"], "https://ci.example/jobs/7");
    let lock = Digest::of(&std::fs::read(site.path("bundle.lock.toml")).unwrap());
    let dependencies = &predicate["buildDefinition"]["resolvedDependencies"];
    assert_eq!(find(dependencies, "lock")["digest"]["sha256"], lock.hex());
    let base = &site.upstream.base;
    let sources = &predicate["buildDefinition"]["externalParameters"]["sources"];
    assert_eq!(sources["runc"], format!("{base}/runc"));
    assert_eq!(sources["registries"]["docker.io"], *base);
    assert!(!statement.to_string().contains("TEST_PASSWORD"));
    // Nobody is named who was not told.
    site.ok("c", &["build"]);
    let statement = json_of(&site.path("bundle/provenance.json"));
    assert_eq!(statement["predicate"]["runDetails"]["builder"]["id"], "unknown");
}

#[test]
fn verify_names_a_document_that_is_not_of_this_bundle() {
    let site = built();
    site.ok("c", &["verify", "bundle"]);
    let edited = |name: &str, from: &str, to: &str, want: &str| {
        let path = site.path("bundle").join(name);
        let good = std::fs::read_to_string(&path).unwrap();
        assert!(good.contains(from), "{name} has no {from}");
        std::fs::write(&path, good.replace(from, to)).unwrap();
        let said = site.fails(3, "c", &["verify", "bundle"]);
        assert!(said.contains(want), "{name} {from}: {said}");
        std::fs::remove_file(&path).unwrap();
        let said = site.fails(3, "c", &["verify", "bundle"]);
        assert!(said.contains(&format!("{name} is missing or broken")), "{said}");
        std::fs::write(&path, good).unwrap();
    };
    edited("sbom.cdx.json", "Apache-2.0", "MIT", "sbom.cdx.json does not say what bundle.json gives");
    edited("sbom.spdx.json", "cni-plugins", "cni-plugin", "sbom.spdx.json does not say what bundle.json gives");
    edited("sbom.spdx.json", "cni-plugins", "cni-plugin", "provenance.json: its subject sbom.spdx.json has the digest");
    let lock = Digest::of(&std::fs::read(site.path("bundle.lock.toml")).unwrap());
    edited("provenance.json", lock.hex(), &"0".repeat(64), "provenance.json: it names the lock sha256:000");
    let bundle = Digest::of(&std::fs::read(site.path("bundle/bundle.json")).unwrap());
    edited("provenance.json", bundle.hex(), &"1".repeat(64), "its subject bundle.json has the digest sha256:111");
    edited("provenance.json", "https://slsa.dev/provenance/v1", "https://slsa.dev/provenance/v0", "predicateType");
    site.ok("c", &["verify", "bundle"]);
}

#[test]
fn inspect_answers_in_text_json_and_one_page() {
    let site = built();
    let shown = text(&site.bundle("c", &["inspect", "bundle"]));
    println!("{shown}");
    for want in ["KIND", "GPL-2.0-only", "NOASSERTION", "upstream checksum", "registry digest"] {
        assert!(shown.contains(want), "{want}: {shown}");
    }
    assert!(shown.contains("16 artifacts of "), "{shown}");
    let out = site.bundle("c", &["inspect", "bundle", "--format", "json", "--html", "page.html"]);
    let json: Value = serde_json::from_slice(&out.stdout).unwrap();
    let keys: Vec<&String> = json.as_object().unwrap().keys().collect();
    let promised = ["artifacts", "bundle", "by_arch", "by_kind", "format_version", "kubernetes", "lock", "totals"];
    assert_eq!(keys, promised);
    let keys: Vec<&String> = json["artifacts"][0].as_object().unwrap().keys().collect();
    let promised = [
        "arch",
        "digest",
        "kind",
        "licence",
        "licence_basis",
        "licence_said",
        "members",
        "name",
        "size",
        "source",
        "verified",
        "verified_how",
        "version",
    ];
    assert_eq!(keys, promised);
    assert_eq!(json["totals"]["artifacts"], 16);
    // Both labelled images share their one layer.
    let (size, stored) = (json["totals"]["size"].as_u64().unwrap(), json["totals"]["stored"].as_u64().unwrap());
    assert!(stored < size, "{stored} {size}");
    let on_disk = |kind: &str| find(&json["by_kind"], kind)["artifacts"].as_u64().unwrap();
    assert_eq!((on_disk("binary"), on_disk("archive"), on_disk("image")), (4, 3, 9));
    let page = std::fs::read_to_string(site.path("page.html")).unwrap();
    assert!(page.contains("docker.io&#x2F;library&#x2F;haproxy:3.2") && page.ends_with("</html>\n"));
    // A damaged config says nothing, and stops nobody from looking.
    let bundle = json_of(&site.path("bundle/bundle.json"));
    for blob in bundle["artifacts"].as_array().unwrap().iter().filter(|a| a["kind"] == "image") {
        let digest = blob["blobs"][1]["digest"].as_str().unwrap();
        std::fs::remove_file(site.path("bundle/blobs/sha256").join(digest.trim_start_matches("sha256:"))).unwrap();
    }
    let json: Value =
        serde_json::from_slice(&site.bundle("c", &["inspect", "bundle", "--format", "json"]).stdout).unwrap();
    assert_eq!(find(&json["artifacts"], "docker.io/library/busybox:1.36")["licence_basis"], "known-program");
}

/// A long name of 256 MiB in an archive of some hundred kilobytes: refused by name, in a build that stays small.
#[test]
fn a_bomb_in_an_archive_is_refused_and_takes_no_memory() {
    use std::io::Write as _;
    let site = Site::new();
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::GNULongName);
    header.set_size(256 << 20);
    header.set_cksum();
    out.write_all(header.as_bytes()).unwrap();
    for _ in 0..256 {
        out.write_all(&vec![b'a'; 1 << 20]).unwrap();
    }
    let body = out.finish().unwrap();
    let path = "/cni/v1.0.0/cni-plugins-linux-amd64-v1.0.0.tgz";
    site.upstream.put(&format!("{path}.sha256"), "text/plain", Digest::of(&body).hex());
    site.upstream.put(path, "application/gzip", body);
    site.ok("c", &["lock"]);
    // The limit is on the address space of the program: far less than the name is long.
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -v 1000000; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_provision"), "bundle", "build"]);
    let out = command
        .current_dir(site.dir.path())
        .env("PROVISION_CACHE", site.path("c"))
        .env("TEST_PASSWORD", "s3cret words")
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(3), "{}", text(&out));
    assert!(text(&out).contains("describes a member with more than is allowed"), "{}", text(&out));
    assert!(!site.path("bundle").exists());
}

#[test]
fn an_endless_checksum_file_is_refused() {
    let site = Site::new();
    let path = "/k8s/v1.36.2/bin/linux/amd64/kubelet.sha256";
    site.upstream.put(path, "text/plain", vec![b'#'; 5 << 20]);
    let said = site.fails(3, "c", &["lock"]);
    assert!(said.contains("kubelet.sha256 is larger than 4 MiB"), "{said}");
}
