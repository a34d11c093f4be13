//! An etcd beside Kubernetes, on real systemd and real etcd.

use crate::harness::{Lab, stderr};

const KUBECTL: &str = "kubectl --kubeconfig /etc/kubernetes/admin.conf";
const UNIT: &str = "provision-etcd.service";

pub fn lives(lab: &Lab) {
    apart(lab);
    built(lab);
    changed_while_the_api_is_asked(lab);
    lost_disk(lab);
    refused(lab);
    reset_and_back(lab);
}

/// The lab's workers become hosts of etcd.
fn apart(lab: &Lab) {
    let path = lab.edited("inventory.toml", |t| {
        t.replace("role = \"worker\"", "role = \"etcd\"")
            .replace("role = \"control-plane\"", "role = \"both\"")
            .replace("labels = { \"provision.lab/pool\" = \"workers\" }\n", "")
            .replace("[etcd]\n", "[etcd]\nmode = \"external\"\nhosts = [\"w1\", \"w2\", \"w3\"]\n")
    });
    let out = lab.provision(&["validate", "-i", &path]);
    assert!(out.status.success(), "{}", stderr(&out));
    assert!(stderr(&out).is_empty(), "{}", stderr(&out));
}

fn applied(lab: &Lab) {
    let begun = std::time::Instant::now();
    lab.applied();
    println!("   applied after {:.0} s", begun.elapsed().as_secs_f64());
    assert_eq!(lab.plan(), (0, vec![]));
}

fn built(lab: &Lab) {
    println!("-- built");
    applied(lab);
    let said = lab.done(&["status", "-i", &lab.inventory()]);
    print!("{said}");
    let counts = |l: &&str| (l.contains(" member ") || l.contains(" leader ")) && l.ends_with(" etcd");
    assert_eq!(said.lines().filter(counts).count(), 3);
    for node in ["w1", "w2", "w3"] {
        lab.must(node, "! ls /usr/local/bin/kubelet /usr/local/bin/containerd /etc/kubernetes");
        lab.must(node, "[ $(stat -c %a-%U /etc/provision/etcd/*.key | sort -u) = 600-root ]");
        lab.must(node, &format!("systemctl is-enabled {UNIT} && [ $(ps -o user= -C etcd) != root ]"));
        // Who has no certificate has no answer.
        lab.must(node, "! ETCDCTL_API=3 etcdctl --endpoints https://127.0.0.1:2379 --insecure-skip-tls-verify --command-timeout=3s get a");
    }
    lab.must("cp1", "! ls /etc/kubernetes/manifests/etcd.yaml /var/lib/etcd/member");
    lab.must("cp1", "! find / -xdev -path /proc -prune -o -path '*etcd*' -name 'ca.key' -print | grep .");
    lab.must("cp1", "[ $(stat -c %a-%U /etc/provision/etcd-client/apiserver-etcd-client.key) = 600-root ]");
    lab.must("cp1", &format!("{KUBECTL} create configmap before --from-literal=a=b"));
    let nodes = lab.exec("cp1", &format!("{KUBECTL} get nodes -o name")).1;
    assert_eq!(nodes.trim(), "node/cp1");
}

/// One member after the other starts with a new argument; a client that tries once more notices nothing.
fn changed_while_the_api_is_asked(lab: &Lab) {
    println!("-- changed");
    lab.must(
        "cp1",
        &format!(
            "(n=0; while [ ! -e /tmp/enough ]; do n=$((n + 1)); for i in 1 2 3; do {KUBECTL} --request-timeout=5s \
             create configmap beat-$n-$i >/dev/null 2>>/tmp/errors && break; [ $i = 3 ] && echo $n >>/tmp/failed; \
             sleep 0.5; done; sleep 0.2; done; echo $n >/tmp/beats) >/dev/null 2>&1 &"
        ),
    );
    lab.edited("inventory.toml", |t| {
        t.replace("[etcd]\n", "[etcd]\nextra_args = { max-request-bytes = \"2097152\" }\n")
    });
    let (_, steps) = lab.plan();
    println!("   {:?}", lab.changes(&steps));
    applied(lab);
    lab.must(
        "cp1",
        "touch /tmp/enough; for i in 1 2 3 4 5 6 7 8 9 10; do [ -s /tmp/beats ] && exit 0; sleep 1; done; exit 1",
    );
    println!("   writes: {}", lab.exec("cp1", "cat /tmp/beats; wc -l </tmp/errors").1.replace('\n', " "));
    lab.must("cp1", "! cat /tmp/failed");
    for node in ["w1", "w2", "w3"] {
        lab.must(node, "tr '\\0' ' ' </proc/$(pidof etcd)/cmdline | grep -e --max-request-bytes=2097152");
    }
}

/// A member that lost all its data is taken out and entered again, and has everything.
fn lost_disk(lab: &Lab) {
    println!("-- lost disk");
    lab.must("w2", &format!("systemctl stop {UNIT}; rm -rf /var/lib/private/provision-etcd/member"));
    let (_, steps) = lab.plan();
    println!("   {:?}", lab.changes(&steps));
    applied(lab);
    let own = "ETCDCTL_API=3 etcdctl --endpoints https://127.0.0.1:2379 --cacert /etc/provision/etcd/ca.crt \
               --cert /etc/provision/etcd/server.crt --key /etc/provision/etcd/server.key";
    lab.must("w2", &format!("{own} get --consistency=s /registry/configmaps/default/before --keys-only | grep before"));
    lab.must("cp1", &format!("{KUBECTL} get configmap before"));
}

/// What would be a loss is refused, and what somebody else's tools do is said.
fn refused(lab: &Lab) {
    println!("-- refused");
    let fewer = lab.edited("fewer.toml", |t| {
        let third = t.split("\n[[hosts]]").nth(4).unwrap().to_owned();
        t.replace(", \"w3\"]", "]").replace(&format!("\n[[hosts]]{third}"), "")
    });
    let out = lab.provision(&["plan", "-i", &fewer, "-b", &lab.bundle()]);
    assert_eq!(out.status.code(), Some(5), "{}", stderr(&out));
    assert!(stderr(&out).contains("w3"), "{}", stderr(&out));
    print!("{}", stderr(&out));
}

/// A reset host leaves etcd, and the next apply enters it again.
fn reset_and_back(lab: &Lab) {
    println!("-- reset");
    lab.done(&["reset", "--host", "w3", "--confirm", "w3", "-i", &lab.inventory()]);
    lab.must("w3", "! ls /etc/provision /var/lib/provision /var/lib/private/provision-etcd /var/lib/provision-etcd /usr/local/bin/etcd");
    lab.must("cp1", &format!("{KUBECTL} get configmap before"));
    applied(lab);
}
