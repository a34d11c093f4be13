//! The SSH adapter against a real sshd on loopback. Runs as root, because sshd has to.

#![expect(clippy::unwrap_used, reason = "a test")]

#[path = "ssh/sshd.rs"]
mod sshd;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use provision::bundle::{Blob, Digest, Piece};
use provision::error::{Error, Kind};
use provision::host::ssh::{SshConnector, SshOptions};
use provision::host::{Answer, Command, Connector, ExitState, FileSpec, Host, Probe};
use provision::inventory::{Jump, Node, Role, SshTarget, Sudo, SudoMethod};
use sshd::Sshd;

fn node(sshd: &Sshd) -> Node {
    Node {
        name: "here".into(),
        address: "127.0.0.1".parse().unwrap(),
        role: Role::Worker,
        pool: None,
        ssh: SshTarget {
            address: "127.0.0.1".into(),
            port: sshd.port,
            user: "root".into(),
            key_file: Some(sshd.file("good")),
            key_passphrase_env: None,
            host_key: Some(sshd.host_key.clone()),
            sudo: Sudo { method: SudoMethod::None, env: None, file: None },
            jump: None,
        },
        labels: Default::default(),
        taints: Vec::new(),
    }
}

async fn connect_with(node: &Node, known_hosts: PathBuf) -> Result<Arc<dyn Host>, Error> {
    SshConnector::new(SshOptions { known_hosts, connect_timeout: Duration::from_secs(5) }).connect(node).await
}

async fn connect(node: &Node) -> Result<Arc<dyn Host>, Error> {
    connect_with(node, "/nonexistent".into()).await
}

async fn refused(node: &Node, known_hosts: PathBuf) -> Error {
    match connect_with(node, known_hosts).await {
        Ok(_) => panic!("it connected"),
        Err(error) => error,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_run_and_end_as_they_do() {
    let sshd = Sshd::start();
    let host = connect(&node(&sshd)).await.unwrap();
    let run = |argv: &[&str]| Command::new(argv.iter().copied());
    let out = host.run(&run(&["sh", "-c", "echo \"out $1\"; echo err >&2; exit 7", "sh", "it's"])).await.unwrap();
    assert_eq!(
        (out.exit.clone(), out.text().as_str(), out.stderr.as_slice()),
        (ExitState::Code(7), "out it's\n", b"err\n".as_slice())
    );
    let error = out.check("here", &run(&["false"]), "do it").unwrap_err();
    assert!(
        error.report().contains("here: failed to do it") && error.report().contains("exit 7"),
        "{}",
        error.report()
    );
    let out = host.run(&run(&["sh", "-c", "cat; echo \"$X\""]).stdin("from stdin ").env("X", "a b")).await.unwrap();
    assert_eq!(out.text(), "from stdin a b\n");
    let out = host.run(&run(&["sh", "-c", "kill -TERM $$"])).await.unwrap();
    assert!(matches!(out.exit, ExitState::Signal(_) | ExitState::Code(143)), "{:?}", out.exit);
    let out = host.run(&run(&["head", "-c", "10000000", "/dev/zero"])).await.unwrap();
    assert_eq!(out.stdout.len(), 10_000_000);
    // A command that does not read its input ends all the same.
    let out = host.run(&run(&["true"]).stdin(vec![0; 5_000_000])).await.unwrap();
    assert!(out.ok());
    let slow = host.run(&run(&["sleep", "30"]).timeout(Duration::from_secs(1))).await.unwrap_err();
    assert!(slow.to_string().contains("no end in 1 s"), "{slow}");
    // More at once than sshd's MaxSessions.
    let all = (0..25).map(|n| {
        let host = Arc::clone(&host);
        async move { host.run(&Command::new(["sh", "-c", &format!("sleep 0.1; echo {n}")])).await.unwrap().text() }
    });
    let all = futures::future::join_all(all).await;
    assert_eq!(all, (0..25).map(|n| format!("{n}\n")).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_known_host_keys_are_trusted() {
    let (sshd, other) = (Sshd::start(), Sshd::start());
    let mut pinned_wrong = node(&sshd);
    pinned_wrong.ssh.host_key = Some(other.host_key.clone());
    let error = refused(&pinned_wrong, "/nonexistent".into()).await;
    assert_eq!(error.kind(), Kind::Unreachable);
    assert!(error.report().contains("HAS CHANGED") && error.report().contains(&sshd.host_key), "{}", error.report());

    let mut unpinned = node(&sshd);
    unpinned.ssh.host_key = None;
    let error = refused(&unpinned, "/nonexistent".into()).await;
    assert!(error.report().contains("is not known") && error.report().contains("SHA256:"), "{}", error.report());
    assert!(error.report().contains(&format!("host_key = \"{}\"", sshd.host_key)), "{}", error.report());

    let known = sshd.file("known_hosts");
    let line = format!("[127.0.0.1]:{} {}\n", sshd.port, sshd.host_key);
    std::fs::write(&known, format!("# a comment\n{line}")).unwrap();
    connect_with(&unpinned, known.clone()).await.unwrap();
    let hashed = std::process::Command::new("ssh-keygen").args(["-q", "-H", "-f"]).arg(&known).output().unwrap();
    assert!(hashed.status.success() && std::fs::read_to_string(&known).unwrap().contains("|1|"));
    connect_with(&unpinned, known.clone()).await.unwrap();
    std::fs::write(&known, format!("{line}@revoked * {}\n", sshd.host_key)).unwrap();
    assert_eq!(refused(&unpinned, known).await.kind(), Kind::Unreachable);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_right_user_key_logs_in() {
    let sshd = Sshd::start();
    let mut wrong = node(&sshd);
    wrong.ssh.key_file = Some(sshd.file("stranger"));
    let error = refused(&wrong, "/nonexistent".into()).await;
    assert!(error.kind() == Kind::Unreachable && error.to_string().contains("denied"), "{error}");
    let mut missing = node(&sshd);
    missing.ssh.key_file = Some("/nonexistent/key".into());
    assert!(refused(&missing, "/nonexistent".into()).await.report().contains("/nonexistent/key"));
    let mut locked = node(&sshd);
    locked.ssh.key_file = Some(sshd.file("secret"));
    let error = refused(&locked, "/nonexistent".into()).await;
    assert!(error.report().contains("key_passphrase_env"), "{}", error.report());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_port_is_unreachable_at_once() {
    let sshd = Sshd::start();
    let mut gone = node(&sshd);
    gone.ssh.port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let begun = Instant::now();
    let error = refused(&gone, "/nonexistent".into()).await;
    assert!(error.kind() == Kind::Unreachable && begun.elapsed() < Duration::from_secs(6), "{error}");
    assert!(error.report().contains("Hint:"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jump_host_is_gone_through_and_both_ends_are_verified() {
    let (inner, outer) = (Sshd::start(), Sshd::start());
    let mut far = node(&inner);
    far.ssh.jump = Some(Jump {
        address: "127.0.0.1".into(),
        port: Some(outer.port),
        user: Some("root".into()),
        key_file: Some(outer.file("good")),
        host_key: Some(outer.host_key.clone()),
    });
    let host = connect(&far).await.unwrap();
    assert_eq!(host.run(&Command::new(["echo", "far"])).await.unwrap().text(), "far\n");
    let mut wrong_hop = far.clone();
    wrong_hop.ssh.jump.as_mut().unwrap().host_key = Some(inner.host_key.clone());
    let error = refused(&wrong_hop, "/nonexistent".into()).await;
    assert!(error.report().contains("jump host"), "{}", error.report());
    let mut wrong_end = far;
    wrong_end.ssh.host_key = Some(outer.host_key.clone());
    assert!(refused(&wrong_end, "/nonexistent".into()).await.report().contains("HAS CHANGED"));
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_are_answered_in_one_round_trip() {
    let sshd = Sshd::start();
    let host = connect(&node(&sshd)).await.unwrap();
    let file = sshd.file("probe me");
    std::fs::write(&file, "content").unwrap();
    let path = file.to_string_lossy().into_owned();
    let probes = [
        Probe::Content(path),
        Probe::File("/nonexistent".into()),
        Probe::Sysctl("kernel.ostype".into()),
        Probe::Shell("exit 3".into()),
    ];
    let answers = host.probe(&probes).await.unwrap();
    assert_eq!(host.round_trips(), 1);
    assert!(matches!(&answers[0], Answer::File(f) if f.content.as_deref() == Some(b"content".as_slice())));
    assert_eq!(answers[1], Answer::Absent);
    assert_eq!(answers[2], Answer::Sysctl("Linux".into()));
    assert!(matches!(answers[3], Answer::Shell { code: 3, .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_arrive_whole_or_not_at_all() {
    let sshd = Sshd::start();
    let host = connect(&node(&sshd)).await.unwrap();
    let target = sshd.file("deep/er/file");
    let spec = FileSpec { path: target.to_string_lossy().into_owned(), content: b"a\0b'\n".to_vec(), mode: 0o640 };
    host.write_file(&spec).await.unwrap();
    host.write_file(&spec).await.unwrap();
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(std::fs::read(&target).unwrap(), spec.content);
    assert_eq!(std::fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(std::fs::read_dir(target.parent().unwrap()).unwrap().count(), 1, "a partial file stays");

    // A blob: 20 MB that no other test has.
    let mut content = vec![7_u8; 20_000_000];
    content[..2].copy_from_slice(&sshd.port.to_be_bytes());
    let (digest, local) = (Digest::of(&content), sshd.file("blob"));
    std::fs::write(&local, &content).unwrap();
    let sent = std::sync::atomic::AtomicU64::new(0);
    let count = |n: u64| {
        sent.fetch_add(n, std::sync::atomic::Ordering::Relaxed);
    };
    // In two volumes of a split tar.
    let other = sshd.file("other");
    std::fs::copy(&local, &other).unwrap();
    let pieces = [(&local, 0, 7_000_001), (&other, 7_000_001, 12_999_999)];
    let split = Blob { pieces: pieces.map(|(path, offset, len)| Piece { path: path.clone(), offset, len }).into() };
    host.put_blob(&split, &digest, 20_000_000, &count).await.unwrap();
    let stored = PathBuf::from(provision::host::NODE_BLOB_DIR).join(digest.hex());
    let same = std::fs::read(&stored).unwrap() == content;
    std::fs::remove_file(&stored).unwrap();
    assert!(same && sent.into_inner() == 20_000_000);
    // One whose content is not what its name says.
    content[1_000_000] ^= 1;
    std::fs::write(&local, &content).unwrap();
    let error = host.put_blob(&Blob::of_file(&local).unwrap(), &digest, 20_000_000, &|_| {}).await.unwrap_err();
    assert!(error.kind() == Kind::Invalid && error.to_string().contains("damaged in the bundle"), "{error}");
    assert!(!stored.exists() && !stored.with_extension("partial").exists());
}

/// This process and all tests in it stay below 100 MB while a blob of 1 GiB is sent.
#[tokio::test(flavor = "multi_thread")]
async fn memory_does_not_grow_with_a_blob() {
    let sshd = Sshd::start();
    let host = connect(&node(&sshd)).await.unwrap();
    let local = sshd.file("big");
    let size = 1 << 30;
    std::fs::File::create(&local).unwrap().set_len(size).unwrap();
    let digest = provision::bundle::hash_file(&local).await.unwrap();
    // Starts the peak anew.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let sent = host.put_blob(&Blob::of_file(&local).unwrap(), &digest, size, &|_| {}).await;
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap().trim().trim_end_matches(" kB");
    let peak = peak.parse::<u64>().unwrap() / 1024;
    let stored = PathBuf::from(provision::host::NODE_BLOB_DIR).join(digest.hex());
    let arrived = std::fs::metadata(&stored).map(|m| m.len());
    let _ = std::fs::remove_file(&stored);
    sent.unwrap();
    assert_eq!(arrived.unwrap(), size);
    println!("peak memory of sending 1 GiB: {peak} MiB");
    assert!(peak < 95, "{peak} MiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_connection_is_never_success_and_is_opened_again() {
    let sshd = Sshd::start();
    let host = connect(&node(&sshd)).await.unwrap();
    // The shell's grandparent is the sshd process of this connection.
    let kill = "p=$$; while [ \"$(cat /proc/$p/comm)\" != sshd ]; do p=$(sed 's/.*) . \\([0-9]*\\) .*/\\1/' /proc/$p/stat); done; kill -9 $p; sleep 5";
    match host.run(&Command::new(["sh", "-c", kill])).await {
        Ok(out) => assert_eq!(out.exit, ExitState::Lost),
        Err(error) => assert_eq!(error.kind(), Kind::Unreachable),
    }
    assert_eq!(host.probe(&[Probe::File("/nonexistent".into())]).await.unwrap(), [Answer::Absent]);
    assert_eq!(host.run(&Command::new(["echo", "again"])).await.unwrap().text(), "again\n");
}
