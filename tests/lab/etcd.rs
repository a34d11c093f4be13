//! etcd's majority is lost on a real cluster, and comes back from a backup that the real age made readable.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use super::harness::{Lab, stderr, stdout};
use super::watch::Watch;

/// The age key pair, and the inventory with its recipient.
pub fn with_recipient(lab: &Lab) -> (String, String) {
    let key = lab.file("backup.key");
    assert!(Command::new("age-keygen").args(["-o", &key]).output().unwrap().status.success());
    let recipient = stdout(&Command::new("age-keygen").args(["-y", &key]).output().unwrap());
    let backup = format!("[backup]\nrecipients = [\"{}\"]\nkeep = 1\n\n[defaults]", recipient.trim());
    (key, lab.edited("backup.toml", |t| t.replacen("[defaults]", &backup, 1)))
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
    assert_eq!((on("cp1"), on("cp2"), on("w1")), (16, 16, 4), "{report:#}");
    assert!(!stdout(&out).contains("PRIVATE"));
    assert_eq!(check("400").status.code(), Some(2));
}

/// Takes a backup twice: encrypted, private, readable by the real age, and only the newest stays.
pub fn backed_up(lab: &Lab, inventory: &str, key: &str) -> String {
    println!("-- etcd snapshot");
    let dir = lab.file("backups");
    let refused = lab.provision(&["etcd", "snapshot", "-i", &lab.inventory(), "-o", &dir]);
    assert_eq!(refused.status.code(), Some(5), "{}", stderr(&refused));
    for _ in 0..2 {
        let out = lab.provision(&["etcd", "snapshot", "-i", inventory, "-o", &dir]);
        assert!(out.status.success(), "{}{}", stdout(&out), stderr(&out));
    }
    let files: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|e| e.unwrap().path()).collect();
    let [file] = files.as_slice() else { panic!("{files:?}") };
    assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    let file = file.to_string_lossy().into_owned();
    let listed =
        Command::new("sh").args(["-c", "age -d -i \"$1\" \"$2\" | tar -t", "sh", key, &file]).output().unwrap();
    let listed = stdout(&listed);
    for entry in
        ["manifest.json", "root/etc/kubernetes/pki/etcd/ca.key", "kubeadm/kubeadm-config.json", "etcd/snapshot.db"]
    {
        assert!(listed.lines().any(|l| l == entry), "{entry}: {listed}");
    }
    for node in ["cp1", "cp2", "cp3"] {
        lab.must(node, "! ls /var/lib/provision/etcd-snapshot");
    }
    file
}

/// Two of three control planes are destroyed, and bare hosts stand in their place; the backup brings the cluster back on
/// all of them, and nothing that came after it.
pub fn lost_and_restored(lab: &Lab, inventory: &str, key: &str, backup: &str) {
    println!("-- etcd restore");
    let restore = |more: &[&str]| {
        let args = ["etcd", "restore", "-i", inventory, "-b", &lab.bundle(), backup, "--identity", key, "--on", "cp2"];
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
    lab.must("cp2", "for n in $(seq 60); do kubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout=3s get ns || exit 0; sleep 1; done; exit 1");
    // While they are gone nothing is begun.
    let out = restore(&["--confirm", "lost"]);
    assert_eq!(out.status.code(), Some(4), "{}", stderr(&out));
    assert!(stderr(&out).contains("2 of 4 hosts cannot be used"), "{}", stderr(&out));
    for node in ["cp1", "cp3"] {
        lab.rebuild(node, inventory);
    }
    let out = restore(&["--confirm", "lost"]);
    assert!(out.status.success(), "{}{}", stdout(&out), stderr(&out));
    let path = lab.file("admin.conf");
    assert!(lab.provision(&["kubeconfig", "-i", inventory, "-o", &path]).status.success());
    let names = lab.kubectl(&path, &["get", "configmaps", "-o", "name"]);
    assert!(names.contains("configmap/before") && !names.contains("configmap/after"), "{names}");
    let out = lab.provision(&["status", "--format", "json", "-i", inventory]);
    assert!(out.status.success(), "{}{}", stdout(&out), stderr(&out));
    let status: serde_json::Value = serde_json::from_str(&stdout(&out)).unwrap();
    let members = status["hosts"].as_array().unwrap().iter().filter(|h| h["etcd"] == "member").count();
    assert_eq!(members, 3, "{status:#}");
    lab.must("cp2", "ls /var/lib/provision/before-restore-*/pki/ca.key && [ \"$(stat -c %a /var/lib/provision/before-restore-*)\" = 700 ]");
    lab.must("cp1", "! ls -d /var/lib/provision/before-restore-*");
    let out = lab.provision(&["apply", "-y", "-i", inventory, "-b", &lab.bundle()]);
    assert!(out.status.success() && stdout(&out).ends_with("no changes\n"), "{}{}", stdout(&out), stderr(&out));
}

/// The certificates of kubeadm are new on every control plane, and in use; a client that wrote and watched all along lost
/// nothing.
pub fn certificates_are_renewed(lab: &Lab, inventory: &str) {
    println!("-- certs renew");
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
    let watch = Watch::start(lab);
    let out = lab.provision(&["certs", "renew", "--yes", "-i", inventory]);
    assert!(out.status.success(), "{}{}", stdout(&out), stderr(&out));
    watch.end();
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
    assert!(lab.provision(&["status", "-i", inventory]).status.success());
}

/// No journal of all this holds a key or what a snapshot holds.
pub fn no_secret_was_recorded(lab: &Lab) {
    for path in lab.journals() {
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains("PRIVATE KEY") && !text.contains("AGE-SECRET"), "{}", path.display());
    }
}
