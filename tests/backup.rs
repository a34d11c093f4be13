//! Backups: written and read by us and by the real age and tar, taken from machines in memory, and the command's refusals.

#![expect(clippy::unwrap_used, reason = "a test")]

#[path = "backup/standing.rs"]
mod standing;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use chrono::{DateTime, Utc};
use provision::backup::{
    BACKUP_FORMAT, BackupManifest, Kept, PKI_FILES, SNAPSHOT, Snapshot, Writer, entry_name, identities, read, recipient,
};
use provision::bundle::Digest;
use provision::error::Kind;
use provision::exec::{Cancel, etcd};
use provision::host::{FakeCluster, Fault};
use standing::{INVENTORY, KEY, standing};

fn sh(dir: &Path, line: &str) -> Output {
    let out = Command::new("sh").args(["-ec", line]).current_dir(dir).stdin(Stdio::null()).output().unwrap();
    assert!(out.status.success(), "{line}: {}", String::from_utf8_lossy(&out.stderr));
    out
}

fn sample(snapshot: &[u8]) -> (BackupManifest, Vec<(String, Vec<u8>)>) {
    let files: Vec<(String, Vec<u8>)> = PKI_FILES.map(|p| (p.to_owned(), format!("{p} {KEY}").into_bytes())).into();
    let manifest = BackupManifest {
        format_version: BACKUP_FORMAT,
        cluster: "lab".into(),
        kubernetes: "1.36.2".into(),
        taken_at: "2026-11-21T10:00:00Z".into(),
        node: "cp1".into(),
        snapshot: Snapshot { digest: Digest::of(snapshot), size: snapshot.len() as u64, revision: 1, keys: 2 },
        files: files.iter().map(|(p, c)| Kept { path: p.clone(), digest: Digest::of(c) }).collect(),
    };
    (manifest, files)
}

fn written(snapshot: &[u8], recipients: &[&str]) -> Vec<u8> {
    let recipients: Vec<_> = recipients.iter().map(|r| recipient(r).unwrap()).collect();
    let (manifest, files) = sample(snapshot);
    let mut writer = Writer::new(Vec::new(), &recipients).unwrap();
    writer.manifest(&manifest, 1).unwrap();
    for (path, content) in &files {
        writer.whole(&entry_name(path), content, 1).unwrap();
    }
    writer.entry(SNAPSHOT, snapshot.len() as u64, 1).unwrap();
    snapshot.chunks(100_000).for_each(|piece| writer.data(piece).unwrap());
    writer.finish().unwrap()
}

/// A key pair of the real age-keygen: the file's text and the recipient.
fn key(dir: &Path, name: &str) -> (String, String) {
    sh(dir, &format!("age-keygen -o {name} 2>/dev/null"));
    let public = String::from_utf8(sh(dir, &format!("age-keygen -y {name}")).stdout).unwrap().trim().to_owned();
    (std::fs::read_to_string(dir.join(name)).unwrap(), public)
}

#[test]
fn the_real_age_and_tar_read_a_backup() {
    let dir = tempfile::tempdir().unwrap();
    let snapshot = vec![7; 300_001];
    let ((one, first), (_, second)) = (key(dir.path(), "one"), key(dir.path(), "two"));
    let bytes = written(&snapshot, &[&first, &second]);
    assert!(!bytes.windows(16).any(|w| w == b"VEhJU0lTU0VDUkVU" || w == b"kubernetes/pki/c"));
    std::fs::write(dir.path().join("b.tar.age"), &bytes).unwrap();
    // Each recipient alone reads it.
    for name in ["one", "two"] {
        sh(dir.path(), &format!("rm -rf x && mkdir x && age -d -i {name} b.tar.age | tar -x -C x"));
        assert_eq!(std::fs::read(dir.path().join("x/etcd/snapshot.db")).unwrap(), snapshot);
        let ca = std::fs::read_to_string(dir.path().join("x/root/etc/kubernetes/pki/etcd/ca.key")).unwrap();
        assert!(ca.contains(KEY));
        let manifest = std::fs::read(dir.path().join("x/manifest.json")).unwrap();
        assert_eq!(BackupManifest::parse(&manifest).unwrap(), sample(&snapshot).0);
    }
    // And what the real age encrypted is read by us.
    let plain = written(&snapshot, &[]);
    std::fs::write(dir.path().join("p.tar"), &plain).unwrap();
    sh(dir.path(), &format!("age -r {first} -o again.tar.age p.tar"));
    let again = std::fs::read(dir.path().join("again.tar.age")).unwrap();
    for bytes in [&again, &bytes, &plain] {
        let mut found = Vec::new();
        let backup = read(bytes.as_slice(), &identities(&one).unwrap(), &mut found).unwrap();
        assert_eq!((found.as_slice(), backup.files), (snapshot.as_slice(), sample(&snapshot).1));
    }
}

/// Whatever is cut or changed in a backup, it is not taken for whole.
#[test]
fn a_damaged_backup_is_no_backup() {
    let dir = tempfile::tempdir().unwrap();
    let ((one, first), (other, _)) = (key(dir.path(), "one"), key(dir.path(), "two"));
    let attempt = |bytes: &[u8], key: &str| read(bytes, &identities(key).unwrap(), &mut std::io::sink()).map(drop);
    let (plain, sealed) = (written(&[7; 5000], &[]), written(&[7; 5000], &[&first]));
    let fails = |bytes: &[u8], what: &str| {
        let error = attempt(bytes, &one).expect_err(what);
        assert_eq!(error.kind(), Kind::Invalid, "{what}: {error}");
    };
    for at in (0..sealed.len()).step_by(97) {
        fails(&sealed[..at], &format!("cut at {at}"));
        let mut flipped = sealed.clone();
        flipped[at] ^= 1;
        fails(&flipped, &format!("flipped at {at}"));
    }
    // Of a plain one the headers' own bytes (times, modes, padding) may differ, the contents never. The end may miss its
    // two empty blocks.
    for at in (0..plain.len() - 1024 - 512).step_by(97) {
        fails(&plain[..at], &format!("plain, cut at {at}"));
    }
    for needle in [&b"VEhJU0lT"[..], &[7; 8], b"\"cluster\""] {
        let at = plain.windows(8).position(|w| w == &needle[..8]).unwrap();
        let mut changed = plain.clone();
        changed[at] ^= 1;
        fails(&changed, &format!("plain, changed at {at}"));
    }
    assert!(attempt(&sealed, &other).unwrap_err().to_string().contains("cannot be decrypted"));
    let none = read(sealed.as_slice(), &[], &mut std::io::sink()).err().unwrap();
    assert!(none.hints()[0].contains("--identity"));
    for bad in ["", "# only words\n", "AGE-SECRET-KEY-1HUNTER2"] {
        assert!(!identities(bad).err().unwrap().report().contains("HUNTER2"));
    }
}

#[test]
fn a_manifest_writes_nowhere_else() {
    let (good, _) = sample(b"");
    let parse = |m: &BackupManifest| BackupManifest::parse(&serde_json::to_vec(m).unwrap());
    assert_eq!(parse(&good).unwrap(), good);
    for path in ["/etc/passwd", "/etc/kubernetes/../passwd", "etc/kubernetes/x", "/etc/kubernetes/./x"] {
        let mut bad = good.clone();
        bad.files.push(Kept { path: path.into(), digest: Digest::of(b"") });
        assert!(parse(&bad).is_err(), "{path}");
    }
    let mut less = good.clone();
    less.files.remove(1);
    assert!(parse(&less).unwrap_err().to_string().contains("/etc/kubernetes/pki/ca.key"));
    assert!(parse(&BackupManifest { format_version: 2, ..good }).is_err());
}

fn at() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

#[tokio::test]
async fn a_snapshot_is_taken_on_a_healthy_member_and_leaves_nothing_behind() {
    let (cluster, ctx, recorded) = standing().await;
    let nodes = ctx.inventory.control_planes();
    // The first control plane's etcd is down.
    cluster.world().machines.get_mut("cp1").unwrap().remove_below("/etc/kubernetes/manifests/etcd.yaml");
    let (node, ill) = etcd::healthy_member(&ctx, &nodes).await.unwrap().unwrap();
    assert_eq!((node.name.as_str(), ill), ("cp2", vec!["https://192.168.10.11:2379".to_owned()]));
    let mut writer = Writer::new(Vec::new(), &[]).unwrap();
    let manifest = etcd::take(&ctx, "cp2", at(), &mut writer, &Cancel::new()).await.unwrap();
    let mut snapshot = Vec::new();
    let backup = read(writer.finish().unwrap().as_slice(), &[], &mut snapshot).unwrap();
    assert_eq!(backup.manifest, manifest);
    assert!(snapshot.starts_with(b"cp1 cp2 cp3") && snapshot.len() > 16 << 20);
    assert!(backup.files.iter().all(|(path, content)| *content == standing::content(path)));
    let left =
        |cluster: &FakeCluster| cluster.world().machines["cp2"].files.keys().any(|p| p.contains("etcd-snapshot"));
    assert!(!left(&cluster));
    let events = recorded.text();
    assert!(
        events.contains("etcd-snapshot") && !events.contains("VEhJU0lT") && !events.contains("PRIVATE"),
        "{events}"
    );

    // No quorum: nothing to take.
    cluster.world().machines.get_mut("cp2").unwrap().remove_below("/etc/kubernetes/manifests/etcd.yaml");
    assert!(etcd::healthy_member(&ctx, &nodes).await.unwrap().is_none());
}

/// A snapshot that is cut off at any call leaves an error, no whole backup, and nothing secret in what is shown.
#[tokio::test]
async fn a_lost_connection_leaves_no_backup() {
    for call in 0..6 {
        let (cluster, ctx, recorded) = standing().await;
        cluster.world().host_faults.insert(("cp1".into(), call), Fault::DropAfterEffect);
        let mut writer = Writer::new(Vec::new(), &[]).unwrap();
        let error = etcd::take(&ctx, "cp1", at(), &mut writer, &Cancel::new()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unreachable, "call {call}: {error}");
        let shown = error.report() + &recorded.text();
        assert!(!shown.contains("VEhJU0lT"), "{shown}");
        let left = cluster.world().machines["cp1"].files.keys().any(|p| p.contains("etcd-snapshot"));
        assert!(!left, "call {call}");
    }
    // One that is asked to stop says so.
    let (_, ctx, _) = standing().await;
    let cancel = Cancel::new();
    cancel.request();
    let mut writer = Writer::new(Vec::new(), &[]).unwrap();
    let error = etcd::take(&ctx, "cp1", at(), &mut writer, &cancel).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Interrupted);
}

#[test]
fn nobody_named_is_refused_before_any_host_is_touched() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("inventory.toml");
    let run = |text: &str| {
        std::fs::write(&path, text.replace("user = \"root\"", "user = \"root\"\nssh_address = \"127.0.0.1\"")).unwrap();
        Command::new(env!("CARGO_BIN_EXE_provision"))
            .args(["etcd", "snapshot", "-i", path.to_str().unwrap(), "-o", dir.path().join("out").to_str().unwrap()])
            .env("PROVISION_STATE", dir.path())
            .output()
            .unwrap()
    };
    let text = INVENTORY.replace("[endpoint]", "[backup]\nkeep = 2\n[endpoint]").replace("user = \"root\"", "");
    let out = run(&text);
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(5), "{said}");
    assert!(said.contains("holds every secret of the cluster") && said.contains("Hint: [backup] recipients"), "{said}");
    assert!(!dir.path().join("out").exists());
    let external = text.replace("[backup]", "[etcd]\nmode = \"external\"\nendpoints = [\"https://192.168.10.31:2379\"]\nca_file = \"/e/ca\"\ncert_file = \"/e/c\"\nkey_file = \"/e/k\"\n[backup]");
    assert_eq!(run(&external).status.code(), Some(5));
}

/// systemd itself takes what an inventory may say.
#[test]
fn systemd_agrees_on_schedules() {
    let right = [
        "daily",
        "weekly UTC",
        "02:30",
        "*:0/15",
        "0/6:00",
        "Mon..Fri 22:00 UTC",
        "sat,Sunday",
        "*-*-1,15 04:00",
        "*-01/3-01",
        "2026..2030-*-* 01:00:30",
        "12-24 18:00",
        "Mon,Wed..Fri *-*-* 8..18/2:30",
    ];
    for schedule in right {
        let text = format!(
            "{INVENTORY}\n[backup]\nschedule = \"{schedule}\"\nallow_unencrypted = \"I accept backups that anybody can read\"\n"
        );
        assert!(provision::inventory::parse(&text).is_ok(), "{schedule}");
    }
    let out = Command::new("systemd-analyze").arg("calendar").args(right).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

#[tokio::test]
async fn a_node_looks_after_itself() {
    use provision::host::{Answer, Command, ExitState, Host as _, LocalHost, Probe};
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f").to_string_lossy().into_owned();
    std::fs::write(&path, "content").unwrap();
    let host = LocalHost::new("cp1");
    let answers = host.probe(&[Probe::Content(path), Probe::File("/nonexistent".into())]).await.unwrap();
    let [Answer::File(file), Answer::Absent] = answers.as_slice() else { panic!("{answers:?}") };
    assert_eq!((file.content.as_deref(), &file.digest), (Some(&b"content"[..]), &Some(Digest::of(b"content"))));
    let run = async |line: &str| {
        // More than a pipe holds, read or not.
        let command = Command::new(["sh", "-c", line]).stdin(vec![b'x'; 1 << 20]).env("A", "b c");
        host.run(&command.timeout(std::time::Duration::from_secs(5))).await
    };
    assert_eq!(run("cat").await.unwrap().stdout.len(), 1 << 20);
    assert_eq!(run("printf %s \"$A\"").await.unwrap().text(), "b c");
    let failed = run("echo why >&2; exit 7").await.unwrap();
    assert_eq!((failed.exit, failed.stderr.as_slice()), (ExitState::Code(7), &b"why\n"[..]));
    assert!(matches!(run("kill -9 $$").await.unwrap().exit, ExitState::Signal(_)));
    assert!(run("sleep 60").await.unwrap_err().to_string().contains("no end in 5 s"));
    assert!(host.run(&Command::new(["/nonexistent"])).await.is_err());
}
