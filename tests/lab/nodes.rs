//! Nodes come and go on a real cluster: a worker that joins and leaves with a disruption budget in the way, and control
//! planes whose machines are gone, the first one too.

use std::process::Output;
use std::sync::atomic::Ordering;

use super::harness::{Lab, patience, stderr, stdout};
use super::release;
use super::upgrade::{Reader, answers, workload};

/// The lab's inventory without these hosts, and with a drain that ends soon after a pod's own grace of 10 s.
fn without(lab: &Lab, file: &str, hosts: &[&str]) -> String {
    lab.edited(file, |text| {
        let mut parts = text.split("\n[[hosts]]\n");
        let head = parts.next().unwrap().to_owned();
        let stays = |h: &&str| !hosts.iter().any(|name| h.starts_with(&format!("name = \"{name}\"")));
        let rest: String = parts.filter(stays).map(|h| format!("\n[[hosts]]\n{h}")).collect();
        format!("{head}{rest}\n[upgrade.drain]\ntimeout_s = {}\n", patience(30).as_secs())
    })
}

fn kubectl(lab: &Lab, node: &str, line: &str) -> String {
    let (ok, text) = lab.exec(node, &format!("kubectl --kubeconfig /etc/kubernetes/admin.conf {line}"));
    assert!(ok, "kubectl {line}: {text}");
    text
}

fn well(out: &Output) {
    assert!(out.status.success(), "{}{}", stdout(out), stderr(out));
}

/// The names of etcd's members.
fn members(lab: &Lab, node: &str) -> Vec<String> {
    let (ok, text) = lab.exec(
        node,
        "p=/etc/kubernetes/pki/etcd; ETCDCTL_API=3 etcdctl --endpoints https://127.0.0.1:2379 --cacert $p/ca.crt --cert $p/healthcheck-client.crt --key $p/healthcheck-client.key member list",
    );
    assert!(ok, "{text}");
    let mut names: Vec<String> = text.lines().filter_map(|l| l.split(", ").nth(2)).map(str::to_owned).collect();
    names.sort();
    names
}

fn names(text: &str) -> Vec<String> {
    let mut all: Vec<String> = text.lines().map(|l| l.trim_start_matches("node/").to_owned()).collect();
    all.sort();
    all
}

/// `apply` has nothing to do, and the cluster is these nodes.
fn is_settled(lab: &Lab, inventory: &str, through: &str, nodes: &[&str]) {
    let out = lab.provision(&["apply", "-y", "-i", inventory, "-b", &lab.bundle()]);
    assert!(out.status.success() && stdout(&out).ends_with("no changes\n"), "{}{}", stdout(&out), stderr(&out));
    assert_eq!(names(&kubectl(lab, through, "get nodes -o name")), nodes);
    let planes: Vec<&str> = nodes.iter().copied().filter(|n| n.starts_with("cp")).collect();
    assert_eq!(members(lab, through), planes);
    let path = lab.file("admin.conf");
    well(&lab.provision(&["kubeconfig", "-i", inventory, "-o", &path]));
    let kept = lab.kubectl(&path, &["get", "configmap", "before", "-o", "name"]);
    assert_eq!(kept.trim(), "configmap/before");
}

pub fn come_and_go(lab: &Lab) {
    let small = without(lab, "small.toml", &["cp4", "cp5", "w2"]);
    let grown = without(lab, "grown.toml", &["cp4", "cp5"]);
    let apply = |inventory: &str| lab.provision(&["apply", "-y", "-i", inventory, "-b", &lab.bundle()]);
    well(&apply(&small));
    kubectl(lab, "cp1", "create configmap before");
    println!("-- a worker comes");
    well(&apply(&grown));
    is_settled(lab, &grown, "cp1", &["cp1", "cp2", "cp3", "w1", "w2"]);
    a_worker_goes(lab, &grown);
    is_settled(lab, &small, "cp1", &["cp1", "cp2", "cp3", "w1"]);

    println!("-- the first control plane is destroyed");
    lab.destroy("cp1");
    let first = without(lab, "first.toml", &["cp1", "cp5", "w2"]);
    let begun = std::time::Instant::now();
    let out = lab.provision(&["node", "remove", "cp2", "--confirm", "cp2", "-i", &first, "-b", &lab.bundle()]);
    assert_eq!(out.status.code(), Some(5), "{}{}", stdout(&out), stderr(&out));
    assert!(stderr(&out).contains("lose its quorum") && stderr(&out).contains("node remove cp1"), "{}", stderr(&out));
    let out = apply(&first);
    assert_eq!(out.status.code(), Some(5), "{}{}", stdout(&out), stderr(&out));
    assert!(stderr(&out).contains("node replace cp1"), "{}", stderr(&out));
    let replace = |old: &str, new: &str, inventory: &str| {
        lab.provision(&["node", "replace", old, new, "--confirm", old, "-i", inventory, "-b", &lab.bundle()])
    };
    let out = replace("cp1", "cp4", &first);
    well(&out);
    println!("{}   after {} s", stdout(&out), begun.elapsed().as_secs());
    is_settled(lab, &first, "cp2", &["cp2", "cp3", "cp4", "w1"]);
    // What kubeadm keeps of the API servers names those that are there.
    let status = kubectl(lab, "cp4", "-n kube-system get configmap kubeadm-config -o 'jsonpath={.data.ClusterStatus}'");
    assert_eq!(!status.is_empty(), release::keeps_cluster_status(release::minor(lab)), "{status}");
    assert!(!status.contains("cp1:"), "{status}");

    println!("-- another is destroyed");
    lab.destroy("cp3");
    let both = without(lab, "both.toml", &["cp1", "w2"]);
    let out = replace("cp3", "cp5", &both);
    well(&out);
    println!("{}", stdout(&out));
    assert!(stdout(&out).contains("does not answer") && stdout(&out).contains("both.toml:"), "{}", stdout(&out));
    let second = without(lab, "second.toml", &["cp1", "cp3", "w2"]);
    is_settled(lab, &second, "cp2", &["cp2", "cp4", "cp5", "w1"]);
    let out = lab.provision(&["status", "-i", &second]);
    well(&out);
}

/// First its budget lets no pod go, then one at a time: the workload answers all along.
fn a_worker_goes(lab: &Lab, inventory: &str) {
    println!("-- a worker goes");
    let strict = workload(lab, 2);
    lab.must("cp1", &format!("cat >/run/web.yaml <<'EOF'\n{strict}\nEOF"));
    kubectl(lab, "cp1", "apply -f /run/web.yaml");
    kubectl(lab, "cp1", "rollout status deploy/web --timeout=300s");
    let places =
        || kubectl(lab, "cp1", "get pods -l app=web -o 'jsonpath={range .items[*]}{.spec.nodeName}{\"\\n\"}{end}'");
    assert_eq!(names(&places()), ["w1", "w2"]);
    let doors: Vec<_> =
        ["cp2", "cp3", "w1"].iter().map(|n| format!("{}:30080", lab.address(n)).parse().unwrap()).collect();
    answers(&doors);
    let reader = Reader::start(doors);
    let remove = || lab.provision(&["node", "remove", "w2", "--confirm", "w2", "-i", inventory, "-b", &lab.bundle()]);
    let out = remove();
    assert_eq!(out.status.code(), Some(1), "{}{}", stdout(&out), stderr(&out));
    let said = stderr(&out);
    println!("{said}");
    assert!(said.contains("default/web") && said.contains("w2 stays in the cluster and takes pods again"), "{said}");
    let off = kubectl(lab, "cp1", "get node w2 -o 'jsonpath={.spec.unschedulable}|{.metadata.annotations}'");
    assert!(off.starts_with('|') && !off.contains("leaving"), "{off}");
    assert_eq!(names(&places()), ["w1", "w2"]);

    lab.must("cp1", "sed -i 's/minAvailable: 2/minAvailable: 1/' /run/web.yaml");
    kubectl(lab, "cp1", "apply -f /run/web.yaml");
    let begun = std::time::Instant::now();
    let out = remove();
    well(&out);
    println!("{}   after {} s", stdout(&out), begun.elapsed().as_secs());
    assert!(stdout(&out).contains("its host is bare") && stdout(&out).contains("grown.toml:"), "{}", stdout(&out));
    lab.must("w2", "! ls /etc/kubernetes /var/lib/kubelet /etc/provision /usr/local/bin/kubelet 2>/dev/null");
    lab.must("w1", &format!("! grep -r '{}' /etc/systemd/system/provision-pod-routes.service", lab.address("w2")));
    kubectl(lab, "cp1", "rollout status deploy/web --timeout=300s");
    let (asked, failed) = (reader.well.load(Ordering::Relaxed), reader.failed.load(Ordering::Relaxed));
    println!("   asked {asked} times, {failed} failed");
    assert!(asked > 50 && failed == 0, "{failed} of {} requests failed", asked + failed);
}
