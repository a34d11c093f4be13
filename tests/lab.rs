//! The lab, end to end, on real parts: sshd, systemd, containerd, kubeadm, etcd, a registry, an HTTP server. One cluster
//! is taken through its life in order, because each part needs the one before it.
//!
//! Needs root and podman's packages; `tests/run` runs it. It never skips: what cannot run fails.

#![expect(clippy::unwrap_used, reason = "a test")]

#[path = "lab/chart.rs"]
mod chart;
#[path = "lab/drift.rs"]
mod drift;
#[path = "lab/etcd.rs"]
mod etcd;
#[path = "lab/external.rs"]
mod external;
#[path = "lab/harness.rs"]
mod harness;
#[path = "lab/nodes.rs"]
mod nodes;
#[path = "lab/pki.rs"]
mod pki;
#[path = "lab/record.rs"]
mod record;
#[path = "recorded/probes.rs"]
mod recorded;
#[path = "lab/registry.rs"]
mod registry;
#[path = "lab/release.rs"]
mod release;
#[path = "lab/rotation.rs"]
mod rotation;
#[path = "lab/upgrade.rs"]
mod upgrade;
#[path = "lab/watch.rs"]
mod watch;

use harness::{Lab, same, stderr, stdout, wait_for};

#[test]
#[ignore = "needs root and podman; run by tests/run"]
fn a_cluster_lives() {
    let lab = Lab::prepare("e2e", 3, 2);
    air_gap(&lab);
    // The first login of a user leaves traces of its own (sudo's lecture, a session): they are not provision's.
    lab.done(&["preflight", "-i", &lab.inventory()]);
    let before = lab.footprint("w2");
    bad_input_changes_nothing(&lab);
    full_disk(&lab);
    killed_in_three_places(&lab);
    whole(&lab);
    drift::by_hand(&lab);
    other_cluster_is_refused(&lab);
    kubeconfig(&lab);
    reset_and_rejoin(&lab, &before);
    lost_host(&lab);
    journal(&lab);
}

/// The plainest cluster, the API endpoint being the first control plane itself, out of the volumes of a split bundle; its
/// CAs are a bank's, whose keys nobody else ever sees.
#[test]
#[ignore = "needs root and podman; run by tests/run"]
fn a_first_node_endpoint() {
    let lab = Lab::prepare("plain", 1, 1);
    let bank = pki::Bank::open(&lab);
    let plain =
        lab.edited("plain.toml", |t| {
            t.replace("mode = \"haproxy\"\nimage = \"docker.io/library/haproxy:2.6\"", "mode = \"first-node\"")
                .replacen("[runtime]", &format!("{}[runtime]", pki::Bank::table()), 1)
        });
    let tar = lab.file("media.tar");
    lab.done(&["bundle", "pack", &lab.bundle(), "-o", &tar, "--split", "48MiB"]);
    let volume = format!("{tar}.001");
    let both = ["-i", &plain, "-b", &volume];
    // One volume stayed behind: named, and no host touched.
    std::fs::rename(format!("{tar}.002"), lab.file("left-behind")).unwrap();
    let out = lab.provision(&[&["apply", "-y"][..], &both].concat());
    assert_eq!(out.status.code(), Some(3), "{}", stderr(&out));
    assert!(stderr(&out).contains("media.tar.002"), "{}", stderr(&out));
    std::fs::rename(lab.file("left-behind"), format!("{tar}.002")).unwrap();
    pki::certificates_come_in(&lab, &bank, &plain, &volume);
    lab.done(&[&["apply", "-y"][..], &both].concat());
    let out = lab.provision(&[&["plan", "--detailed-exitcode"][..], &both].concat());
    assert_eq!(out.status.code(), Some(0), "{}{}", stdout(&out), stderr(&out));
    let path = lab.file("admin.conf");
    lab.done(&["kubeconfig", "-i", &plain, "-o", &path]);
    let server = format!("https://{}:6443", lab.address("cp1"));
    assert!(std::fs::read_to_string(&path).unwrap().contains(&server));
    let ready = lab.kubectl(&path, &["get", "nodes", "--no-headers"]);
    assert_eq!(ready.lines().filter(|l| l.contains(" Ready ")).count(), 2, "{ready}");
    pki::certificates_are_renewed(&lab, &bank, &plain);
    pki::keys_stay_where_they_are(&lab, &bank);
    let out = lab.provision(&[&["plan", "--detailed-exitcode"][..], &both].concat());
    assert_eq!(out.status.code(), Some(0), "{}{}", stdout(&out), stderr(&out));
}

/// To another version of Kubernetes, with a workload that is asked and an API that is written to all along.
#[test]
#[ignore = "needs root and podman; run by tests/run"]
fn an_upgrade_lives() {
    let more = release::upgrade_args();
    let lab = Lab::prepare_from("upgrade", 3, 2, &more.iter().map(String::as_str).collect::<Vec<_>>());
    upgrade::lives(&lab);
}

/// A worker comes and goes, the first control plane is destroyed and replaced, and then another.
#[test]
#[ignore = "needs root and podman; run by tests/run"]
fn nodes_come_and_go() {
    let lab = Lab::prepare("nodes", 5, 2);
    nodes::come_and_go(&lab);
}

/// Certificates are checked, a backup is taken, etcd loses its majority and comes back.
#[test]
#[ignore = "needs root and podman; run by tests/run"]
fn etcd_is_lost_and_comes_back() {
    let keys = etcd::Keys::make();
    let lab = Lab::prepare_with("lost", 3, 1, Some(&keys.inventory()));
    lab.is_cut_off();
    lab.applied();
    etcd::certificates_are_checked(&lab);
    lab.must("cp1", "kubectl --kubeconfig /etc/kubernetes/admin.conf create configmap before");
    etcd::backed_up(&lab, &keys);
    let backup = etcd::backed_up_by_itself(&lab, &keys);
    lab.must("cp1", "kubectl --kubeconfig /etc/kubernetes/admin.conf create configmap after");
    etcd::lost_and_restored(&lab, &keys, &backup);
    etcd::certificates_are_renewed(&lab);
    etcd::no_secret_was_recorded(&lab);
}

/// The cluster's CA is rotated under a client that writes and watches.
#[test]
#[ignore = "needs root and podman; run by tests/run"]
fn a_ca_is_rotated() {
    let keys = etcd::Keys::make();
    let lab = Lab::prepare_with("ca", 3, 1, Some(&keys.inventory()));
    lab.is_cut_off();
    lab.applied();
    rotation::another_ca(&lab);
    etcd::no_secret_was_recorded(&lab);
}

/// An etcd of its own on three hosts beside the cluster: built, changed, and entered again by a host that lost its disk.
#[test]
#[ignore = "needs root and podman; run by tests/run"]
fn etcd_of_its_own() {
    let lab = Lab::prepare("apart", 1, 3);
    external::lives(&lab);
}

/// A node reaches the other nodes and nothing else: no route out, and not what listens on this machine's loopback.
fn air_gap(lab: &Lab) {
    println!("-- air gap");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    for node in lab.nodes() {
        let route = lab.exec(&node, "ip route get 1.1.1.1");
        assert!(!route.0, "{node} has a route out: {}", route.1);
        let gateway = lab.address("cp1").rsplit_once('.').unwrap().0.to_owned() + ".1";
        for target in ["127.0.0.1", &gateway] {
            let reach = lab.exec(&node, &format!("timeout 3 bash -c '</dev/tcp/{target}/{port}'"));
            assert!(!reach.0, "{node} reaches {target}:{port} of this machine");
        }
        let peer = lab.address(if node == "cp1" { "w1" } else { "cp1" });
        let reach = lab.exec(&node, &format!("timeout 3 bash -c '</dev/tcp/{peer}/22'"));
        assert!(reach.0, "{node} does not reach {peer}: {}", reach.1);
    }
}

/// Each wrong input has its documented exit code and leaves every host as it was.
fn bad_input_changes_nothing(lab: &Lab) {
    println!("-- bad input");
    let untouched = lab.footprint("w1");
    let broken = lab.edited("broken.toml", |t| t.replace("[cluster]", "[cluster"));
    assert_eq!(lab.provision(&["plan", "-i", &broken, "-b", &lab.bundle()]).status.code(), Some(3));
    let out = lab.provision(&["apply", "-y", "-i", &lab.inventory(), "-b", "/nonexistent"]);
    assert_eq!(out.status.code(), Some(3), "{}", stderr(&out));
    assert!(stderr(&out).contains("Hint:"), "{}", stderr(&out));

    // A key that is not the pinned one.
    let other = lab.edited("wrong-key.toml", |t| {
        let keys: Vec<&str> = t.lines().filter(|l| l.starts_with("host_key")).collect();
        t.replacen(keys[1], keys[0], 1)
    });
    let out = lab.provision(&["apply", "-y", "-i", &other, "-b", &lab.bundle()]);
    assert_eq!(out.status.code(), Some(4), "{}", stderr(&out));
    assert!(stderr(&out).contains("HAS CHANGED") && stderr(&out).contains("cp2"), "{}", stderr(&out));

    // sudo wants a password that is not the right one.
    lab.must("w2", "echo 'admin:right horse' | chpasswd; echo 'admin ALL=(ALL) ALL' >/etc/sudoers.d/admin");
    let with_password = lab.edited("sudo.toml", |t| {
        t.replace("{ method = \"passwordless\" }", "{ method = \"env\", env = \"LAB_SUDO\" }")
    });
    let out = lab.provision_env(&["plan", "-i", &with_password, "-b", &lab.bundle()], &[("LAB_SUDO", "wrong")]);
    assert_eq!(out.status.code(), Some(1), "{}", stderr(&out));
    assert!(stderr(&out).contains("w2: sudo did not accept the password"), "{}", stderr(&out));
    // The right one works, on the hosts that ask for it and on those that do not.
    let out = lab.provision_env(&["plan", "-i", &with_password, "-b", &lab.bundle()], &[("LAB_SUDO", "right horse")]);
    assert_eq!(out.status.code(), Some(0), "{}", stderr(&out));
    lab.must("w2", "echo 'admin ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/admin; passwd -q -d admin");

    // A bundle without its signature.
    let signatures = lab.file("bundle/signatures");
    std::fs::rename(&signatures, lab.file("signatures")).unwrap();
    let out = lab.provision(&["apply", "-y", "-i", &lab.inventory(), "-b", &lab.bundle()]);
    assert_eq!(out.status.code(), Some(3), "{}", stderr(&out));
    assert!(stderr(&out).contains("sign"), "{}", stderr(&out));
    std::fs::rename(lab.file("signatures"), &signatures).unwrap();

    // A flipped byte in the bundle: found by verify before anything, and by the node when nobody verified.
    let flipped = lab.flip_a_blob();
    let out = lab.provision(&["bundle", "verify", &lab.bundle()]);
    assert_eq!(out.status.code(), Some(3), "{}", stderr(&out));
    assert!(stderr(&out).contains(&flipped.digest), "{}", stderr(&out));
    same(&untouched, &lab.footprint("w1"), "a host was changed");
    let out = lab.provision(&["apply", "-y", "-i", &lab.inventory(), "-b", &lab.bundle()]);
    assert_eq!(out.status.code(), Some(3), "{}", stderr(&out));
    assert!(stderr(&out).contains("is damaged in the bundle"), "{}", stderr(&out));
    flipped.mend();
    lab.done(&["bundle", "verify", &lab.bundle(), "-i", &lab.inventory()]);
}

/// A node whose disk is full: it is named with what its system said; the others got theirs, and the next run goes on.
fn full_disk(lab: &Lab) {
    println!("-- full disk");
    lab.must("w2", "mkdir -p /var/lib/provision && mount -t tmpfs -o size=24m tmpfs /var/lib/provision");
    let out = lab.apply();
    assert_eq!(out.status.code(), Some(1), "{}", stderr(&out));
    let said = stderr(&out);
    assert!(said.contains("w2: no space left for a blob") && said.contains("Hint: free some space"), "{said}");
    lab.must("w1", "ls /var/lib/provision/blobs/sha256 | grep -v partial");
    lab.must("w2", "! ls /var/lib/provision/blobs/sha256 | grep partial");
    lab.must("w2", "umount /var/lib/provision");
}

/// `kill -9` in the middle of distribute, init and join: every time the next run goes on.
fn killed_in_three_places(lab: &Lab) {
    println!("-- killed in distribute, init and join");
    // How many blobs are still to be sent hangs on the digests: they are sent in that order until the damaged one.
    lab.apply_killed_at("distribute/", 0);
    assert!(lab.exec("cp1", "ls /var/lib/provision/blobs/sha256 | grep -v partial").0, "nothing was distributed");
    lab.apply_killed_at("init/cp1/kubeadm", 0);
    lab.apply_killed_at("join-control-plane/cp2/kubeadm", 0);
    lab.applied();
}

/// The cluster is what the inventory says, and a second apply changes nothing.
fn whole(lab: &Lab) {
    println!("-- whole");
    let status: serde_json::Value =
        serde_json::from_str(&lab.done(&["status", "--format", "json", "-i", &lab.inventory()])).unwrap();
    let hosts = status["hosts"].as_array().unwrap();
    assert_eq!(hosts.len(), 5);
    assert!(hosts.iter().all(|h| h["ready"] == true), "{status:#}");
    assert_eq!(hosts.iter().filter(|h| h["etcd"] == "member").count(), 3, "{status:#}");
    let out = lab.apply();
    assert!(out.status.success() && stdout(&out).ends_with("no changes\n"), "{}{}", stdout(&out), stderr(&out));
    lab.settled();
    for node in lab.nodes() {
        let (_, left) = lab.exec(&node, "ls /run/provision/*.in /run/provision/*.yaml 2>/dev/null");
        assert_eq!(left.trim(), "", "{node} keeps the input of its join");
        // Neither a token nor a certificate key.
        lab.must(
            &node,
            "! cat /run/provision/* 2>/dev/null | grep -E '(^|[^a-z0-9])[a-z0-9]{6}[.][a-z0-9]{16}($|[^a-z0-9])|(^|[^:0-9a-f])[0-9a-f]{64}'",
        );
    }
}

/// A host of one cluster is not taken for another.
fn other_cluster_is_refused(lab: &Lab) {
    println!("-- another cluster");
    let other = lab.edited("other.toml", |t| t.replacen("name = \"e2e\"", "name = \"other\"", 1));
    let before = lab.footprint("w1");
    let out = lab.provision(&["apply", "-y", "-i", &other, "-b", &lab.bundle()]);
    assert_eq!(out.status.code(), Some(5), "{}", stderr(&out));
    assert!(stderr(&out).contains("it belongs to cluster `e2e`"), "{}", stderr(&out));
    same(&before, &lab.footprint("w1"), "a host was changed");
}

fn kubeconfig(lab: &Lab) {
    println!("-- kubeconfig");
    use std::os::unix::fs::PermissionsExt as _;
    let path = lab.file("admin.conf");
    lab.done(&["kubeconfig", "-i", &lab.inventory(), "-o", &path]);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let nodes = lab.kubectl(&path, &["get", "nodes", "-o", "name"]);
    assert_eq!(nodes.lines().count(), 5, "{nodes}");
    // The pods' network carries a Service too.
    assert_eq!(lab.kubectl(&path, &["get", "namespace", "provision-verify", "--ignore-not-found"]), "");
}

/// A reset host is as it was before `provision` first saw it, and may join again.
fn reset_and_rejoin(lab: &Lab, before: &str) {
    println!("-- reset and rejoin");
    let out = lab.provision(&["reset", "--host", "w2", "--confirm", "wrong", "-i", &lab.inventory()]);
    assert_eq!(out.status.code(), Some(5), "{}", stderr(&out));
    lab.done(&["reset", "--host", "w2", "--confirm", "w2", "-i", &lab.inventory()]);
    let after = lab.footprint("w2");
    same(before, &after, "reset left something behind, or took too much");
    let nodes = lab.kubectl(&lab.file("admin.conf"), &["get", "nodes", "-o", "name"]);
    assert!(!nodes.contains("w2"), "{nodes}");

    // The API does not answer it: said at once, nothing started.
    let planes: Vec<String> = ["cp1", "cp2", "cp3"].map(|n| lab.address(n)).into();
    for plane in &planes {
        lab.must("w2", &format!("ip route add unreachable {plane}/32"));
    }
    let out = lab.apply();
    assert_eq!(out.status.code(), Some(1), "{}", stderr(&out));
    let said = stderr(&out);
    assert!(said.contains("failed to reach the API at https://") && said.contains("w2"), "{said}");
    lab.must("w2", "! ls /etc/kubernetes/kubelet.conf");
    for plane in &planes {
        lab.must("w2", &format!("ip route del unreachable {plane}/32"));
    }

    // Its power goes while it joins: it is named, and the next run clears what is half done.
    let (code, said) = lab.apply_with_power_loss("join-worker/w2/kubeadm", "w2");
    assert!(code == 1 && said.contains("w2") && said.contains("was it rebooted?"), "{code}: {said}");
    lab.applied();
    lab.settled();
}

/// A host without power: exit 4 naming it, nobody else disturbed; once it is back a run converges.
fn lost_host(lab: &Lab) {
    println!("-- lost host");
    lab.power_off("w1");
    let out = lab.apply();
    assert_eq!(out.status.code(), Some(4), "{}", stderr(&out));
    assert!(stderr(&out).contains("w1"), "{}", stderr(&out));
    // The API calls a node without power Ready for 40 s: only a new report tells that it is back.
    let report = "jsonpath={range .status.conditions[?(@.type==\"Ready\")]}{.status} {.lastHeartbeatTime}{end}";
    let report = || lab.kubectl(&lab.file("admin.conf"), &["get", "node", "w1", "-o", report]);
    let last = report().split_once(' ').unwrap().1.to_owned();
    lab.power_on("w1");
    wait_for("w1 to report again", 90, || {
        let now = report();
        if now.starts_with("True") && !now.ends_with(&last) { Ok(()) } else { Err(now) }
    });
    lab.applied();
    lab.settled();
}

/// The journals of all that happened hold together, and hold no secret.
fn journal(lab: &Lab) {
    println!("-- journal");
    let journals = lab.journals();
    assert!(journals.len() >= 6, "{journals:?}");
    let token = |word: &str| {
        word.split_once('.').is_some_and(|(a, b)| {
            let plain = |s: &str| s.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
            a.len() == 6 && b.len() == 16 && plain(a) && plain(b)
        })
    };
    for path in &journals {
        let text = std::fs::read_to_string(path).unwrap();
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '.'));
        assert_eq!(words.filter(|w| token(w)).count(), 0, "{} holds a token", path.display());
        lab.done(&["journal", "verify", &path.to_string_lossy()]);
    }
}
