//! What is changed by hand, against a real cluster.

use crate::harness::{Lab, stderr, stdout};

/// What is changed by hand is named exactly, and mended exactly.
pub fn by_hand(lab: &Lab) {
    println!("-- drift");
    other_networks(lab);
    lab.must("w1", "systemctl stop kubelet");
    let (code, steps) = lab.plan();
    assert_eq!((code, lab.changes(&steps)), (2, vec!["runtime/w1/kubelet-service".to_owned()]));
    lab.applied();
    lab.must("w1", "systemctl is-active kubelet");

    lab.must("cp3", "echo '# by hand' >>/etc/sysctl.d/90-provision.conf");
    let (code, steps) = lab.plan();
    assert_eq!((code, lab.changes(&steps)), (2, vec!["prepare/cp3/sysctl-file".to_owned()]));
    lab.applied();
    lab.must("cp3", "! grep -q 'by hand' /etc/sysctl.d/90-provision.conf");

    lab.must("w2", "cp /bin/true /usr/local/bin/kubectl");
    let (code, steps) = lab.plan();
    assert_eq!((code, lab.changes(&steps)), (2, vec!["runtime/w2/kubectl".to_owned()]));
    // A saved plan binds: it is refused once a host has changed.
    let saved = lab.file("saved.json");
    lab.done(&["plan", "-i", &lab.inventory(), "-b", &lab.bundle(), "--out", &saved]);
    lab.must("w2", "rm /etc/modules-load.d/provision.conf");
    let out = lab.provision(&["apply", "--plan", &saved, "-i", &lab.inventory(), "-b", &lab.bundle()]);
    assert_eq!(out.status.code(), Some(5), "{}", stderr(&out));
    assert!(stderr(&out).contains("stale") && stderr(&out).contains("w2"), "{}", stderr(&out));
    lab.applied();
    containerd_takes_turns(lab);
    lab.settled();
    beside_ours(lab);
}

/// What no rolling change gives is refused, with what the cluster has.
fn other_networks(lab: &Lab) {
    let other = lab.edited("networks.toml", |t| t.replace("10.244.0.0/16", "10.245.0.0/16"));
    for command in [&["plan"][..], &["apply", "-y"]] {
        let out = lab.provision(&[command, &["-i", &other, "-b", &lab.bundle()]].concat());
        let said = stderr(&out);
        assert_eq!(out.status.code(), Some(5), "{said}");
        assert!(said.contains("pod network is 10.244.0.0/16, the inventory says 10.245.0.0/16"), "{said}");
    }
}

/// containerd gets its settings in its node's turn; what it does not start with is put back, and nobody follows.
fn containerd_takes_turns(lab: &Lab) {
    let config = "/etc/containerd/config.toml";
    lab.must("w2", &format!("echo '# by hand' >>{config}"));
    let (code, steps) = lab.plan();
    let mut changes = lab.changes(&steps);
    changes.retain(|id| !id.contains("/wave-"));
    assert_eq!((code, changes), (2, vec!["settings-worker/w2/containerd".to_owned()]));
    lab.applied();
    lab.must("w2", &format!("! grep -q 'by hand' {config}"));

    let broken = lab.edited("containerd.toml", |t| {
        t.replacen("[kubelet.config]\n", "[runtime.containerd_config]\nroot = 5\n\n[kubelet.config]\n", 1)
    });
    let out = lab.provision(&["apply", "-y", "-i", &broken, "-b", &lab.bundle()]);
    let said = stderr(&out);
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(said.contains("containerd on cp1 was given back what it had, and the node is well"), "{said}");
    for node in lab.nodes() {
        lab.must(&node, &format!("! grep -q '^root = 5' {config} && systemctl is-active containerd"));
    }
}

/// Another image under a tag is mended; what is not provision's is told, and left where it is.
fn beside_ours(lab: &Lab) {
    let (_, images) = lab.exec("w1", "ctr -n k8s.io images ls -q");
    let named = |what: &str| images.lines().find(|l| l.contains(what) && !l.contains('@')).unwrap().to_owned();
    let (wanted, other) = (named("busybox"), named("pause"));
    lab.must("w1", &format!("ctr -n k8s.io images tag --force {other} {wanted}"));
    let (code, steps) = lab.plan();
    assert_eq!(code, 2);
    let step = steps.iter().find(|s| s["id"] == format!("images/w1/{wanted}")).unwrap_or_else(|| panic!("{steps:#?}"));
    assert!(step["reason"].as_str().unwrap().contains("another image under this name"), "{step:#}");
    assert!(lab.changes(&steps).iter().all(|id| id.starts_with("images/w1/") || id.starts_with("distribute/w1/")));

    let path = "/etc/kubernetes/manifests/by-hand.yaml";
    let pod = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: by-hand, namespace: kube-system}}\nspec:\n  containers:\n  - name: a\n    image: {other}\n"
    );
    lab.must("w2", &format!("printf '%s' '{pod}' >{path}"));
    let kubectl = "kubectl --kubeconfig /etc/kubernetes/admin.conf";
    lab.must("cp1", &format!("{kubectl} taint node w2 by=hand:PreferNoSchedule"));
    lab.applied();
    // Told by plan, in no need of anything; kept in the journal; seen by status, which calls the cluster well.
    let out = lab.provision(&["plan", "--detailed-exitcode", "-i", &lab.inventory(), "-b", &lab.bundle()]);
    assert_eq!(out.status.code(), Some(0), "{}{}", stdout(&out), stderr(&out));
    let said = stdout(&out);
    print!("{said}");
    assert!(said.contains(path) && said.contains(&other) && said.contains("by=hand:PreferNoSchedule"), "{said}");
    assert!(lab.exec("w2", &format!("ls {path}")).0, "it was removed");
    let journal = lab.journals().pop().unwrap();
    let kept = std::fs::read_to_string(journal).unwrap();
    assert!(kept.contains("\"event\":\"drift\"") && kept.contains(path), "{kept}");
    let page = lab.file("status.html");
    let said = lab.done(&["status", "-i", &lab.inventory(), "--html", &page]);
    print!("{said}");
    assert!(said.contains("3 of 3 voters answer, quorum 2"), "{said}");
    assert!(std::fs::read_to_string(&page).unwrap().contains("by-hand.yaml"));
    if let Some(keep) = std::env::var_os("PROVISION_LAB_PAGE") {
        std::fs::copy(&page, keep).unwrap();
    }
    lab.must("w2", &format!("rm {path}"));
    lab.must("cp1", &format!("{kubectl} taint node w2 by=hand:PreferNoSchedule-"));
    let out = lab.provision(&["plan", "-i", &lab.inventory(), "-b", &lab.bundle()]);
    assert!(stdout(&out).contains("is what the inventory says"), "{}", stdout(&out));
}
