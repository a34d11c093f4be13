//! etcd's majority is lost on a real cluster, and comes back from a backup that the real age made readable.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use super::harness::{Lab, stderr, stdout};
use super::release;
use super::watch::Watch;

/// A key pair of the real age.
pub struct Keys {
    dir: tempfile::TempDir,
}

impl Keys {
    pub fn make() -> Self {
        let this = Self { dir: tempfile::tempdir().unwrap() };
        assert!(Command::new("age-keygen").args(["-o", &this.secret()]).output().unwrap().status.success());
        let recipient = stdout(&Command::new("age-keygen").args(["-y", &this.secret()]).output().unwrap());
        // In the middle of nobody's test.
        let text =
            format!("[backup]\nrecipients = [\"{}\"]\nkeep = 1\nschedule = \"*-02-29 04:00 UTC\"\n", recipient.trim());
        std::fs::write(this.inventory(), text).unwrap();
        this
    }

    pub fn secret(&self) -> String {
        self.dir.path().join("backup.key").to_string_lossy().into_owned()
    }

    /// What a lab's inventory says of backups.
    pub fn inventory(&self) -> String {
        self.dir.path().join("backup.toml").to_string_lossy().into_owned()
    }

    /// The entries of a backup, as the real age and tar show them.
    fn list(&self, file: &str) -> String {
        let line = "age -d -i \"$1\" \"$2\" | tar -t";
        stdout(&Command::new("sh").args(["-c", line, "sh", &self.secret(), file]).output().unwrap())
    }

    fn holds_all(&self, file: &str) {
        let listed = self.list(file);
        for entry in
            ["manifest.json", "root/etc/kubernetes/pki/etcd/ca.key", "kubeadm/kubeadm-config.json", "etcd/snapshot.db"]
        {
            assert!(listed.lines().any(|l| l == entry), "{entry}: {listed}");
        }
    }
}

/// Every certificate is found; the exit code says whether one has too few days.
pub fn certificates_are_checked(lab: &Lab) {
    println!("-- certs check");
    let check =
        |days: &str| lab.provision(&["certs", "check", "--format", "json", "--days", days, "-i", &lab.inventory()]);
    let out = check("30");
    assert_eq!(out.status.code(), Some(0), "{}{}", stdout(&out), stderr(&out));
    let report: serde_json::Value = serde_json::from_str(&stdout(&out)).unwrap();
    let found = report["certificates"].as_array().unwrap();
    let on = |host: &str| found.iter().filter(|c| c["host"] == host).count();
    // 8 of kubeadm's leaves, 3 CAs, 3 kubeconfigs, the kubelet's client and serving certificate with its CA.
    // On the host of `kubeadm init` perhaps the kubeconfig of another administrator.
    let first = if release::has_super_admin(release::minor(lab)) { 17 } else { 16 };
    assert_eq!((on("cp1"), on("cp2"), on("w1")), (first, 16, 4), "{report:#}");
    assert!(!stdout(&out).contains("PRIVATE"));
    assert_eq!(check("400").status.code(), Some(2));
}

/// Takes a backup twice: encrypted, private, readable by the real age, and only the newest stays.
pub fn backed_up(lab: &Lab, keys: &Keys) {
    println!("-- etcd snapshot");
    let dir = lab.file("backups");
    let nobody = lab.edited("nobody.toml", |t| {
        let kept = |l: &&str| !l.starts_with("recipients") && !l.starts_with("schedule");
        t.lines().filter(kept).map(|l| format!("{l}\n")).collect()
    });
    let refused = lab.provision(&["etcd", "snapshot", "-i", &nobody, "-o", &dir]);
    assert_eq!(refused.status.code(), Some(5), "{}", stderr(&refused));
    for _ in 0..2 {
        lab.done(&["etcd", "snapshot", "-i", &lab.inventory(), "-o", &dir]);
    }
    let files: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|e| e.unwrap().path()).collect();
    let [file] = files.as_slice() else { panic!("{files:?}") };
    assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    keys.holds_all(&file.to_string_lossy());
    for node in ["cp1", "cp2", "cp3"] {
        lab.must(node, "! ls /var/lib/provision/etcd-snapshot");
    }
}

/// What the timers of the control planes do when their time comes. Returns the backup that cp3 took by itself.
pub fn backed_up_by_itself(lab: &Lab, keys: &Keys) -> String {
    println!("-- scheduled backup");
    // As if the cluster had been reached elsewhere then: the restore tells joining hosts where it is now.
    lab.must(
        "cp3",
        "k='kubectl --kubeconfig /etc/kubernetes/admin.conf -n kube-public'; $k get configmap cluster-info -o yaml | \
         sed 's|server: https://[^ \\\"]*|server: https://192.0.2.1:6443|' | $k replace -f -",
    );
    for node in ["cp1", "cp2", "cp3"] {
        lab.must(
            node,
            "systemctl is-active provision-etcd-snapshot.timer && systemctl is-enabled provision-etcd-snapshot.timer",
        );
        lab.must(node, "systemctl start provision-etcd-snapshot.service || { journalctl --no-pager -u provision-etcd-snapshot; exit 1; }");
        lab.must(node, "! ls /var/lib/provision/etcd-snapshot /run/provision-etcd-snapshot");
        lab.must(
            node,
            "[ \"$(stat -c %a /var/lib/provision-backups) $(stat -c %a /var/lib/provision-backups/*)\" = '700 600' ]",
        );
    }
    lab.must("w1", "! systemctl cat provision-etcd-snapshot.timer && ! ls /var/lib/provision-backups");
    lab.must("cp3", "sleep 1; systemctl start provision-etcd-snapshot.service");
    let (_, name) = lab.exec("cp3", "ls /var/lib/provision-backups");
    assert_eq!(name.lines().count(), 1, "the inventory keeps 1: {name}");
    let file = lab.copy_from("cp3", &format!("/var/lib/provision-backups/{}", name.trim()));
    keys.holds_all(&file);
    let (_, said) = lab.exec("cp3", "journalctl --no-pager -u provision-etcd-snapshot");
    assert!(said.contains("etcd's revision") && !said.contains("PRIVATE KEY"), "{said}");
    file
}

/// Two of three control planes are destroyed, and bare hosts stand in their place; the backup brings the cluster back on
/// all of them, and nothing that came after it.
pub fn lost_and_restored(lab: &Lab, keys: &Keys, backup: &str) {
    println!("-- etcd restore");
    let (inventory, bundle, secret) = (lab.inventory(), lab.bundle(), keys.secret());
    let inventory = inventory.as_str();
    let restore = |more: &[&str]| {
        let args = ["etcd", "restore", "-i", inventory, "-b", &bundle, backup, "--identity", &secret, "--on", "cp2"];
        lab.provision(&[&args[..], more].concat())
    };
    let out = restore(&["--confirm", "wrong"]);
    assert_eq!(out.status.code(), Some(5), "{}", stderr(&out));
    let out = restore(&["--confirm", "lost"]);
    assert_eq!(out.status.code(), Some(5), "{}", stderr(&out));
    assert!(stderr(&out).contains("etcd has quorum"), "{}", stderr(&out));
    for node in ["cp1", "cp3"] {
        lab.destroy(node);
    }
    let gone = "! kubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout=3s get ns";
    lab.until("cp2", "the API to end without a majority of etcd", 60, gone);
    // While they are gone nothing is begun.
    let out = restore(&["--confirm", "lost"]);
    assert_eq!(out.status.code(), Some(4), "{}", stderr(&out));
    assert!(stderr(&out).contains("2 of 4 hosts cannot be used"), "{}", stderr(&out));
    for node in ["cp1", "cp3"] {
        lab.rebuild(node);
    }
    let out = restore(&["--confirm", "lost"]);
    assert!(out.status.success(), "{}{}", stdout(&out), stderr(&out));
    let path = lab.file("admin.conf");
    lab.done(&["kubeconfig", "-i", inventory, "-o", &path]);
    let names = lab.kubectl(&path, &["get", "configmaps", "-o", "name"]);
    assert!(names.contains("configmap/before") && !names.contains("configmap/after"), "{names}");
    let status: serde_json::Value =
        serde_json::from_str(&lab.done(&["status", "--format", "json", "-i", inventory])).unwrap();
    let members = status["hosts"].as_array().unwrap().iter().filter(|h| h["etcd"] == "member").count();
    assert_eq!(members, 3, "{status:#}");
    lab.must("cp2", "ls /var/lib/provision/before-restore-*/pki/ca.key && [ \"$(stat -c %a /var/lib/provision/before-restore-*)\" = 700 ]");
    lab.must("cp1", "! ls -d /var/lib/provision/before-restore-*");
    // What ran there before is gone for its kubelet too: a pod of that time ends.
    lab.must("cp2", "kubectl --kubeconfig /etc/kubernetes/admin.conf -n kube-system delete pods -l k8s-app=kube-proxy --field-selector spec.nodeName=cp2 --timeout=300s");
    assert!(lab.applied().ends_with("no changes\n"));
    lab.must("cp1", "systemctl is-active provision-etcd-snapshot.timer");
}

/// The certificates of kubeadm are new on every control plane, and in use; a client that wrote and watched all along lost
/// nothing.
pub fn certificates_are_renewed(lab: &Lab) {
    println!("-- certs renew");
    let inventory = lab.inventory();
    let inventory = inventory.as_str();
    let until = |path: &str| {
        let out = lab.provision(&["certs", "check", "--format", "json", "-i", inventory]);
        let report: serde_json::Value = serde_json::from_str(&stdout(&out)).unwrap();
        let found = report["certificates"].as_array().unwrap();
        let of = |c: &&serde_json::Value| c["path"].as_str().unwrap() == path;
        found.iter().filter(of).map(|c| c["not_after"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let paths =
        ["/etc/kubernetes/pki/apiserver.crt", "/etc/kubernetes/pki/etcd/peer.crt", "/etc/kubernetes/scheduler.conf"];
    let before = paths.map(until);
    // What reads its certificates again by itself goes on as it is.
    let servers = |node: &str| {
        let running = "for c in etcd kube-apiserver; do ctr -n k8s.io containers ls -q \"labels.\\\"io.kubernetes.container.name\\\"==$c\"; done";
        lab.exec(node, running).1
    };
    let ran = ["cp1", "cp2", "cp3"].map(servers);
    let watch = Watch::start(lab);
    lab.done(&["certs", "renew", "--yes", "-i", inventory]);
    watch.end();
    assert_eq!(["cp1", "cp2", "cp3"].map(servers), ran, "etcd or an API server was restarted");
    for (path, old) in paths.iter().zip(before) {
        let new = until(path);
        assert_eq!(new.len(), 3, "{path}");
        assert!(new.iter().all(|n| old.iter().all(|o| n > o)), "{path}: {old:?} {new:?}");
    }
    // What the API servers serve is the new one.
    for node in ["cp1", "cp2", "cp3"] {
        let server = format!("{}:6443", lab.address(node));
        let args = ["-c", "openssl s_client -connect \"$1\" </dev/null 2>/dev/null | openssl x509", "sh", &server];
        let served = stdout(&Command::new("sh").args(args).output().unwrap());
        let (_, on_disk) = lab.exec(node, "cat /etc/kubernetes/pki/apiserver.crt");
        assert!(served.contains("BEGIN CERTIFICATE") && on_disk.contains(served.trim()), "{node}: {served}\n{on_disk}");
    }
    lab.done(&["status", "-i", inventory]);
}

/// No journal of all this holds a key or what a snapshot holds.
pub fn no_secret_was_recorded(lab: &Lab) {
    for path in lab.journals() {
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains("PRIVATE KEY") && !text.contains("AGE-SECRET"), "{}", path.display());
    }
}
