//! What was changed by hand: mended by exactly the steps it takes, each saying what was found, or told and left alone.

use provision::bundle::BundleManifest;
use provision::facts::{gather, observe};
use provision::host::FakeCluster;
use provision::inventory::Inventory;
use provision::plan::{Drift, DriftKind, Step, drift};
use provision::resource::{cluster_status_probe, control_plane_probe};
use provision::status::{Health, Seen, Status};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, Issuer, KeyPair};

use crate::world::{assert_sound, bundle, connect, converge, inventory, plan, snapshot, undisturbed};

async fn whole() -> (Inventory, BundleManifest, FakeCluster) {
    let inv = inventory();
    let bundle = bundle(&inv);
    let fake = undisturbed(&inv, &bundle).await;
    (inv, bundle, fake)
}

async fn told(fake: &FakeCluster, inv: &Inventory) -> Vec<Drift> {
    let hosts = connect(fake, inv).await.unwrap();
    let facts = gather(inv, &hosts, 5).await.unwrap();
    assert!(hosts.values().all(|h| h.round_trips() == 1), "it costs no round trip of its own");
    drift(inv, &facts)
}

/// The steps of a plan that change something.
async fn steps(fake: &FakeCluster, inv: &Inventory, bundle: &BundleManifest) -> Vec<Step> {
    let hosts = connect(fake, inv).await.unwrap();
    let steps = plan(inv, bundle, &hosts).await.unwrap();
    assert!(hosts.values().all(|h| h.round_trips() == 2), "facts, and answers");
    steps.into_iter().filter(|s| s.action.is_change()).collect()
}

/// One step does it, says what was found, and leaves the world as it was before.
async fn is_mended_by(spoil: impl Fn(&FakeCluster), id: &str, found: &str) {
    let (inv, bundle, fake) = whole().await;
    let before = snapshot(&fake);
    spoil(&fake);
    let steps = steps(&fake, &inv, &bundle).await;
    let ids: Vec<&str> = steps.iter().map(|s| s.id.as_str()).collect();
    assert_eq!(ids, [id]);
    assert!(steps[0].reason.contains(found), "{}", steps[0].reason);
    converge(&fake, &inv, &bundle, 1).await.unwrap();
    assert_eq!(snapshot(&fake), before);
    assert_sound(&fake, id);
}

/// It is told with what was expected and found and what to do, no step touches it, and apply leaves it there.
async fn is_told(spoil: impl Fn(&FakeCluster), kind: DriftKind, host: &str, words: &[&str]) {
    let (inv, bundle, fake) = whole().await;
    assert_eq!(told(&fake, &inv).await, []);
    spoil(&fake);
    let before = snapshot(&fake);
    let all = told(&fake, &inv).await;
    assert_eq!(all.iter().map(|d| (d.kind, d.host.as_str())).collect::<Vec<_>>(), [(kind, host)], "{all:?}");
    let text = format!("{} {}", all[0], all[0].hint);
    assert!(words.iter().all(|w| text.contains(w)), "{text}");
    assert_eq!(steps(&fake, &inv, &bundle).await, []);
    assert_eq!(converge(&fake, &inv, &bundle, 1).await, Ok(1));
    assert_eq!(snapshot(&fake), before);
}

fn write(fake: &FakeCluster, host: &str, path: &str, content: &[u8]) {
    fake.world().machines.get_mut(host).unwrap().write(path, content, 0o644, 1);
}

#[tokio::test]
async fn another_image_under_a_tag() {
    let name = "registry.k8s.io/pause:3.10";
    let spoil = |fake: &FakeCluster| {
        let other = format!("sha256:{}", "ab".repeat(32));
        fake.world().machines.get_mut("w1").unwrap().images.insert(name.into(), other);
    };
    is_mended_by(spoil, &format!("images/w1/{name}"), "containerd has another image under this name, abababababab")
        .await;
}

#[tokio::test]
async fn a_changed_label_and_a_lost_taint() {
    let changed = |fake: &FakeCluster| {
        fake.world().nodes.get_mut("w1").unwrap().labels.insert("disk".into(), "hdd".into());
    };
    is_mended_by(changed, "label/cp1/w1", "label disk is \"hdd\", not \"ssd\"").await;
    let lost = |fake: &FakeCluster| {
        fake.world().nodes.get_mut("w2").unwrap().taints.remove("dedicated=db:NoSchedule");
    };
    is_mended_by(lost, "label/cp1/w2", "taint dedicated=db:NoSchedule is missing").await;
}

#[tokio::test]
async fn a_changed_sysctl() {
    let spoil = |fake: &FakeCluster| {
        fake.world().machines.get_mut("cp2").unwrap().sysctls.insert("net.ipv4.ip_forward".into(), "0".into());
    };
    is_mended_by(spoil, "prepare/cp2/sysctl-net.ipv4.ip_forward", "net.ipv4.ip_forward is 0, not 1").await;
}

#[tokio::test]
async fn inotify_limits_are_raised_and_a_higher_one_is_kept() {
    let key = "fs.inotify.max_user_instances";
    let set = |fake: &FakeCluster, value: &str| {
        fake.world().machines.get_mut("w1").unwrap().sysctls.insert(key.into(), value.into());
    };
    let value = |fake: &FakeCluster| fake.world().machines["w1"].sysctls[key].clone();
    let kept = |fake: &FakeCluster| {
        let text = fake.world().machines["w1"].text("/etc/sysctl.d/90-provision.conf");
        text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(" = ")).unwrap_or_default().to_owned()
    };
    is_mended_by(|fake| set(fake, "128"), &format!("prepare/w1/sysctl-{key}"), &format!("{key} is 128, not 8192"))
        .await;

    let (inv, bundle, fake) = whole().await;
    assert_eq!((value(&fake), kept(&fake)), ("8192".into(), "8192".into()));
    // What was raised beyond that is written down, so that a reboot does not take it back.
    set(&fake, "20000");
    let planned: Vec<String> = steps(&fake, &inv, &bundle).await.into_iter().map(|s| s.id).collect();
    assert_eq!(planned, ["prepare/w1/sysctl-file"]);
    converge(&fake, &inv, &bundle, 1).await.unwrap();
    assert_eq!((value(&fake), kept(&fake)), ("20000".into(), "20000".into()));
}

#[tokio::test]
async fn another_binary() {
    let (inv, bundle, fake) = whole().await;
    write(&fake, "w1", "/usr/local/bin/kubectl", b"another");
    let steps = steps(&fake, &inv, &bundle).await;
    assert_eq!((steps.len(), steps[0].id.as_str()), (1, "runtime/w1/kubectl"));
    assert!(steps[0].reason.contains("/usr/local/bin/kubectl is another file"), "{}", steps[0].reason);
    converge(&fake, &inv, &bundle, 1).await.unwrap();
}

#[tokio::test]
async fn an_extra_static_pod() {
    let path = "/etc/kubernetes/manifests/miner.yaml";
    let spoil = |fake: &FakeCluster| write(fake, "w1", path, b"pod");
    is_told(spoil, DriftKind::StaticPod, "w1", &[path, "remove the file"]).await;
}

#[tokio::test]
async fn a_drop_in() {
    let path = "/etc/systemd/system/kubelet.service.d/99-debug.conf";
    let spoil = |fake: &FakeCluster| {
        // As after a daemon-reload.
        fake.world().machines.get_mut("cp1").unwrap().write(path, b"[Service]", 0o644, 0);
    };
    is_told(spoil, DriftKind::DropIn, "cp1", &[path, "systemctl cat"]).await;
}

#[tokio::test]
async fn taints_and_labels_of_others() {
    let taint = |fake: &FakeCluster| {
        fake.world().nodes.get_mut("w1").unwrap().taints.insert("by=hand:NoExecute".into());
    };
    is_told(taint, DriftKind::Taint, "w1", &["by=hand:NoExecute", "kubectl taint node w1"]).await;
    let opened = |fake: &FakeCluster| fake.world().nodes.get_mut("cp2").unwrap().taints.clear();
    is_told(opened, DriftKind::Taint, "cp2", &["workloads may run there"]).await;
    let label = |fake: &FakeCluster| {
        fake.world().nodes.get_mut("w2").unwrap().labels.insert("disk".into(), "ssd".into());
    };
    is_told(label, DriftKind::Label, "w2", &["label disk", "disk=ssd"]).await;
    let cordon = |fake: &FakeCluster| fake.world().nodes.get_mut("w2").unwrap().unschedulable = true;
    is_told(cordon, DriftKind::Cordon, "w2", &["kubectl uncordon w2"]).await;
}

#[tokio::test]
async fn a_node_that_the_inventory_does_not_know() {
    let spoil = |fake: &FakeCluster| {
        let node = fake.world().nodes["w1"].clone();
        fake.world().nodes.insert("stranger".into(), node);
    };
    let (inv, _, fake) = whole().await;
    spoil(&fake);
    let all = told(&fake, &inv).await;
    assert_eq!((all.len(), all[0].kind, all[0].host.as_str()), (1, DriftKind::UnknownNode, "stranger"));
}

/// Nothing is planned for it: it might be on its way out, and a second join would not go well. What to do is said.
#[tokio::test]
async fn a_host_whose_node_vanished() {
    let (inv, bundle, fake) = whole().await;
    fake.world().nodes.remove("w1");
    let all = told(&fake, &inv).await;
    assert_eq!((all.len(), all[0].kind, all[0].host.as_str()), (1, DriftKind::MissingNode, "w1"));
    assert!(all[0].hint.contains("systemctl restart kubelet"), "{}", all[0].hint);
    let hosts = connect(&fake, &inv).await.unwrap();
    let refused = plan(&inv, &bundle, &hosts).await.unwrap_err().to_string();
    assert!(refused.contains("w1: membership: it was a member, but its node object is gone"), "{refused}");
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn certificate(by: &Issuer<'_, KeyPair>, until: i32) -> String {
    let mut params = CertificateParams::new(vec!["api".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    params.signed_by(&KeyPair::generate().unwrap(), by).unwrap().pem()
}

/// 1 January 2027.
const NOW: i64 = 1_798_761_600;

#[tokio::test]
async fn an_ended_and_a_foreign_certificate() {
    let (inv, bundle, fake) = whole().await;
    let key = KeyPair::from_pem(include_str!("../../src/host/fake/key.pem")).unwrap();
    let ours = Issuer::from_ca_cert_pem(include_str!("../../src/host/fake/ca.pem"), key).unwrap();
    let other = authority();
    let path = "/etc/kubernetes/pki/apiserver-kubelet-client.crt";
    fake.world().now_s = NOW;
    for host in ["cp1", "cp2", "cp3"] {
        write(&fake, host, path, certificate(&ours, 2028).as_bytes());
    }
    assert_eq!(told(&fake, &inv).await, []);
    write(&fake, "cp2", path, certificate(&ours, 2026).as_bytes());
    write(&fake, "cp3", path, certificate(&other, 2028).as_bytes());
    let all = told(&fake, &inv).await;
    assert_eq!(
        all.iter().map(|d| (d.kind, d.host.as_str())).collect::<Vec<_>>(),
        [(DriftKind::Certificate, "cp2"), (DriftKind::Certificate, "cp3")]
    );
    assert!(all[0].found.contains("ended 365 days ago") && all[0].hint.contains("certs renew"), "{}", all[0]);
    assert!(
        all[1].found.contains("another authority") && all[1].expected.contains("/etc/kubernetes/pki/ca.crt"),
        "{}",
        all[1]
    );
    assert_eq!(steps(&fake, &inv, &bundle).await, []);
    write(&fake, "cp1", path, b"no certificate\n");
    let all = told(&fake, &inv).await;
    assert!(all.iter().any(|d| d.host == "cp1" && d.found.contains("failed to read")), "{all:?}");
}

async fn status(fake: &FakeCluster, inv: &Inventory) -> Status {
    let hosts = connect(fake, inv).await.unwrap();
    let facts = gather(inv, &hosts, 5).await.unwrap();
    let own = inv.control_planes().into_iter().map(|n| (n.name, vec![control_plane_probe(&n.address.to_string())]));
    let mut asked: std::collections::BTreeMap<_, _> = own.collect();
    if let Some(voice) = &facts.voice {
        asked.entry(voice.clone()).or_default().push(cluster_status_probe());
    }
    let answers = observe(&hosts, &asked, 5).await.unwrap();
    let (inventory, checked_at) = ("sha256:00".to_owned(), "2026-01-01T00:00:00Z".to_owned());
    Status::new(Seen { inv, facts: &facts, answers: &answers, errors: Vec::new(), inventory, last: None, checked_at })
}

#[tokio::test]
async fn status_sees_what_is_wrong() {
    let (inv, _, fake) = whole().await;
    let seen = status(&fake, &inv).await;
    assert_eq!((seen.well, seen.health()), (true, Health::Well), "{seen:#?}");
    let etcd = seen.etcd.unwrap();
    assert_eq!((etcd.voters, etcd.answering, etcd.quorum, etcd.leader.as_deref()), (3, 3, 2, Some("cp1")));
    assert_eq!(seen.endpoint_health.as_deref(), Some("ok"));
    // A control plane whose kubelet is down, while its containers stand still with it.
    fake.world().machines.get_mut("cp3").unwrap().units.get_mut("kubelet.service").unwrap().active = false;
    let seen = status(&fake, &inv).await;
    let cp3 = &seen.hosts[2];
    assert_eq!((seen.well, cp3.health, cp3.ready), (false, Health::Bad, Some(false)));
    // All of them without a runtime: nobody speaks for the cluster any more.
    for host in ["cp1", "cp2", "cp3"] {
        fake.world().machines.get_mut(host).unwrap().units.get_mut("containerd.service").unwrap().active = false;
    }
    let seen = status(&fake, &inv).await;
    assert!(!seen.well && seen.answers.is_none() && seen.etcd.is_none(), "{seen:#?}");
}
