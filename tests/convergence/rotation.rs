//! The cluster's CA is rotated, and whatever breaks meanwhile, running it again ends it.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use provision::bundle::{Blob, Digest};
use provision::error::{Error, Kind, Result};
use provision::exec::rotation::{Done, Wish, Workloads, look, rotate};
use provision::exec::{Cancel, Context, Event, Sink};
use provision::host::{FakeCluster, Fault};
use provision::inventory::Inventory;
use provision::rotation::{Family, Phase, Seen};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair};

use super::world::{INVENTORY, assert_sound, bundle, connect, copy, plan_ids, read, undisturbed};

const CA: &str = include_str!("../../src/host/fake/ca.pem");
const KEY: &str = include_str!("../../src/host/fake/key.pem");
const DIR: &str = "/etc/kubernetes/pki/rotation-kubernetes";
const OLD_POD: &str = "2026-01-01T00:00:00Z";

/// Everything that is written down of a rotation.
#[derive(Default)]
struct Recorded(std::sync::Mutex<String>);

impl Sink for Recorded {
    fn event(&self, event: &Event) {
        *self.0.lock().unwrap() += &serde_json::to_string(event).unwrap();
    }
}

fn leaf(name: &str, group: &str) -> String {
    let mut params = CertificateParams::new(vec!["kubernetes".to_owned(), "10.96.0.1".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.distinguished_name.push(DnType::OrganizationName, group);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let issuer = Issuer::from_ca_cert_pem(CA, KeyPair::from_pem(KEY).unwrap()).unwrap();
    params.signed_by(&KeyPair::from_pem(KEY).unwrap(), &issuer).unwrap().pem()
}

/// The inventory with two control planes and a worker.
fn inventory() -> Inventory {
    let block = |name: &str| {
        let at = INVENTORY.find(&format!("[[hosts]]\nname = \"{name}\"")).unwrap();
        let end = INVENTORY[at + 1..].find("[[hosts]]").map_or(INVENTORY.len(), |e| at + 1 + e);
        INVENTORY[at..end].to_owned()
    };
    read(&INVENTORY.replace(&block("cp3"), "").replace(&block("w2"), ""))
}

/// A cluster with all that the CA signed.
async fn standing(inv: &Inventory) -> FakeCluster {
    let fake = undisturbed(inv, &bundle(inv)).await;
    let kubeconfig = |name: &str, own: bool| {
        let cert = STANDARD.encode(leaf(name, "system:nodes"));
        let user = if own {
            format!("client-certificate-data: {cert}\n    client-key-data: S0VZ")
        } else {
            "client-certificate: /f".into()
        };
        format!(
            "clusters:\n- cluster:\n    certificate-authority-data: {}\nusers:\n- user:\n    {user}\n",
            STANDARD.encode(CA)
        )
    };
    let mut world = fake.world();
    for node in inv.nodes() {
        let m = world.machines.get_mut(&node.name).unwrap();
        let mut put = |path: &str, text: &str| m.write(path, text.as_bytes(), 0o600, 1);
        let name = format!("system:node:{}", node.name);
        put("/var/lib/kubelet/pki/kubelet-client-current.pem", &(leaf(&name, "system:nodes") + KEY));
        put("/etc/kubernetes/kubelet.conf", &kubeconfig(&name, false));
        if node.role.is_control_plane() {
            for conf in ["admin", "controller-manager", "scheduler"] {
                put(&format!("/etc/kubernetes/{conf}.conf"), &kubeconfig(conf, true));
            }
            put("/etc/kubernetes/pki/ca.key", KEY);
            put(
                "/etc/kubernetes/pki/apiserver-kubelet-client.crt",
                &leaf("kube-apiserver-kubelet-client", "system:masters"),
            );
            let manifest = "/etc/kubernetes/manifests/kube-controller-manager.yaml";
            let signer =
                "    - kube-controller-manager\n    - --cluster-signing-cert-file=/etc/kubernetes/pki/ca.crt\n";
            let text = m.text(manifest).replace("    - kube-controller-manager\n", signer);
            assert!(text.contains("cluster-signing"));
            m.write(manifest, text.as_bytes(), 0o600, 1);
        }
    }
    world.accounts = CA.into();
    drop(world);
    fake
}

async fn context(fake: &FakeCluster, inv: &Inventory) -> Result<(Context, Arc<Recorded>)> {
    let sink = Arc::new(Recorded::default());
    let context = Context {
        hosts: connect(fake, inv).await?,
        blob: Box::new(|_| Ok(Blob { pieces: Vec::new() })),
        inventory: Arc::new(inv.clone()),
        sink: Arc::clone(&sink) as Arc<dyn Sink>,
    };
    Ok((context, sink))
}

async fn run(fake: &FakeCluster, inv: &Inventory, until: Phase, workloads: Workloads) -> Result<Done> {
    let (ctx, sink) = context(fake, inv).await?;
    let wish = Wish { family: Family::Kubernetes, until, workloads, concurrency: 3 };
    let result = rotate(&ctx, &Cancel::new(), &wish).await;
    let text = sink.0.lock().unwrap();
    assert!(!text.contains("PRIVATE") && !text.contains("S0VZ"), "a key was recorded");
    result
}

async fn seen(fake: &FakeCluster, inv: &Inventory) -> BTreeMap<String, Seen> {
    look(&context(fake, inv).await.unwrap().0, Family::Kubernetes, 3).await.unwrap()
}

/// Whatever any node would show is trusted by every node and by pods that are made now.
fn all_trust_all(fake: &FakeCluster, seen: &BTreeMap<String, Seen>, what: &str) {
    let accounts = fake.world().accounts.clone();
    for (host, one) in seen {
        for (path, leaf) in &one.leaves {
            let by = leaf.by.clone().unwrap_or_else(|| panic!("{what}: {host} {path} is signed by nobody"));
            for (other, s) in seen {
                assert!(s.bundle.contains(&by), "{what}: {other} does not trust {path} of {host}");
                assert!(s.trusts.values().all(|t| t.contains(&by)), "{what}: a kubeconfig of {other}");
            }
            let pem = &one.authorities.get(&by).or_else(|| seen.values().find_map(|s| s.authorities.get(&by))).unwrap();
            assert!(accounts.contains(pem.lines().nth(2).unwrap()), "{what}: pods do not trust {path} of {host}");
        }
    }
}

fn is_whole(fake: &FakeCluster, inv: &Inventory, seen: &BTreeMap<String, Seen>, what: &str) {
    all_trust_all(fake, seen, what);
    let new = &seen["cp1"].bundle;
    assert!(new.len() == 1 && seen.values().all(|s| s.bundle == *new && !s.begun), "{what}: {seen:?}");
    let world = fake.world();
    for node in inv.nodes() {
        let m = &world.machines[&node.name];
        assert!(!m.text("/etc/kubernetes/pki/ca.crt").contains(CA.trim()), "{what}");
        assert!(!m.files.keys().any(|p| p.starts_with(DIR)), "{what}");
        if node.role.is_control_plane() {
            assert_eq!(m.files["/etc/kubernetes/pki/ca.key"].mode, 0o600);
            assert_ne!(m.text("/etc/kubernetes/pki/ca.key"), KEY);
            // A key that is the certificate's.
            let key = KeyPair::from_pem(&m.text("/etc/kubernetes/pki/ca.key")).unwrap();
            let text = m.text("/etc/kubernetes/pki/ca.crt");
            let pem = x509_parser::pem::Pem::iter_from_buffer(text.as_bytes()).next().unwrap().unwrap();
            let cert = pem.parse_x509().unwrap();
            assert_eq!(cert.public_key().subject_public_key.data.as_ref(), key.public_key_raw());
        }
        // The key of the kubelet is the one it had.
        assert!(m.text("/var/lib/kubelet/pki/kubelet-client-current.pem").ends_with(KEY), "{what}");
    }
}

#[tokio::test]
async fn the_ca_is_rotated_and_nothing_else_is_left_to_do() {
    let inv = inventory();
    let fake = standing(&inv).await;
    let before = plan_ids(&fake, &inv, &bundle(&inv)).await.unwrap();
    for (until, cas) in [(Phase::Trust, 2), (Phase::Switch, 2)] {
        assert!(!run(&fake, &inv, until, Workloads::Wait).await.unwrap().whole);
        let seen = seen(&fake, &inv).await;
        all_trust_all(&fake, &seen, until.word());
        assert!(seen.values().all(|s| s.bundle.len() == cas));
        // Hosts with two CAs are of the same cluster, and nothing else is begun.
        let refused = plan_ids(&fake, &inv, &bundle(&inv)).await.unwrap_err();
        assert!(refused.kind() == Kind::Refused && refused.to_string().contains("rotation"), "{refused}");
        assert!(!refused.to_string().contains("not that of this cluster"), "{refused}");
    }
    assert!(run(&fake, &inv, Phase::Drop, Workloads::Wait).await.unwrap().whole);
    is_whole(&fake, &inv, &seen(&fake, &inv).await, "undisturbed");
    assert_eq!(plan_ids(&fake, &inv, &bundle(&inv)).await.unwrap(), before);
    assert_sound(&fake, "rotated");
}

#[tokio::test]
async fn killed_anywhere_it_goes_on() {
    let inv = inventory();
    let fresh = standing(&inv).await;
    let copy = || copy(&fresh);
    let first = fresh.world().calls;
    let whole = copy();
    run(&whole, &inv, Phase::Drop, Workloads::Wait).await.unwrap();
    let calls = whole.world().calls - first;
    assert!(calls > 100, "{calls}");
    for (number, fault) in
        (0..calls).step_by(3).zip([Fault::Kill, Fault::KillAfterEffect, Fault::DropAfterEffect].into_iter().cycle())
    {
        let what = format!("{fault:?} at {number} of {calls}");
        let fake = copy();
        fake.world().faults.insert(first + number, fault);
        let error = run(&fake, &inv, Phase::Drop, Workloads::Wait).await.err();
        assert!(error.is_none_or(|e: Error| e.kind() == Kind::Unreachable), "{what}");
        let then = seen(&fake, &inv).await;
        all_trust_all(&fake, &then, &what);
        let rotated = then.values().all(|s| !s.begun)
            && !fake.world().machines["cp1"].text("/etc/kubernetes/pki/ca.crt").contains(CA.trim());
        if !rotated {
            run(&fake, &inv, Phase::Drop, Workloads::Wait).await.unwrap_or_else(|e| panic!("{what}: {}", e.report()));
        }
        is_whole(&fake, &inv, &seen(&fake, &inv).await, &what);
        assert_sound(&fake, &what);
    }
}

#[tokio::test]
async fn pods_that_trust_the_old_ca_alone_are_waited_for() {
    let inv = inventory();
    let mount = "/var/run/secrets/kubernetes.io/serviceaccount";
    let pods = |of: &str| {
        format!(
            "kube-system|proxy|Running|{OLD_POD}|DaemonSet|kube-proxy|{mount}\nshop|web-1-x|Running|{OLD_POD}|{of}|{mount}\n"
        )
    };
    let fake = standing(&inv).await;
    fake.world().token_pods = pods("ReplicaSet|web-1");
    let error = run(&fake, &inv, Phase::Drop, Workloads::Wait).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.to_string().contains("shop/deployment/web") && !error.to_string().contains("kube-proxy"), "{error}");
    // Nothing is signed by the new one yet.
    let ca = Digest::of(&x509_parser::pem::Pem::iter_from_buffer(CA.as_bytes()).next().unwrap().unwrap().contents);
    assert!(seen(&fake, &inv).await.values().all(|s| s.leaves.values().all(|l| l.by.as_ref() == Some(&ca))));
    assert!(run(&fake, &inv, Phase::Drop, Workloads::Restart).await.unwrap().whole);
    // One that nobody makes anew.
    let fake = standing(&inv).await;
    fake.world().token_pods = pods("|");
    let error = run(&fake, &inv, Phase::Drop, Workloads::Restart).await.unwrap_err();
    assert!(error.kind() == Kind::Refused && error.to_string().contains("shop/pod/web-1-x"), "{error}");
    assert!(run(&fake, &inv, Phase::Drop, Workloads::Leave).await.unwrap().whole);
}

#[tokio::test]
async fn it_begins_only_where_all_is_well_and_of_one_ca() {
    let inv = inventory();
    for path in ["/etc/kubernetes/pki/ca.key", "/etc/kubernetes/manifests/kube-scheduler.yaml"] {
        let fake = standing(&inv).await;
        fake.world().machines.get_mut("cp2").unwrap().remove_below(path);
        let error = run(&fake, &inv, Phase::Drop, Workloads::Wait).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Refused, "{path}: {error}");
        assert_eq!(fake.world().machines["cp1"].text("/etc/kubernetes/pki/ca.crt"), CA, "{path}");
    }
}
