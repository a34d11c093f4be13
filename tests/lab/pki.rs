//! The bank's own PKI: openssl, with keys in a folder of the test and nowhere else.

use std::process::Command;

use super::harness::{Lab, stderr, stdout};
use super::release;

const CAS: [(&str, &str); 3] = [("ca", "ca"), ("front_proxy_ca", "front-proxy-ca"), ("etcd_ca", "etcd-ca")];

pub struct Bank {
    dir: tempfile::TempDir,
}

fn openssl(args: &[&str]) {
    let out = Command::new("openssl").args(args).output().unwrap();
    assert!(out.status.success(), "openssl {args:?}: {}", stderr(&out));
}

impl Bank {
    /// Three CAs; their certificates go beside the lab's inventory.
    pub fn open(lab: &Lab) -> Self {
        let this = Self { dir: tempfile::tempdir().unwrap() };
        std::fs::create_dir_all(lab.file("pki")).unwrap();
        for (_, name) in CAS {
            let (key, cert, subject) = (this.at(name, "key"), this.at(name, "crt"), format!("/O=Bank/CN=Bank {name}"));
            let make = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", &subject];
            openssl(&[&make[..], &["-keyout", &key, "-out", &cert]].concat());
            std::fs::copy(&cert, lab.file(&format!("pki/{name}.crt"))).unwrap();
        }
        this
    }

    fn at(&self, name: &str, ending: &str) -> String {
        self.dir.path().join(format!("{name}.{ending}")).to_string_lossy().into_owned()
    }

    /// What an inventory says of it.
    pub fn table() -> String {
        let files: String = CAS.iter().map(|(key, name)| format!("{key} = \"pki/{name}.crt\"\n")).collect();
        format!("[certificates]\nmode = \"external\"\n{files}\n")
    }

    /// Signs every request of the folder as its index asks for.
    pub fn sign(&self, dir: &str) {
        let index: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(format!("{dir}/index.json")).unwrap()).unwrap();
        for request in index["requests"].as_array().unwrap() {
            let by = CAS.iter().find(|(key, _)| request["ca"] == *key).unwrap().1;
            let path = |key: &str| format!("{dir}/{}", request[key].as_str().unwrap());
            let (cert, key) = (self.at(by, "crt"), self.at(by, "key"));
            let sign = ["x509", "-req", "-copy_extensions", "copyall", "-CAcreateserial", "-days", "20"];
            let files = ["-CA", &cert, "-CAkey", &key, "-in", &path("request"), "-out", &path("certificate")];
            openssl(&[&sign[..], &files].concat());
        }
    }
}

/// Keys are made on bare nodes, and only what the bank signed lets `apply` begin.
pub fn certificates_come_in(lab: &Lab, bank: &Bank, inventory: &str, bundle: &str) {
    println!("-- certificates of the bank");
    let out = lab.provision(&["apply", "-y", "-i", inventory, "-b", bundle]);
    assert_eq!(out.status.code(), Some(5), "{}", stderr(&out));
    assert!(stderr(&out).contains("apiserver: no key was made"), "{}", stderr(&out));
    assert!(stderr(&out).contains("provision certs csr"), "{}", stderr(&out));
    lab.must("cp1", "! ls /etc/kubernetes /usr/local/bin/kubeadm");

    let dir = lab.file("requests");
    let csr = || {
        let out = lab.provision(&["certs", "csr", "-i", inventory, "--out", &dir]);
        assert!(out.status.success(), "{}", stderr(&out));
        stdout(&out)
    };
    // 10 of kubeadm's certificates and kubeconfigs, the kubelets' two, the key of service accounts; and another administrator's.
    let keys = if release::has_super_admin(release::minor(lab)) { 14 } else { 13 };
    let said = csr();
    assert!(said.contains(&format!("{keys} keys were made")), "{said}");
    let sums = "sha256sum /var/lib/provision/pki/*.key";
    let keys = lab.exec("cp1", sums);
    assert!(csr().contains("0 keys were made"));
    assert_eq!(lab.exec("cp1", sums), keys, "a key was made anew");

    bank.sign(&dir);
    // One for another key, and another that is missing.
    std::fs::copy(format!("{dir}/cp1/scheduler.crt"), format!("{dir}/cp1/controller-manager.crt")).unwrap();
    std::fs::rename(format!("{dir}/w1/kubelet.crt"), lab.file("kubelet.crt")).unwrap();
    let install = || lab.provision(&["certs", "install", "-y", "-i", inventory, "--from", &dir]);
    let out = install();
    assert_eq!(out.status.code(), Some(3), "{}", stderr(&out));
    let said = stderr(&out);
    assert!(said.contains("cp1/controller-manager.crt: its public key is not that of the node's key"), "{said}");
    assert!(said.contains("w1/kubelet.crt: there is no such file"), "{said}");
    lab.must("cp1", "! ls /var/lib/provision/pki/*.crt");
    bank.sign(&dir);
    let out = install();
    assert!(out.status.success(), "{}", stderr(&out));
}

/// No CA's key is anywhere on a node, whatever it is called, and no node's key is on this machine.
pub fn keys_stay_where_they_are(lab: &Lab, bank: &Bank) {
    println!("-- no key has moved");
    for (_, name) in CAS {
        let public = Command::new("openssl").args(["pkey", "-pubout", "-in", &bank.at(name, "key")]).output().unwrap();
        let public: String = stdout(&public).lines().filter(|l| !l.contains("PUBLIC KEY")).collect();
        assert!(public.len() > 300, "{public}");
        // A line from the middle of the private key.
        let key = std::fs::read_to_string(bank.at(name, "key")).unwrap();
        let line = key.lines().nth(10).unwrap().to_owned();
        for node in lab.nodes() {
            lab.must(
                &node,
                &format!(
                    "! grep -rlF -- '{line}' /etc /var/lib/provision /var/lib/kubelet /run /tmp /root 2>/dev/null"
                ),
            );
        }
    }
    for node in lab.nodes() {
        lab.must(
            &node,
            "[ -z \"$(find / -xdev -name '*ca.key' 2>/dev/null; find /var -xdev -name '*ca.key' 2>/dev/null)\" ]",
        );
        lab.must(&node, "[ -z \"$(find /var/lib/provision/pki /etc/kubernetes -name '*.key' -perm /077)\" ]");
    }
    let kept = Command::new("grep").args(["-rl", "PRIVATE KEY", &lab.file("requests")]).output().unwrap();
    assert_eq!(stdout(&kept), "");
    for path in lab.journals() {
        assert!(!std::fs::read_to_string(&path).unwrap().contains("PRIVATE KEY"), "{}", path.display());
    }
}

/// kubeadm cannot renew; the bank signs again, and the living cluster goes on with that.
pub fn certificates_are_renewed(lab: &Lab, bank: &Bank, inventory: &str) {
    println!("-- the bank signs again");
    let out = lab.provision(&["certs", "renew", "-y", "-i", inventory]);
    assert_eq!(out.status.code(), Some(5), "{}", stderr(&out));
    assert!(stderr(&out).contains("provision certs csr"), "{}", stderr(&out));
    let dir = lab.file("requests");
    let out = lab.provision(&["certs", "csr", "-i", inventory, "--out", &dir]);
    assert!(out.status.success() && stdout(&out).contains("0 keys were made"), "{}{}", stdout(&out), stderr(&out));
    bank.sign(&dir);
    let before =
        lab.exec("cp1", "sha256sum /etc/kubernetes/*.conf /etc/kubernetes/pki/*.crt /etc/kubernetes/pki/etcd/*.crt");
    lab.done(&["certs", "install", "-y", "-i", inventory, "--from", &dir]);
    let after =
        lab.exec("cp1", "sha256sum /etc/kubernetes/*.conf /etc/kubernetes/pki/*.crt /etc/kubernetes/pki/etcd/*.crt");
    let same: Vec<&str> = after.1.lines().filter(|l| before.1.contains(l)).collect();
    // The CAs, and the kubelet's kubeconfig, which names its files.
    assert_eq!(same.len(), 4, "{same:#?}");
    let more = after.1.contains("/etc/kubernetes/super-admin.conf");
    assert_eq!(more, release::has_super_admin(release::minor(lab)), "{}", after.1);
    let serial = |line: &str, what: &str| {
        let out = Command::new("sh").args(["-c", line, "sh", what]).output().unwrap();
        assert!(stdout(&out).starts_with("serial="), "{}", stderr(&out));
        stdout(&out)
    };
    let served = "openssl s_client -connect \"$1\" </dev/null 2>/dev/null | openssl x509 -noout -serial";
    let signed = serial("openssl x509 -noout -serial -in \"$1\"", &format!("{dir}/cp1/apiserver.crt"));
    assert_eq!(serial(served, &format!("{}:6443", lab.address("cp1"))), signed);
}
