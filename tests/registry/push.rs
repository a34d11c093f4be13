//! `provision bundle push` into a real docker-registry, over good and bad networks.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::faulty::{Fault, Faulty};
use super::made::{Made, flip};
use super::running::{Running, certificates, containerd, docker_registry, must, peak_mib, tool};
use super::tools::{same_as_bundle, skopeo};
use provision::resource::template::{Mirror, hosts_toml};

const PASSWORD: &str = "s3cret words";

fn command(made: &Made, target: &str, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_provision"));
    command.args(["bundle", "push", target, "-b"]).arg(made.path()).args(args).env("TEST_PASSWORD", PASSWORD);
    command
}

fn text(out: &Output) -> String {
    String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr)
}

/// Pushes, which must work: what was said.
fn push(made: &Made, target: &str, args: &[&str]) -> String {
    let out = command(made, target, args).output().unwrap();
    assert!(out.status.success(), "{}", text(&out));
    text(&out)
}

fn fails(code: i32, made: &Made, target: &str, args: &[&str]) -> String {
    let out = command(made, target, args).output().unwrap();
    assert_eq!(out.status.code(), Some(code), "{}", text(&out));
    text(&out)
}

/// The images and files come out of the registry as they went in.
fn arrived(made: &Made, target: &str, dir: &Path, args: &[&str]) {
    for (place, name, arch) in [
        ("registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10", "amd64"),
        ("registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10", "arm64"),
        ("quay.io/library/busybox:1.36", "quay.io/library/busybox:1.36", "amd64"),
        ("provision/kubeadm:1.36.2-amd64", "kubeadm", "amd64"),
        ("provision/kubelet:1.36.2-amd64", "kubelet", "amd64"),
    ] {
        let to = dir.join(format!("out/{arch}/{}", name.replace(['/', ':'], "-")));
        std::fs::create_dir_all(&to).unwrap();
        let mut all = vec!["--override-arch", arch];
        all.extend(args);
        skopeo(&format!("docker://{target}/{place}"), &to, &all);
        same_as_bundle(made, &to, &made.manifest(name, arch));
    }
}

fn tags(registry: &Running, repository: &str) -> Output {
    tool(
        "skopeo",
        &["skopeo", "list-tags", "--tls-verify=false", &format!("docker://{}/{repository}", registry.address)],
    )
}

const PLAIN: [&str; 1] = ["--src-tls-verify=false"];

#[test]
fn everything_arrives_once() {
    let (made, dir) = (Made::new(), tempfile::tempdir().unwrap());
    let registry = docker_registry(dir.path(), "", "");
    let proxy = Faulty::start(&registry.address);
    let target = format!("{}/pre/fix", proxy.address);
    let said = push(&made, &target, &["--plain-http"]);
    // A layer of three images and the empty config of two files went over once each.
    assert!(said.contains(" 3 mounted, 0 were there"), "{said}");
    let sends = |l: &String| ["POST ", "PUT ", "PATCH "].iter().any(|m| l.starts_with(m));
    // Tags come last, all of them.
    let log = proxy.log();
    let is_tag = |l: &String| l.starts_with("PUT ") && l.contains("/manifests/") && !l.contains("sha256:");
    let first_tag = log.iter().position(is_tag).unwrap();
    assert!(log[first_tag..].iter().filter(|l| sends(l)).all(is_tag));
    assert_eq!(log.iter().filter(|l| is_tag(l)).count(), 10);
    let again = push(&made, &target, &["--plain-http"]);
    assert!(again.contains("0 blobs sent (0 MB), 0 mounted") && again.contains("; 0 manifests"), "{again}");
    assert_eq!(proxy.log()[log.len()..].iter().filter(|l| sends(l)).count(), 0);
    arrived(&made, &format!("{}/pre/fix", registry.address), dir.path(), &PLAIN);
    // And containerd finds it all there by the upstream's name.
    let daemon = containerd(dir.path());
    let certs = dir.path().join("certs.d/registry.k8s.io");
    std::fs::create_dir_all(&certs).unwrap();
    let url = format!("http://{}/v2/pre/fix/registry.k8s.io", registry.address);
    let mirror = Mirror { whole_path: true, ..Mirror::plain(&url) };
    std::fs::write(certs.join("hosts.toml"), hosts_toml("registry.k8s.io", &[mirror], false).unwrap()).unwrap();
    let hosts = dir.path().join("certs.d").to_string_lossy().into_owned();
    must(
        "containerd",
        &[
            "ctr",
            "--address",
            &daemon.address,
            "images",
            "pull",
            "--snapshotter",
            "native",
            "--hosts-dir",
            &hosts,
            "registry.k8s.io/pause:3.10",
        ],
    );
}

#[test]
fn encrypted_and_with_a_login() {
    let (made, dir) = (Made::new(), tempfile::tempdir().unwrap());
    certificates(dir.path());
    let path = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    let hash = must("apache2-utils", &["htpasswd", "-nbB", "me", PASSWORD]);
    std::fs::write(path("htpasswd"), hash).unwrap();
    let http = format!("  tls: {{ certificate: {}, key: {} }}\n", path("server.crt"), path("server.key"));
    let auth = format!("auth:\n  htpasswd: {{ realm: test, path: {} }}\n", path("htpasswd"));
    let registry = docker_registry(dir.path(), &http, &auth);
    let target = registry.address.clone();
    let ca = path("ca.crt");
    let said = fails(1, &made, &target, &["--ca", &ca]);
    assert!(said.contains("wants a login") && said.contains("--password-env"), "{said}");
    let said = fails(1, &made, &target, &[]);
    assert!(said.contains("certificate"), "{said}");
    assert!(fails(64, &made, &target, &["--ca", &ca, "--user", "me"]).contains("--password-file"));
    std::fs::write(path("wrong"), "wrong words\n").unwrap();
    let said = fails(1, &made, &target, &["--ca", &ca, "--user", "me", "--password-file", &path("wrong")]);
    assert!(said.contains("401") && !said.contains("wrong words"), "{said}");
    let said = push(&made, &target, &["--ca", &ca, "--user", "me", "--password-env", "TEST_PASSWORD", "-v"]);
    assert!(!said.contains(PASSWORD), "{said}");
    std::fs::create_dir(path("trust")).unwrap();
    std::fs::copy(&ca, path("trust/ca.crt")).unwrap();
    let credentials = format!("me:{PASSWORD}");
    arrived(&made, &target, dir.path(), &["--src-cert-dir", &path("trust"), "--src-creds", &credentials]);
    assert!(fails(64, &made, "user:pw@x", &[]).contains("is not a registry"));
    assert!(fails(64, &made, "x/UPPER", &[]).contains("is not a registry"));
}

#[test]
fn a_killed_push_is_taken_up() {
    let (made, dir) = (Made::new(), tempfile::tempdir().unwrap());
    let registry = docker_registry(dir.path(), "", "");
    let proxy = Faulty::start(&registry.address);
    proxy.fail("PATCH", "provision/kubelet", Fault::Hang);
    let mut child =
        command(&made, &proxy.address, &["--plain-http"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // Until it does nothing more but wait for the largest blob.
    let (mut seen, mut since) = (0, Instant::now());
    while seen == 0 || since.elapsed() < Duration::from_secs(2) {
        let now = proxy.log().len();
        if now != seen {
            (seen, since) = (now, Instant::now());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!tags(&registry, "registry.k8s.io/pause").status.success(), "a half push can be pulled");
    let blobs = |log: &[String]| -> BTreeSet<String> {
        let ends = log.iter().filter(|l| l.starts_with("PUT ") && l.contains("digest="));
        ends.map(|l| l.split("digest=").nth(1).unwrap()[..71].to_owned()).collect()
    };
    let log = proxy.log();
    let first = blobs(&log);
    assert!(first.len() > 10, "{first:?}");
    let said = push(&made, &proxy.address, &["--plain-http"]);
    let second = blobs(&proxy.log()[log.len()..]);
    assert_eq!(first.intersection(&second).count(), 0, "sent twice");
    assert_eq!(second.len(), 1, "{said}");
    arrived(&made, &registry.address, dir.path(), &PLAIN);
}

#[test]
fn bad_networks_and_busy_registries_are_outlasted() {
    let (made, dir) = (Made::new(), tempfile::tempdir().unwrap());
    let registry = docker_registry(dir.path(), "", "");
    let (proxy, elsewhere) = (Faulty::start(&registry.address), Faulty::start(&registry.address));
    proxy.want_token("bWU6czNjcmV0IHdvcmRz");
    proxy.fail("HEAD", "registry.k8s.io/pause/blobs", Fault::Status(429));
    proxy.fail("POST", "provision/kubeadm", Fault::Status(503));
    proxy.fail("PUT", "registry.k8s.io/sig/tags/manifests", Fault::Status(500));
    proxy.fail("PUT", "docker.io/library/busybox/blobs/uploads", Fault::Moved(format!("http://{}", elsewhere.address)));
    let login = ["--plain-http", "--user", "me", "--password-env", "TEST_PASSWORD"];
    push(&made, &proxy.address, &login);
    arrived(&made, &registry.address, dir.path(), &PLAIN);
    let log = proxy.log();
    // The token is asked for with what the push needs, for both repositories of a mount.
    let tokens: Vec<&String> = log.iter().filter(|l| l.starts_with("GET /token")).collect();
    let scope = "scope=repository%3Aregistry.k8s.io%2Fsig%2Ftags%3Apull%2Cpush";
    assert!(tokens.iter().any(|t| t.contains(scope)), "{tokens:?}");
    assert!(tokens.iter().any(|t| t.matches("scope=").count() == 2), "{tokens:?}");
    // Credentials stay with the registry.
    let there = elsewhere.log();
    assert_eq!(there.len(), 1, "{there:?}");
    assert!(there[0].starts_with("PUT ") && there[0].ends_with(' '), "{there:?}");
}

/// docker-registry takes up an upload after a request that never came, but not after one of which it has a part: the
/// blob is then sent again.
#[test]
fn a_large_blob_goes_on_or_begins_again() {
    for (fault, uploads, pieces) in [(Fault::Status(502), 1, 4), (Fault::Cut(5_000_000), 2, 5)] {
        let (made, dir) = (Made::new(), tempfile::tempdir().unwrap());
        let registry = docker_registry(dir.path(), "", "");
        let proxy = Faulty::start(&registry.address);
        proxy.fail("PATCH", "provision/kubelet", Fault::Pass);
        proxy.fail("PATCH", "provision/kubelet", fault.clone());
        push(&made, &proxy.address, &["--plain-http"]);
        let count = |start: &str| proxy.log().iter().filter(|l| l.starts_with(start)).count();
        let begun = count("POST /v2/provision/kubelet/blobs/uploads/ ");
        assert_eq!((begun, count("PATCH ")), (uploads, pieces), "{fault:?}");
        arrived(&made, &registry.address, dir.path(), &PLAIN);
    }
}

/// What a tag names is what others run: it moves only when somebody says so.
#[test]
fn a_tag_that_names_something_else_is_not_moved_unless_asked() {
    let (made, dir) = (Made::new(), tempfile::tempdir().unwrap());
    let registry = docker_registry(dir.path(), "", "");
    let proxy = Faulty::start(&registry.address);
    push(&made, &proxy.address, &["--plain-http"]);
    let image = |tag: &str| format!("docker://{}/registry.k8s.io/sig/tags:{tag}", registry.address);
    let insecure = ["--src-tls-verify=false", "--dest-tls-verify=false"];
    must("skopeo", &[&["skopeo", "copy", "--quiet"][..], &insecure, &[&image("v1"), &image("v2")]].concat());
    let before = proxy.log().len();
    let said = fails(5, &made, &proxy.address, &["--plain-http"]);
    let (v1, v2) = ["v1", "v2"].map(|t| made.manifest(&format!("registry.k8s.io/sig/tags:{t}"), "amd64")).into();
    assert!(said.contains(&format!("registry.k8s.io/sig/tags:v2 is {v1}, the bundle has {v2}")), "{said}");
    assert!(said.contains("1 tags name something else") && said.contains("--overwrite-tags"), "{said}");
    let sent = |l: &&String| ["POST ", "PUT ", "PATCH "].iter().any(|m| l.starts_with(m));
    assert_eq!(proxy.log()[before..].iter().filter(sent).count(), 0);
    let said = push(&made, &proxy.address, &["--plain-http", "--overwrite-tags"]);
    assert!(said.contains("; 1 manifests"), "{said}");
    let shown = must("skopeo", &["skopeo", "inspect", "--tls-verify=false", "--format", "{{.Digest}}", &image("v2")]);
    assert_eq!(shown.trim(), v2);
    // Another prefix is another place, and what is there already is no obstacle.
    push(&made, &format!("{}/else", proxy.address), &["--plain-http"]);
    push(&made, &proxy.address, &["--plain-http"]);
}

#[test]
fn memory_does_not_grow_with_the_bundle() {
    let (made, dir) = (Made::huge(), tempfile::tempdir().unwrap());
    let registry = docker_registry(dir.path(), "", "");
    let mut child = command(&made, &registry.address, &["--plain-http"]).stdout(Stdio::null()).spawn().unwrap();
    let mut peak = 0;
    let ended = loop {
        peak = peak_mib(child.id()).unwrap_or(peak);
        if let Some(ended) = child.try_wait().unwrap() {
            break ended;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    assert!(ended.success());
    println!("peak memory with a push of 512 MiB: {peak} MiB");
    assert!((1..95).contains(&peak), "{peak} MiB");
}

#[test]
fn a_damaged_bundle_is_refused_and_nothing_is_tagged() {
    let (made, dir) = (Made::new(), tempfile::tempdir().unwrap());
    flip(&made.blob(&made.largest("kubelet", "amd64").0));
    let registry = docker_registry(dir.path(), "", "");
    let said = fails(3, &made, &registry.address, &["--plain-http"]);
    assert!(said.contains("DIGEST_INVALID") && said.contains("bundle verify"), "{said}");
    assert!(!tags(&registry, "registry.k8s.io/pause").status.success());
}
