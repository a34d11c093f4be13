//! The built-in registry, out of a bundle that was carried over as last month's bundle, a delta and volumes; and the chart that is
//! pulled from it.

use std::process::Command;

use super::chart;
use super::harness::{Lab, stderr, stdout};

/// One of the registry's hosts refuses everybody from before the first pull, and later loses its power.
#[test]
#[ignore = "needs root and podman; run by tests/run"]
fn a_builtin_registry() {
    let last_month = tempfile::tempdir().unwrap();
    let base = last_month.path().join("bundle").to_string_lossy().into_owned();
    let lab = Lab::prepare("base", 1, 0);
    assert!(Command::new("cp").args(["-r", &lab.bundle(), &base]).status().unwrap().success());
    drop(lab);

    let upstream = chart::Upstream::start();
    let with = upstream.inventory_and("[registry]\nmode = \"builtin\"\nhosts = [\"w1\", \"w2\"]\n");
    let lab = Lab::prepare_with("registry", 1, 2, Some(&with));
    drop(upstream);
    lab.is_cut_off();
    // With this endpoint the balancer's image is the chart's alone: it has to be pulled.
    let builtin =
        |t: &str| t.replace("mode = \"haproxy\"\nimage = \"docker.io/library/haproxy:2.6\"", "mode = \"first-node\"");
    let inventory = lab.edited("builtin.toml", builtin);
    let bundle = carried_over(&lab, &base, &inventory);
    let both = ["-i", &inventory, "-b", &bundle];
    lab.must("w1", "iptables -I INPUT -p tcp --dport 5443 -j REJECT --reject-with tcp-reset");
    lab.done(&[&["apply", "-y"][..], &both].concat());
    assert_eq!(chart::page(&lab), "good morning");
    for node in lab.nodes() {
        lab.must(&node, "test \"$(stat -c %a /etc/provision/registry-ca.crt)\" = 644");
        // Nobody but the hosts of the registry has its keys, and these only root.
        lab.must(&node, "! find / -xdev -path /etc/provision/registry -prune -o -name 'server.key' -print | grep -v pki/etcd | grep .");
    }
    lab.must("w2", "test \"$(stat -c '%a %u' /etc/provision/registry/ca.key)\" = '600 0'");
    for path in lab.journals() {
        assert!(!std::fs::read_to_string(path).unwrap().contains("PRIVATE KEY"), "a key in the journal");
    }
    let out = lab.provision(&[&["plan", "--detailed-exitcode"][..], &both].concat());
    assert_eq!(out.status.code(), Some(0), "{}{}", stdout(&out), stderr(&out));

    drift(&lab, &both);
    a_chart_lives(&lab, &bundle, builtin);

    // Gone altogether: the others go on pulling.
    lab.power_off("w1");
    for node in ["cp1", "w2"] {
        lab.must(
            node,
            "ctr -n pulled images pull --hosts-dir /etc/containerd/certs.d docker.io/library/haproxy:2.6 && \
             ! ctr -n pulled images pull --hosts-dir /etc/containerd/certs.d docker.io/library/other:1",
        );
    }
}

/// Last month's bundle and this month's delta, merged on the far side, and taken further as volumes. Signed all along.
fn carried_over(lab: &Lab, base: &str, inventory: &str) -> String {
    let (delta, whole, media) = (lab.file("delta.tar"), lab.file("whole"), lab.file("media.tar"));
    let ok = |args: &[&str]| {
        let out = lab.provision(&[&["bundle"][..], args].concat());
        assert!(out.status.success(), "{args:?}: {}", stderr(&out));
    };
    ok(&["delta", "--have", base, &lab.bundle(), "-o", &delta]);
    let size = |path: &str| std::fs::metadata(path).unwrap().len();
    ok(&["merge", &delta, base, "-o", &whole]);
    ok(&["verify", &whole, "-i", inventory]);
    ok(&["pack", &whole, "-o", &media, "--split", "64MiB"]);
    let volumes: u64 =
        (1..).map(|n| format!("{media}.{n:03}")).take_while(|p| std::fs::exists(p).unwrap()).map(|p| size(&p)).sum();
    assert!(size(&delta) < volumes / 2, "the delta has {} of {volumes} bytes", size(&delta));
    // Nothing but the volumes is left to apply from.
    for gone in [lab.bundle(), whole, base.to_owned()] {
        std::fs::remove_dir_all(gone).unwrap();
    }
    format!("{media}.001")
}

/// What is changed by hand on a host of the registry is named, and mended.
fn drift(lab: &Lab, both: &[&str]) {
    let plan = || {
        let out = lab.provision(&[&["plan", "--format", "json"][..], both].concat());
        let plan: serde_json::Value = serde_json::from_str(&stdout(&out)).unwrap();
        lab.changes(plan["steps"].as_array().unwrap())
    };
    lab.must("w2", "rm /etc/provision/registry/server.crt");
    lab.must("cp1", "echo >>/etc/provision/registry-ca.crt");
    let found = plan();
    for id in ["registry/w2/identity", "registry/w2/service", "registry/cp1/trust"] {
        assert!(found.iter().any(|f| f == id), "{found:?}");
    }
    lab.done(&[&["apply", "-y"][..], both].concat());
    assert_eq!(plan(), Vec::<String>::new());
    lab.must("w2", "systemctl is-active provision-registry");
}

/// The project's own sample chart: upgraded, put back by helm when its upgrade does not run, mended.
fn a_chart_lives(lab: &Lab, bundle: &str, builtin: impl Fn(&str) -> String) {
    let apply = |file: &str, from: &str, to: &str| {
        let inventory = lab.edited(file, |t| builtin(t).replace(from, to).replace("timeout_s = 60", "timeout_s = 30"));
        lab.provision(&["apply", "-y", "-i", &inventory, "-b", bundle])
    };
    let out = apply("evening.toml", "good morning", "good evening");
    assert!(out.status.success(), "{}", stderr(&out));
    assert_eq!(chart::page(lab), "good evening");

    // A page that never comes: helm puts the release back to what ran, and the error says so.
    let never = "message = \"good night\"\nreadyPath = \"/missing\"";
    let out = apply("broken.toml", "message = \"good morning\"", never);
    assert_eq!(out.status.code(), Some(1), "{}", stderr(&out));
    assert!(stderr(&out).contains("rolled back"), "{}", stderr(&out));
    assert_eq!(chart::page(lab), "good evening");

    let out = apply("morning.toml", "", "");
    assert!(out.status.success(), "{}", stderr(&out));
    assert_eq!(chart::page(lab), "good morning");
    let out = lab.provision(&["plan", "--detailed-exitcode", "-i", &lab.file("morning.toml"), "-b", bundle]);
    assert_eq!(out.status.code(), Some(0), "{}{}", stdout(&out), stderr(&out));
}
