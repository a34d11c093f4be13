//! The real skopeo and the real containerd pull from `provision serve`.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use provision::bundle::Digest;
use provision::resource::template::{Mirror, hosts_toml};

use super::bundle_site::Site;
use super::made::Made;
use super::running::{certificates, containerd, must, serve, serve_dir, tool};

/// The blobs of a `dir:` copy, each against the bundle's own file.
pub fn same_as_bundle(made: &Made, copy: &Path, manifest: &str) {
    let bytes = std::fs::read(copy.join("manifest.json")).unwrap();
    assert_eq!(bytes, std::fs::read(made.blob(manifest)).unwrap());
    let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    for descriptor in std::iter::once(&json["config"]).chain(json["layers"].as_array().unwrap()) {
        let digest = descriptor["digest"].as_str().unwrap();
        let pulled = std::fs::read(copy.join(digest.trim_start_matches("sha256:"))).unwrap();
        assert!(pulled == std::fs::read(made.blob(digest)).unwrap(), "{digest} differs");
    }
}

/// `skopeo copy` of an image into a directory.
pub fn skopeo(source: &str, to: &Path, more: &[&str]) {
    let target = format!("dir:{}", to.display());
    let mut args = vec!["skopeo", "copy", "--quiet"];
    args.extend(more);
    args.extend([source, &target]);
    must("skopeo", &args);
}

#[test]
fn skopeo_pulls_plain_and_encrypted() {
    let made = Made::new();
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path());
    let path = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    let plain = serve(&made, &["--plain-http"]);
    let secure = serve(&made, &["--tls-cert", &path("server.crt"), "--tls-key", &path("server.key")]);
    // skopeo takes every *.crt of the directory for a CA.
    std::fs::create_dir(dir.path().join("trust")).unwrap();
    std::fs::copy(dir.path().join("ca.crt"), dir.path().join("trust/ca.crt")).unwrap();
    let trust = path("trust");
    let plain_args = ["--src-tls-verify=false"];
    let secure_args = ["--src-cert-dir", trust.as_str()];
    for (name, address, args) in
        [("plain", &plain.address, plain_args.as_slice()), ("secure", &secure.address, secure_args.as_slice())]
    {
        for arch in ["amd64", "arm64"] {
            let to = dir.path().join(format!("{name}-{arch}"));
            let mut all = vec!["--override-arch", arch];
            all.extend(args);
            skopeo(&format!("docker://{address}/registry.k8s.io/pause:3.10"), &to, &all);
            same_as_bundle(&made, &to, &made.manifest("registry.k8s.io/pause:3.10", arch));
        }
        let to = dir.path().join(format!("{name}-kubeadm"));
        skopeo(&format!("docker://{address}/provision/kubeadm:1.36.2-amd64"), &to, args);
        same_as_bundle(&made, &to, &made.manifest("kubeadm", "amd64"));
    }
    // All of a multi-arch image, and a CA that is not trusted.
    let to = dir.path().join("all");
    let mut all = vec!["--all"];
    all.extend(secure_args);
    skopeo(&format!("docker://{}/registry.k8s.io/pause:3.10", secure.address), &to, &all);
    let source = format!("docker://{}/registry.k8s.io/pause:3.10", secure.address);
    let refused = tool("skopeo", &["skopeo", "inspect", &source]);
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("certificate"));
}

#[test]
fn what_bundle_build_made_is_pulled_from_every_form() {
    let site = Site::new();
    site.ok("c", &["lock"]);
    site.ok("c", &["build"]);
    site.ok("c", &["pack", "bundle", "--out", "b.tar"]);
    site.ok("c", &["pack", "bundle", "--out", "set.tar", "--split", "1MB"]);
    for form in ["bundle", "b.tar", "set.tar.001"] {
        let server = serve_dir(&site.path(form), &["--plain-http"]);
        let images = [
            "registry.k8s.io/coredns/coredns:v1.14.2",
            "docker.io/library/haproxy:3.2",
            // Without the registry that it is from: only one has it.
            "library/haproxy:3.2",
            // Over the ends of volumes.
            "provision/kubelet:1.36.2-amd64",
        ];
        for image in images {
            let to = site.path(&format!("{form}-{}", image.replace(['/', ':'], "-")));
            skopeo(&format!("docker://{}/{image}", server.address), &to, &["--src-tls-verify=false"]);
            let manifest = std::fs::read(to.join("manifest.json")).unwrap();
            let digest = Digest::of(&manifest);
            assert_eq!(manifest, std::fs::read(site.path("bundle/blobs/sha256").join(digest.hex())).unwrap());
        }
    }
}

#[test]
fn an_inventory_decides_which_bundles_are_handed_out() {
    let site = Site::new();
    site.ok("c", &["lock"]);
    site.ok("c", &["build"]);
    let accepted = "allow_unsigned_bundle = \"I accept unsigned bundles\"\n";
    let text = std::fs::read_to_string(site.path("inventory.toml")).unwrap();
    assert!(text.contains(accepted));
    std::fs::write(site.path("strict.toml"), text.replace(accepted, "")).unwrap();
    let said = site.fails(3, "c", &["push", "127.0.0.1:1", "--plain-http", "-b", "bundle", "-i", "strict.toml"]);
    assert!(said.contains("sign"), "{said}");
    let out = Command::new(env!("CARGO_BIN_EXE_provision"))
        .args(["serve", "bundle", "--listen", "127.0.0.1:0", "--plain-http", "-i", "strict.toml"])
        .current_dir(site.dir.path())
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(3), "{}", String::from_utf8_lossy(&out.stderr));
    let inventory = site.path("inventory.toml").to_string_lossy().into_owned();
    serve_dir(&site.path("bundle"), &["--plain-http", "-i", &inventory]);
}

#[test]
fn containerd_pulls_through_hosts_toml_and_a_lost_mirror_costs_nothing() {
    let made = Made::new();
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path());
    let path = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    let tls = ["--tls-cert", &path("server.crt"), "--tls-key", &path("server.key")];
    let (mut lost, kept) = (serve(&made, &tls), serve(&made, &tls));
    let daemon = containerd(dir.path());
    let mirrors = [&lost, &kept].map(|s| Mirror {
        url: format!("https://{}", s.address),
        ca: Some(path("ca.crt")),
        whole_path: false,
    });
    for registry in ["registry.k8s.io", "docker.io", "quay.io"] {
        let certs = dir.path().join("certs.d").join(registry);
        std::fs::create_dir_all(&certs).unwrap();
        std::fs::write(certs.join("hosts.toml"), hosts_toml(registry, &mirrors, false).unwrap()).unwrap();
    }
    let hosts = path("certs.d");
    let pull = |image: &str| {
        let args = [
            "ctr",
            "--address",
            &daemon.address,
            "images",
            "pull",
            "--snapshotter",
            "native",
            "--hosts-dir",
            &hosts,
            image,
        ];
        let begun = Instant::now();
        let out = tool("containerd", &args);
        (out.status.success(), String::from_utf8_lossy(&out.stderr).into_owned(), begun.elapsed())
    };
    let digest = |image: &str| {
        let list = must("containerd", &["ctr", "--address", &daemon.address, "images", "list"]);
        let line =
            list.lines().find(|l| l.starts_with(&format!("{image} "))).unwrap_or_else(|| panic!("{list}")).to_owned();
        line.split_whitespace().nth(2).unwrap().to_owned()
    };
    let (fine, said, _) = pull("registry.k8s.io/pause:3.10");
    assert!(fine, "{said}");
    assert!(lost.log().contains("GET /v2/pause/") && !kept.log().contains("/v2/pause/"), "{}", kept.log());
    // The first mirror is gone: the pull goes on at the second, at once.
    lost.child.kill().unwrap();
    lost.child.wait().unwrap();
    for image in ["docker.io/library/busybox:1.36", "quay.io/library/busybox:1.36"] {
        let (fine, said, took) = pull(image);
        assert!(fine, "{said}");
        assert!(took < Duration::from_secs(5), "{took:?}");
        assert_eq!(digest(image), made.manifest(image, "amd64"));
    }
    assert!(kept.log().contains("/v2/library/busybox/manifests/1.36?ns=docker.io"), "{}", kept.log());
    // What no mirror has is an error; nobody is asked outside.
    let (fine, said, _) = pull("registry.k8s.io/other:1");
    assert!(!fine && said.contains("StatusNotFound") && !said.contains("//registry.k8s.io"), "{said}");
}

/// oras reads a bundle's directory as it lies, and pulls from `provision serve` what it is given by.
#[test]
fn oras_reads_a_bundle_and_pulls_from_it() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/registry/oras.sh");
    let oras = must("ca-certificates", &[&script.to_string_lossy()]).trim().to_owned();
    let site = Site::new();
    site.ok("c", &["lock"]);
    site.ok("c", &["build"]);
    let bundle = site.path("bundle");
    let layout = bundle.to_string_lossy().into_owned();
    let tags = must("oras", &[&oras, "repo", "tags", "--oci-layout", &layout]);
    assert!(tags.contains("kubelet:1.36.2-amd64"), "{tags}");
    let index: serde_json::Value = serde_json::from_slice(&std::fs::read(bundle.join("index.json")).unwrap()).unwrap();
    let kubelet = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .find(|m| m["annotations"]["org.opencontainers.image.ref.name"].as_str() == Some("kubelet:1.36.2-amd64"));
    let digest = kubelet.unwrap()["digest"].as_str().unwrap();
    let server = serve_dir(&bundle, &["--plain-http"]);
    let from_layout = ["--oci-layout", &format!("{layout}@{digest}")].map(str::to_owned);
    let from_server =
        ["--plain-http", &format!("{}/provision/kubelet:1.36.2-amd64", server.address)].map(str::to_owned);
    for (name, source) in [("layout", from_layout), ("server", from_server)] {
        let to = site.path(&format!("oras-{name}"));
        must("oras", &[&oras, "pull", &source[0], "-o", &to.to_string_lossy(), &source[1]]);
        let pulled = std::fs::read(to.join("kubelet")).unwrap();
        assert!(bundle.join("blobs/sha256").join(Digest::of(&pulled).hex()).exists(), "{name} gave other bytes");
        assert!(pulled.len() > 1 << 20, "{} bytes", pulled.len());
    }
}
