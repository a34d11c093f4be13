//! Another CA takes the place of the cluster's.

use super::harness::{Lab, stderr, stdout};
use super::watch::Watch;

/// Another CA takes the place of the cluster's while a client writes and watches, whose kubeconfig is exchanged twice, as
/// people's are; in between the command is killed, and other changes are refused.
pub fn another_ca(lab: &Lab) {
    println!("-- certs rotate-ca");
    let inventory = lab.inventory();
    let both = ["-i", &inventory, "-b", &lab.bundle()];
    let command = ["certs", "rotate-ca", "-i", &inventory, "--confirm", "ca"];
    let through = |more: &[&str]| lab.done(&[&command[..], more].concat());
    let authority = |node: &str| lab.exec(node, "cat /etc/kubernetes/pki/ca.crt").1;
    let old = authority("cp1");
    lab.must("cp1", "cp /etc/kubernetes/admin.conf /run/old.conf");
    let out = lab.provision(&["certs", "rotate-ca", "-i", &inventory, "--confirm", "wrong"]);
    assert_eq!(out.status.code(), Some(5), "{}", stderr(&out));
    let watch = Watch::start(lab);
    let begun = std::time::Instant::now();
    through(&["--until", "trust"]);
    for node in lab.nodes() {
        let now = authority(&node);
        assert!(now.starts_with(old.trim()) && now.matches("BEGIN").count() == 2, "{node}: {now}");
    }
    for verb in ["plan", "apply"] {
        let out = lab.provision(&[&[verb][..], &both].concat());
        assert_eq!(out.status.code(), Some(5), "{}{}", stdout(&out), stderr(&out));
        assert!(stderr(&out).contains("rotate-ca"), "{}", stderr(&out));
    }
    let out = lab.provision(&["etcd", "snapshot", "-i", &inventory, "-o", &lab.file("backups")]);
    assert_eq!(out.status.code(), Some(5), "{}{}", stdout(&out), stderr(&out));
    watch.follow();
    // Killed with half of the control planes switched.
    let mut killed = lab.spawn(&[&command[..], &["--until", "switch"]].concat());
    let switched = "grep switch /etc/kubernetes/pki/rotation-kubernetes/reached";
    lab.until("cp1", "the switch of the first control plane", 300, switched);
    killed.kill().unwrap();
    killed.wait().unwrap();
    through(&["--until", "switch"]);
    watch.follow();
    through(&[]);
    watch.end();
    println!("   rotated in {} s", begun.elapsed().as_secs());
    let new = authority("cp1");
    assert!(new.matches("BEGIN").count() == 1 && new != old, "{new}");
    for node in lab.nodes() {
        assert_eq!(authority(&node), new, "{node}");
        lab.must(&node, "! ls -d /etc/kubernetes/pki/rotation-*");
    }
    // Who knows the old CA alone gets no further, whoever was signed by it neither.
    lab.must("cp1", "! kubectl --kubeconfig /run/old.conf --request-timeout=5s get ns");
    lab.must("cp1", "! kubectl --kubeconfig /run/old.conf --insecure-skip-tls-verify --request-timeout=5s get ns 2>&1 | grep -q kube-system");
    lab.must("cp1", "k='kubectl --kubeconfig /etc/kubernetes/admin.conf'; [ \"$($k -n kube-system get configmap extension-apiserver-authentication -o 'jsonpath={.data.client-ca-file}' | grep -c BEGIN)\" = 1 ]");
    lab.done(&["certs", "check", "-i", &inventory]);
    assert!(lab.applied().ends_with("no changes\n"));
    // A host joins by what the cluster tells of its CA now.
    lab.done(&["reset", "-i", &inventory, "--host", "w1", "--confirm", "w1"]);
    lab.applied();
    assert_eq!(authority("w1"), new);
    lab.settled();
}
