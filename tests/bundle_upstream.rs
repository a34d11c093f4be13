//! Upstream's own signatures: made by the real openssl, minisign and gpg in the forms that upstreams publish, checked when
//! they are locked and again in the bundle.

#![expect(clippy::unwrap_used, reason = "a test")]

#[path = "bundle/site.rs"]
mod site;

use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use provision::bundle::{BundleManifest, Digest, Lock};
use serde_json::json;
use site::{Site, text, tree};

const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const SIGSTORE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const COSIGN_TYPE: &str = "cosign container image signature";

/// What a program printed; it must work.
fn run(dir: &Path, program: &str, args: &[&str]) -> Vec<u8> {
    let out = Command::new(program).args(args).current_dir(dir).env("GNUPGHOME", dir.join("gnupg")).output();
    let out = out.unwrap_or_else(|e| panic!("{program}: {e}: tests/run installs it"));
    assert!(out.status.success(), "{program} {args:?}: {}", text(&out));
    out.stdout
}

/// A key pair, `NAME.key` and `NAME.pub`.
fn key_pair(site: &Site, name: &str, kind: &[&str]) {
    let (secret, public) = (format!("{name}.key"), format!("{name}.pub"));
    run(site.dir.path(), "openssl", &[&["genpkey", "-out", &secret], kind].concat());
    run(site.dir.path(), "openssl", &["pkey", "-in", &secret, "-pubout", "-out", &public]);
}

const P256: [&str; 4] = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
const ED25519: [&str; 2] = ["-algorithm", "ed25519"];

/// The signature as an annotation holds it.
fn sign(site: &Site, key: &str, payload: &str) -> String {
    std::fs::write(site.path("payload"), payload).unwrap();
    let secret = format!("{key}.key");
    let raw = ["pkeyutl", "-sign", "-rawin", "-inkey", &secret, "-in", "payload"];
    let hashed = ["dgst", "-sha256", "-sign", &secret, "payload"];
    STANDARD.encode(run(site.dir.path(), "openssl", if key.starts_with("ed") { &raw } else { &hashed }))
}

/// What the lock, made without rules, pins for an image: the index, and the manifest for amd64.
fn pinned(site: &Site, image: &str) -> (Digest, Digest) {
    let lock = Lock::load(&site.path("bundle.lock.toml")).unwrap();
    let found = lock.images.iter().find(|i| i.name == image).unwrap();
    (found.digest.clone(), found.manifests["amd64"].clone())
}

/// How a signature is published, and what is wrong with it.
#[derive(Default)]
struct Published<'a> {
    /// The key pair; none leaves a broken signature.
    key: &'a str,
    /// What the JSON names in place of the digest.
    says: Option<&'a Digest>,
    /// As cosign marks one that is made without a lasting key.
    keyless: bool,
    /// In the registry's list of what refers to the image, and not under a tag.
    referrer: bool,
    /// In the newer form, listed under the tag that stands for the list.
    bundle: bool,
}

fn publish(site: &Site, repository: &str, signed: &Digest, how: &Published<'_>) {
    let says = how.says.unwrap_or(signed);
    let payload = json!({
        "critical": { "identity": { "docker-reference": "" }, "image": { "docker-manifest-digest": says.to_string() }, "type": COSIGN_TYPE },
        "optional": null,
    })
    .to_string();
    if how.bundle {
        return publish_bundle(site, repository, signed, how.key);
    }
    let mut annotations = json!({ "dev.cosignproject.cosign/signature": sign(site, how.key, &payload) });
    if how.keyless {
        annotations["dev.sigstore.cosign/certificate"] = json!("-----BEGIN CERTIFICATE-----");
    }
    let blob = |body: &str| {
        let digest = Digest::of(body.as_bytes());
        site.upstream.put(&format!("/v2/{repository}/blobs/{digest}"), "application/octet-stream", body);
        digest.to_string()
    };
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let mut manifest = json!({
        "schemaVersion": 2, "mediaType": kind,
        "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": blob("{}"), "size": 2 },
        "layers": [{ "mediaType": SIMPLE_SIGNING, "digest": blob(&payload), "size": payload.len(), "annotations": annotations }],
    });
    if how.referrer {
        manifest["subject"] = json!({ "mediaType": kind, "digest": signed.to_string(), "size": 1 });
    }
    let manifest = manifest.to_string();
    let digest = Digest::of(manifest.as_bytes());
    site.upstream.put(&format!("/v2/{repository}/manifests/{digest}"), kind, manifest.clone());
    if how.referrer {
        let list = json!({ "schemaVersion": 2, "manifests": [
            { "mediaType": kind, "digest": format!("sha256:{}", "2".repeat(64)), "size": 1, "artifactType": "application/spdx+json" },
            { "mediaType": kind, "digest": digest.to_string(), "size": 1, "artifactType": "application/vnd.dev.cosign.artifact.sig.v1+json" },
        ] });
        site.upstream.put(&format!("/v2/{repository}/referrers/{signed}"), "application/json", list.to_string());
    } else {
        site.upstream.put(&format!("/v2/{repository}/manifests/sha256-{}.sig", signed.hex()), kind, manifest);
    }
}

/// As cosign publishes from version 3 on, beside a registry without lists of its own.
fn publish_bundle(site: &Site, repository: &str, signed: &Digest, key: &str) {
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1", "subject": [{ "digest": { "sha256": signed.hex() } }],
        "predicateType": "https://sigstore.dev/cosign/sign/v1", "predicate": {},
    })
    .to_string();
    let signature = sign(site, key, &format!("DSSEv1 28 application/vnd.in-toto+json {} {statement}", statement.len()));
    let bundle = json!({
        "mediaType": SIGSTORE, "verificationMaterial": { "publicKey": { "hint": "" } },
        "dsseEnvelope": {
            "payload": STANDARD.encode(statement), "payloadType": "application/vnd.in-toto+json",
            "signatures": [{ "sig": signature }],
        },
    })
    .to_string();
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let put = |place: &str, media_type: &str, body: String| {
        let digest = Digest::of(body.as_bytes()).to_string();
        site.upstream.put(&format!("/v2/{repository}/{place}/{digest}"), media_type, body.clone());
        json!({ "mediaType": media_type, "digest": digest, "size": body.len() })
    };
    let manifest = json!({
        "schemaVersion": 2, "mediaType": kind, "artifactType": SIGSTORE,
        "config": put("blobs", "application/vnd.oci.empty.v1+json", "{}".into()), "layers": [put("blobs", SIGSTORE, bundle)],
        "subject": { "mediaType": kind, "digest": signed.to_string(), "size": 1 },
    });
    let mut entry = put("manifests", kind, manifest.to_string());
    entry["artifactType"] = json!("application/vnd.oci.empty.v1+json");
    let list =
        json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [entry] });
    let tag = format!("/v2/{repository}/manifests/sha256-{}", signed.hex());
    site.upstream.put(&tag, "application/vnd.oci.image.index.v1+json", list.to_string());
}

/// The inventory with more at its end, as a file of this name.
fn with(site: &Site, name: &str, more: &str) {
    let text = std::fs::read_to_string(site.path("inventory.toml")).unwrap();
    std::fs::write(site.path(name), text + more).unwrap();
}

fn rule(pattern: &str, key: &str, file: &str) -> String {
    format!("[[trust.upstream]]\nmatch = \"{pattern}\"\n{key} = \"{file}\"\n")
}

/// A site with signed images: the index of one, the manifest of another.
fn signed_site() -> Site {
    let site = Site::new();
    site.ok("c", &["lock"]);
    key_pair(&site, "p256", &P256);
    key_pair(&site, "ed25519", &ED25519);
    let (index, _) = pinned(&site, "docker.io/library/busybox:1.36");
    publish(&site, "library/busybox", &index, &Published { key: "p256", ..Published::default() });
    // As `cosign sign --recursive` does: the index and what is in it.
    let (index, manifest) = pinned(&site, "docker.io/library/haproxy:3.2");
    publish(&site, "library/haproxy", &index, &Published { key: "ed25519", ..Published::default() });
    publish(&site, "library/haproxy", &manifest, &Published { key: "ed25519", referrer: true, ..Published::default() });
    let (_, manifest) = pinned(&site, "registry.k8s.io/pause:3.10.2");
    publish(&site, "pause", &manifest, &Published { key: "p256", bundle: true, ..Published::default() });
    let third = rule("*/pause:*", "cosign_key", "p256.pub");
    let both = rule("docker.io/library/haproxy:*", "cosign_key", "ed25519.pub")
        + &rule("docker.io/*", "cosign_key", "p256.pub");
    with(&site, "signed.toml", &(both + &third));
    site
}

fn manifest(site: &Site, bundle: &str) -> BundleManifest {
    let text = std::fs::read_to_string(site.path(bundle).join("bundle.json")).unwrap();
    BundleManifest::from_json(&text, "bundle.json").unwrap()
}

#[test]
fn signed_images_are_locked_built_and_checked_again_without_upstream() {
    let site = signed_site();
    site.ok("c", &["lock", "-i", "signed.toml"]);
    let lock = Lock::load(&site.path("bundle.lock.toml")).unwrap();
    assert_eq!(lock.signatures.len(), 3);
    // Each for the manifest where that is signed, else for the index.
    for (image, of_index) in [("docker.io/library/haproxy:3.2", false), ("docker.io/library/busybox:1.36", true)] {
        let (index, manifest) = pinned(&site, image);
        let signed = &lock.signatures.iter().find(|s| s.name == image).unwrap().signed;
        assert_eq!(*signed, if of_index { index } else { manifest }, "{image}");
    }
    site.ok("c", &["build", "-i", "signed.toml"]);
    let before = site.upstream.log().len();
    let out = site.bundle("c", &["verify", "bundle", "-i", "signed.toml"]);
    assert!(out.status.success() && text(&out).contains("3 artifacts are signed by their upstream"), "{}", text(&out));
    assert_eq!(site.upstream.log().len(), before, "verify asked upstream");
    let shown = text(&site.bundle("c", &["inspect", "bundle"]));
    assert_eq!(shown.matches("upstream signature (cosign)").count(), 6, "{shown}");
    // Recorded per artifact, the others as what they are.
    let json = std::fs::read_to_string(site.path("bundle/bundle.json")).unwrap();
    assert_eq!(json.matches("\"by\": \"upstream-signature\"").count(), 6);
    assert_eq!(json.matches("\"by\": \"registry-digest\"").count(), 6);
    // The same again from nothing, also as one tar, and the lock tells what the bundle holds.
    site.ok("c2", &["build", "-i", "signed.toml", "--out", "other"]);
    assert_eq!(tree(&site.path("bundle")), tree(&site.path("other")));
    site.ok("c2", &["build", "-i", "signed.toml", "--out", "one.tar"]);
    site.ok("c2", &["verify", "one.tar", "-i", "signed.toml"]);
    site.ok("c", &["diff", "--detailed-exitcode", "bundle.lock.toml", "bundle"]);
    // Whoever has no key is told, and --strict does not take the bundle's word for it.
    let out = site.bundle("c", &["verify", "bundle"]);
    assert!(text(&out).contains("3 signatures of upstream's were not checked again"), "{}", text(&out));
    let said = site.fails(3, "c", &["verify", "bundle", "--strict"]);
    assert!(said.contains("there is no key to check it again") && said.contains("busybox:1.36"), "{said}");
    site.ok("c", &["verify", "bundle", "--strict", "-i", "signed.toml"]);
}

#[test]
fn a_bundle_is_held_against_the_inventorys_own_keys() {
    let site = signed_site();
    site.ok("c", &["lock"]);
    site.ok("c", &["build", "--out", "plain"]);
    // Locked by whoever asked for no signature.
    let said = site.fails(3, "c", &["verify", "plain", "-i", "signed.toml"]);
    assert!(
        said.contains("busybox:1.36 1.36 for amd64: no signature was recorded") && said.contains("Hint:"),
        "{said}"
    );
    site.ok("c", &["lock", "-i", "signed.toml"]);
    site.ok("c", &["build", "-i", "signed.toml"]);
    // The verifying side has another key than the locking side.
    key_pair(&site, "ed-other", &ED25519);
    with(&site, "other.toml", &rule("docker.io/library/haproxy:*", "cosign_key", "ed-other.pub"));
    let said = site.fails(3, "c", &["verify", "bundle", "-i", "other.toml"]);
    assert!(said.contains("haproxy:3.2") && said.contains("is by the key"), "{said}");
    // A bundle.json, whole in itself, that gives busybox's signed index and signature out for haproxy's.
    let mut forged = manifest(&site, "bundle");
    let record = |m: &BundleManifest, name: &str| {
        m.artifacts
            .iter()
            .find(|a| a.kind == provision::bundle::ArtifactKind::Image && a.name.contains(name))
            .unwrap()
            .verified
            .clone()
    };
    let busybox = record(&forged, "busybox");
    forged.artifacts.iter_mut().filter(|a| a.name.contains("haproxy:3")).for_each(|a| a.verified = busybox.clone());
    with(&site, "one.toml", &rule("docker.io/*", "cosign_key", "p256.pub"));
    std::fs::create_dir(site.path("forged")).unwrap();
    run(site.dir.path(), "cp", &["-r", "bundle/.", "forged"]);
    std::fs::write(site.path("forged/bundle.json"), forged.to_canonical_json()).unwrap();
    let bundle = provision::bundle::Bundle::open(&site.path("forged")).unwrap();
    let inventory = provision::inventory::load(&site.path("one.toml")).unwrap().inventory;
    let error = provision::bundle::check_upstream(&inventory, &bundle).map_err(|e| e.report()).unwrap_err();
    assert!(error.contains("names another manifest") && !error.contains("busybox:1.36 1.36"), "{error}");
}

#[test]
fn what_is_not_signed_as_asked_is_not_locked() {
    let site = Site::new();
    site.ok("c", &["lock"]);
    key_pair(&site, "p256", &P256);
    key_pair(&site, "p256-other", &P256);
    let (index, _) = pinned(&site, "docker.io/library/busybox:1.36");
    with(&site, "signed.toml", &rule("docker.io/library/busybox:1.36", "cosign_key", "p256.pub"));
    let before = std::fs::read(site.path("bundle.lock.toml")).unwrap();
    let refused = || {
        let said = site.fails(3, "c", &["lock", "-i", "signed.toml"]);
        assert!(said.contains("busybox:1.36 is not signed by its upstream") && said.contains("Hint:"), "{said}");
        said
    };
    assert!(refused().contains("there is no signature at sha256-"));
    let other = Digest::of(b"another image");
    publish(&site, "library/busybox", &index, &Published { key: "p256", says: Some(&other), ..Published::default() });
    assert!(refused().contains(&format!("is for {other}")));
    publish(&site, "library/busybox", &index, &Published { key: "p256-other", ..Published::default() });
    assert!(refused().contains("none of the 1 signatures there is by the key"));
    publish(&site, "library/busybox", &index, &Published { key: "p256-other", keyless: true, ..Published::default() });
    assert!(refused().contains("1 are keyless, which only online services can check"));
    assert_eq!(std::fs::read(site.path("bundle.lock.toml")).unwrap(), before, "a lock was written");
    publish(&site, "library/busybox", &index, &Published { key: "p256", ..Published::default() });
    site.ok("c", &["lock", "-i", "signed.toml"]);
    gpg_key(&site);
    // An entry with a slip of the pen checks nothing, which nobody must take for a check.
    for (pattern, key) in
        [("docker.io/library/busybos:*", "cosign_key"), ("docker.io/*", "gpg_key"), ("runc", "cosign_key")]
    {
        with(&site, "slip.toml", &rule(pattern, key, if key == "gpg_key" { "gpg.asc" } else { "p256.pub" }));
        let said = site.fails(3, "c", &["lock", "-i", "slip.toml"]);
        assert!(said.contains(&format!("match = \"{pattern}\" is no ")), "{said}");
    }
    // A secret key in the place of the public one is not shown.
    with(&site, "secret.toml", &rule("docker.io/*", "cosign_key", "p256.key"));
    let said = site.fails(3, "c", &["lock", "-i", "secret.toml"]);
    let secret = std::fs::read_to_string(site.path("p256.key")).unwrap();
    assert!(said.contains("no public key") && !said.contains(secret.lines().nth(1).unwrap()), "{said}");
}

/// A key of gpg in a keyring of the site's own, exported as gpg.asc.
fn gpg_key(site: &Site) {
    let dir = site.dir.path();
    let home = dir.join("gnupg");
    std::fs::create_dir_all(&home).unwrap();
    run(dir, "chmod", &["700", "gnupg"]);
    let make = ["--batch", "--passphrase", "", "--quick-gen-key", "up@upstream.example", "ed25519", "sign", "never"];
    run(dir, "gpg", &make);
    std::fs::write(dir.join("gpg.asc"), run(dir, "gpg", &["--armor", "--export"])).unwrap();
}

const RUNC: &str = "/runc/v1.0.0/runc.amd64";
const CONTAINERD: &str = "/containerd/v2.0.0/containerd-2.0.0-linux-amd64.tar.gz";

#[test]
fn files_are_checked_by_minisign_and_openpgp() {
    let site = Site::new();
    let dir = site.dir.path();
    gpg_key(&site);
    run(dir, "minisign", &["-G", "-W", "-p", "mini.pub", "-s", "mini.key"]);
    with(&site, "signed.toml", &(rule("runc", "gpg_key", "gpg.asc") + &rule("containerd", "minisign_key", "mini.pub")));
    let said = site.fails(3, "c", &["lock", "-i", "signed.toml"]);
    assert!(said.contains("is not signed by its upstream"), "{said}");
    let publish = |path: &str, suffix: &str, file: &str| {
        site.upstream.put(
            &format!("{path}{suffix}"),
            "application/octet-stream",
            std::fs::read(dir.join(file)).unwrap(),
        );
    };
    std::fs::write(dir.join("runc"), b"runc").unwrap();
    std::fs::write(dir.join("other"), b"other").unwrap();
    site.ok("c", &["lock"]);
    site.ok("c", &["build"]);
    let containerd =
        manifest(&site, "bundle").artifacts.iter().find(|a| a.name == "containerd").unwrap().digest.clone();
    std::fs::copy(dir.join("bundle/blobs/sha256").join(containerd.hex()), dir.join("containerd")).unwrap();
    // Both over something else.
    run(dir, "gpg", &["--batch", "--yes", "--armor", "--detach-sign", "-o", "other.asc", "other"]);
    run(dir, "minisign", &["-S", "-s", "mini.key", "-m", "other"]);
    run(dir, "gpg", &["--batch", "--yes", "--detach-sign", "-o", "runc.sig", "runc"]);
    run(dir, "minisign", &["-S", "-s", "mini.key", "-m", "containerd"]);
    publish(RUNC, ".asc", "other.asc");
    publish(CONTAINERD, ".minisig", "containerd.minisig");
    let said = site.fails(3, "c", &["lock", "-i", "signed.toml"]);
    assert!(said.contains("runc 1.0.0 for amd64 is not signed") && said.contains("is not what key"), "{said}");
    run(dir, "gpg", &["--batch", "--yes", "--armor", "--detach-sign", "-o", "runc.asc", "runc"]);
    publish(RUNC, ".asc", "runc.asc");
    publish(CONTAINERD, ".minisig", "other.minisig");
    let said = site.fails(3, "c", &["lock", "-i", "signed.toml"]);
    assert!(said.contains("containerd 2.0.0 for amd64 is not signed") && said.contains("does not hold"), "{said}");
    publish(CONTAINERD, ".minisig", "containerd.minisig");
    site.ok("c", &["lock", "-i", "signed.toml"]);
    site.ok("c", &["build", "-i", "signed.toml"]);
    let out = site.bundle("c", &["verify", "bundle", "-i", "signed.toml", "--strict"]);
    assert!(out.status.success() && text(&out).contains("2 artifacts are signed by their upstream"), "{}", text(&out));
    let shown = text(&site.bundle("c", &["inspect", "bundle"]));
    assert!(
        shown.contains("upstream signature (openpgp)") && shown.contains("upstream signature (minisign)"),
        "{shown}"
    );
    site.ok("c", &["diff", "--detailed-exitcode", "bundle.lock.toml", "bundle"]);
    // Another key of the same kind at the verifying side.
    run(dir, "minisign", &["-G", "-W", "-p", "mini2.pub", "-s", "mini2.key"]);
    with(&site, "other.toml", &rule("containerd", "minisign_key", "mini2.pub"));
    let said = site.fails(3, "c", &["verify", "bundle", "-i", "other.toml"]);
    assert!(said.contains("is by the key"), "{said}");
}
