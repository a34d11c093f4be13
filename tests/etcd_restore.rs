//! A restore and a renewal, step by step, on machines in memory; and what the commands refuse.

#![expect(clippy::unwrap_used, reason = "a test")]

#[path = "backup/standing.rs"]
mod standing;
#[path = "convergence/world.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod world;

use std::process::Command;
use std::sync::Arc;

use provision::backup::{BackupManifest, Writer, read};
use provision::bundle::Digest;
use provision::error::Kind;
use provision::exec::{self, Cancel, Context, HostRunner, NullSink, Options, RetryPolicy, etcd};
use provision::facts::{gather, observe};
use provision::host::{FakeCluster, Fault, NodeRecord};
use provision::plan::{
    Fingerprints, PLAN_FORMAT, PhaseId, Plan, assemble, desired, led_by, of_host, questions, without_control_planes,
};
use standing::{INVENTORY, KEY, standing};

const ASIDE: &str = "/var/lib/provision/before-restore-x";

async fn backup(ctx: &Context) -> (provision::backup::Backup, Vec<u8>) {
    let mut writer = Writer::new(Vec::new(), &[]).unwrap();
    let at = chrono::DateTime::from_timestamp(1_800_000_000, 0).unwrap();
    etcd::take(ctx, "cp1", at, &mut writer, &Cancel::new()).await.unwrap();
    let mut snapshot = Vec::new();
    (read(writer.finish().unwrap().as_slice(), &[], &mut snapshot).unwrap(), snapshot)
}

fn text(cluster: &FakeCluster, host: &str, path: &str) -> String {
    cluster.world().machines[host].text(path)
}

#[tokio::test]
async fn a_snapshot_becomes_the_data_of_one_member_and_the_old_state_is_kept() {
    let (cluster, ctx, recorded) = standing().await;
    let (kept, snapshot) = backup(&ctx).await;
    let nodes = ctx.inventory.control_planes();
    for host in ["cp1", "cp2", "cp3"] {
        let mut world = cluster.world();
        let m = world.machines.get_mut(host).unwrap();
        m.write("/var/lib/etcd/member", format!("old {host}").as_bytes(), 0o600, 1);
        m.write("/etc/kubernetes/pki/apiserver.key", b"old", 0o600, 1);
    }
    // A snapshot that is not what the backup says is found before anything was touched.
    let mut wrong: BackupManifest = kept.manifest.clone();
    wrong.snapshot.digest = Digest::of(b"another");
    let error = etcd::stage(&ctx, &nodes[1], &wrong, snapshot.as_slice()).await.unwrap_err();
    assert!(error.report().contains("changed on its way here"), "{}", error.report());
    assert_eq!(text(&cluster, "cp2", "/var/lib/etcd/member"), "old cp2");

    etcd::stage(&ctx, &nodes[1], &kept.manifest, snapshot.as_slice()).await.unwrap();
    assert_eq!(text(&cluster, "cp2", "/var/lib/etcd/member"), "old cp2", "what runs goes on until all is ready");
    etcd::start_over(&ctx, &nodes, "cp2", &kept, ASIDE).await.unwrap();
    assert!(text(&cluster, "cp2", "/var/lib/etcd/member").starts_with("cp2\ncp1 cp2 cp3"));
    assert!(text(&cluster, "cp2", "/etc/kubernetes/pki/etcd/ca.key").contains(KEY));
    {
        let world = cluster.world();
        let m = &world.machines["cp2"];
        assert_eq!(m.files["/etc/kubernetes/pki/ca.key"].mode, 0o600);
        assert_eq!(m.files["/etc/kubernetes/pki/ca.crt"].mode, 0o644);
        assert!(!m.has("/etc/kubernetes/pki/apiserver.key"), "leaves are made anew");
        for host in ["cp1", "cp3"] {
            assert!(!world.machines[host].has("/var/lib/etcd/member"), "{host}");
        }
    }
    for host in ["cp1", "cp2", "cp3"] {
        assert_eq!(text(&cluster, host, &format!("{ASIDE}/etcd/member")), format!("old {host}"));
        assert!(text(&cluster, host, &format!("{ASIDE}/pki/ca.key")).contains(KEY));
    }
    assert!(!recorded.text().contains("VEhJU0lT") && recorded.text().contains("etcd-stage"));
}

/// Should one of the others not be cleared, the chosen one stands as it was.
#[tokio::test]
async fn the_chosen_one_goes_last() {
    let (cluster, ctx, _) = standing().await;
    let (kept, snapshot) = backup(&ctx).await;
    let nodes = ctx.inventory.control_planes();
    etcd::stage(&ctx, &nodes[0], &kept.manifest, snapshot.as_slice()).await.unwrap();
    cluster.world().machines.get_mut("cp1").unwrap().write("/var/lib/etcd/member", b"old", 0o600, 1);
    cluster.world().host_faults.insert(("cp3".into(), 0), Fault::Refuse);
    let error = etcd::start_over(&ctx, &nodes, "cp1", &kept, ASIDE).await.unwrap_err();
    assert_eq!((error.kind(), error.host()), (Kind::Unreachable, Some("cp3")));
    assert_eq!(text(&cluster, "cp1", "/var/lib/etcd/member"), "old");
}

#[tokio::test]
async fn what_is_gone_is_forgotten_and_workers_that_stand_are_not() {
    let (cluster, ctx, _) = standing().await;
    {
        let mut world = cluster.world();
        let plane = || NodeRecord {
            labels: [("node-role.kubernetes.io/master".to_owned(), String::new())].into(),
            ..NodeRecord::default()
        };
        world.nodes = [
            ("cp1", plane()),
            ("old1", plane()),
            ("cp3", plane()),
            ("w1", NodeRecord::default()),
            ("w2", NodeRecord::default()),
        ]
        .map(|(name, node)| (name.to_owned(), node))
        .into();
    }
    assert_eq!(etcd::forget_others(&ctx, "cp1", &["w2".into(), "cp1".into()]).await.unwrap(), ["cp3", "old1", "w2"]);
    assert_eq!(cluster.world().nodes.keys().collect::<Vec<_>>(), ["cp1", "w1"]);
}

/// Who ran on knows later revisions than there are: kubelets begin anew, and the pods of kube-system; those of others are told.
#[tokio::test]
async fn what_ran_on_begins_anew() {
    let (cluster, ctx, _) = standing().await;
    let mount = "/var/run/secrets/kubernetes.io/serviceaccount";
    let (old, new) = ("2025-12-31T00:00:00Z", "2026-01-01T00:00:05Z");
    let pods = [
        format!("kube-system|kube-proxy-a|Running|{old}|DaemonSet|kube-proxy|{mount}|"),
        format!("kube-system|coredns-1-a|Running|{new}|ReplicaSet|coredns-1|{mount}|"),
        format!("shop|operator-1-a|Running|{old}|ReplicaSet|operator-1|{mount}|"),
        format!("shop|web-1-a|Running|{old}|ReplicaSet|web-1|/data|"),
    ];
    {
        let mut world = cluster.world();
        world.token_pods = pods.join("\n") + "\n";
        for host in ["cp2", "cp3"] {
            world.machines.get_mut(host).unwrap().write("/etc/systemd/system/kubelet.service", b"", 0o644, 1);
        }
    }
    etcd::kubelets_anew(&ctx, &["cp2".into(), "cp3".into()]).await.unwrap();
    let left = etcd::pods_anew(&ctx, "cp1", "2026-01-01T00:00:00Z").await.unwrap();
    assert_eq!(Vec::from_iter(left), ["shop/deployment/operator"]);
    let world = cluster.world();
    for host in ["cp2", "cp3"] {
        assert!(world.log.contains(&format!("{host}: systemctl kubelet.service yes run")), "{:?}", world.log);
    }
    let made =
        |name: &str| world.token_pods.lines().find(|l| l.contains(name)).unwrap().split('|').nth(3).unwrap().to_owned();
    assert_eq!([made("kube-proxy"), made("coredns")], ["2026-01-01T00:00:10Z", new]);
}

/// No host of the new inventory ever saw the cluster: its CAs and all it held come from the backup.
#[tokio::test]
async fn all_hosts_may_be_new() {
    let (kept, snapshot) = backup(&standing().await.1).await;
    let changed = world::INVENTORY.replace("name = \"cp", "name = \"new").replace("192.168.10.1", "192.168.20.1");
    let inv = world::read(&changed);
    let bundle = world::bundle(&inv);
    let fake = world::fresh(&inv, &bundle);
    // The first one goes ahead here: the others' images are the business of the apply that follows.
    fake.world().needed_images.clear();
    let hosts = world::connect(&fake, &inv).await.unwrap();
    let context = || Context {
        hosts: hosts.clone(),
        blob: Box::new(|_| Ok(provision::bundle::Blob { pieces: Vec::new() })),
        inventory: Arc::new(inv.clone()),
        sink: Arc::new(NullSink),
    };
    let facts = without_control_planes(&inv, &gather(&inv, &hosts, 5).await.unwrap());
    let run = async |before: bool| {
        let all = desired(&led_by(&inv, "new2"), &bundle, &facts).unwrap();
        let mut asked = questions(&all);
        asked.retain(|name, _| name == "new2");
        let answers = observe(&hosts, &asked, 5).await.unwrap();
        let wanted = |p| if before { p < PhaseId::Init } else { p == PhaseId::Init };
        let steps = of_host(assemble(&all, &answers), "new2", wanted);
        let nothing = Digest::of(b"");
        let inputs = Fingerprints {
            tool: String::new(),
            inventory: nothing.clone(),
            bundle: nothing,
            hosts: std::collections::BTreeMap::new(),
        };
        let plan = Plan {
            format_version: PLAN_FORMAT,
            cluster: "lab".into(),
            inputs,
            steps,
            warnings: Vec::new(),
            drift: Vec::new(),
        };
        let options = Options {
            operation: "test".into(),
            command: "restore".into(),
            concurrency: 8,
            retry: RetryPolicy { pauses: Vec::new() },
        };
        let hands = Arc::new(HostRunner::new(context(), &plan.steps));
        exec::run(&plan, hands, &options, Arc::new(NullSink), Cancel::new()).await.unwrap();
    };
    run(true).await;
    let nodes = inv.control_planes();
    etcd::stage(&context(), &nodes[1], &kept.manifest, snapshot.as_slice()).await.unwrap();
    etcd::start_over(&context(), &nodes, "new2", &kept, ASIDE).await.unwrap();
    assert!(text(&fake, "new2", "/var/lib/etcd/member").starts_with("new2\ncp1 cp2 cp3"));
    run(false).await;
    for name in ["cp1", "cp2", "cp3", "w1"] {
        let mut node = NodeRecord::default();
        if name.starts_with("cp") {
            node.labels.insert("node-role.kubernetes.io/control-plane".into(), String::new());
        }
        fake.world().nodes.insert(name.into(), node);
    }
    let bare: Vec<String> = inv.hosts.iter().map(|h| h.name.clone()).collect();
    assert_eq!(etcd::forget_others(&context(), "new2", &bare).await.unwrap(), ["cp1", "cp2", "cp3", "w1"]);
    // The second time for the addons: new1 speaks for the cluster again, and it has not seen their files.
    world::converge(&fake, &inv, &bundle, 2).await.unwrap();
    world::assert_sound(&fake, "restored");
    assert!(text(&fake, "new2", "/etc/kubernetes/pki/ca.key").contains(KEY));
    let world = fake.world();
    assert_eq!(world.etcd.keys().collect::<Vec<_>>(), ["new1", "new2", "new3"]);
    assert_eq!(world.nodes.keys().collect::<Vec<_>>(), ["new1", "new2", "new3", "w1", "w2"]);
    for host in ["new1", "new2", "new3"] {
        assert!(!world.machines[host].has(&format!("{ASIDE}/pki")), "there was nothing to set aside on {host}");
    }
}

fn run(dir: &std::path::Path, args: &[&str]) -> std::process::Output {
    let path = dir.join("inventory.toml");
    std::fs::write(&path, INVENTORY.replace("user = \"root\"", "")).unwrap();
    Command::new(env!("CARGO_BIN_EXE_provision"))
        .args(args)
        .args(["-i", path.to_str().unwrap()])
        .env("PROVISION_STATE", dir)
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap()
}

#[test]
fn the_command_line_is_judged_first() {
    let dir = tempfile::tempdir().unwrap();
    let code = |args: &[&str]| run(dir.path(), args).status.code();
    let restore = ["etcd", "restore", "-b", "/nonexistent"];
    assert_eq!(code(&restore), Some(64), "no backup is named");
    assert_eq!(code(&[&restore[..], &["backup", "--on", "w7"]].concat()), Some(64));
    assert_eq!(code(&[&restore[..], &["backup"]].concat()), Some(3), "there is no bundle");
}
