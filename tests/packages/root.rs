//! A root file system without a network, as a host of the program: what is planned is carried out in it for real.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command as Process, Stdio};
use std::sync::Arc;

use provision::bundle::{ArtifactKind, Blob, Bundle, Digest};
use provision::error::{Error, Result};
use provision::exec::{self, Cancel, Context, HostRunner, NullSink, Options, RetryPolicy};
use provision::facts::{Facts, HostFacts, observe};
use provision::host::{Answer, Command, ExitState, FileSpec, Host, NODE_BLOB_DIR, Output, Probe, script};
use provision::inventory::{Arch, Inventory, PackageKind};
use provision::packages::{index_path, local_release, pool_path, repository_dir};
use provision::plan::{Action, Fingerprints, PLAN_FORMAT, PhaseId, Plan, assemble, desired, questions};

use crate::repository::tool;

/// A root file system; it goes when it is dropped.
pub struct Root {
    dir: Arc<tempfile::TempDir>,
}

impl Root {
    /// A Debian with apt and `more`.
    pub fn debian(more: &str) -> Self {
        let root = Self::empty();
        let mut command = Process::new("mmdebstrap");
        command
            .args(["--quiet", "--mode=root", "--variant=minbase", &format!("--include={more}"), "bookworm"])
            .arg(root.dir.path());
        tool("mmdebstrap", &mut command);
        // What it was made from is out of reach from here on.
        root.shell("rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/* /var/lib/apt/lists/*");
        root
    }

    pub fn empty() -> Self {
        Self { dir: Arc::new(tempfile::tempdir().unwrap()) }
    }

    pub fn path(&self, inside: &str) -> PathBuf {
        self.dir.path().join(inside.trim_start_matches('/'))
    }

    pub fn read(&self, inside: &str) -> String {
        std::fs::read_to_string(self.path(inside)).unwrap_or_else(|e| panic!("{inside}: {e}"))
    }

    pub fn shell(&self, text: &str) -> String {
        let output = Inside(Arc::clone(&self.dir)).enter(&["sh".into(), "-c".into(), text.into()], b"").unwrap();
        assert!(output.ok(), "{text}: {}{}", output.text(), String::from_utf8_lossy(&output.stderr));
        output.text()
    }

    /// Plans for one bare host that runs this root, and carries out what has to do with packages; the steps' ids.
    pub async fn apply(&self, inv: &Inventory, bundle: &Bundle, os: &str) -> Result<Vec<String>> {
        let name = inv.hosts[0].name.clone();
        let host: Arc<dyn Host> = Arc::new(Inside(Arc::clone(&self.dir)));
        let hosts: BTreeMap<String, Arc<dyn Host>> = [(name.clone(), host)].into();
        let found = HostFacts { machine: "x86_64".into(), os_id: os.into(), ..HostFacts::default() };
        let facts = Facts { hosts: [(name, found)].into(), ..Facts::default() };
        let mut wanted = desired(inv, bundle.manifest(), &facts)?;
        let ours: Vec<Digest> = bundle
            .manifest()
            .artifacts
            .iter()
            .filter(|a| a.kind == ArtifactKind::Package)
            .map(|a| a.digest.clone())
            .collect();
        wanted.retain(|d| match &d.action {
            Action::PutBlob { digest, .. } => ours.contains(digest),
            _ => d.phase == PhaseId::Packages,
        });
        let steps = assemble(&wanted, &observe(&hosts, &questions(&wanted), 1).await?);
        let ids: Vec<String> = steps.iter().map(|s| s.id.clone()).collect();
        let nothing = Digest::of(b"");
        let inputs =
            Fingerprints { tool: "t".into(), inventory: nothing.clone(), bundle: nothing, hosts: BTreeMap::new() };
        let cluster = inv.cluster.name.clone();
        let plan =
            Plan { format_version: PLAN_FORMAT, cluster, inputs, steps, warnings: Vec::new(), drift: Vec::new() };
        let bundle = bundle.clone();
        let context = Context {
            hosts,
            blob: Box::new(move |digest| bundle.blob(digest)),
            inventory: Arc::new(inv.clone()),
            sink: Arc::new(NullSink),
        };
        let options = Options {
            operation: "test".into(),
            command: "apply".into(),
            concurrency: 1,
            retry: RetryPolicy { pauses: Vec::new() },
        };
        exec::run(&plan, Arc::new(HostRunner::new(context, &plan.steps)), &options, Arc::new(NullSink), Cancel::new())
            .await?;
        Ok(ids)
    }

    /// Makes the local rpm repository out of the bundle and lets dnf install from it into this root, without a network.
    /// dnf is this machine's: there is no root file system with one to be had from Debian.
    pub fn local_rpm(&self, inv: &Inventory, bundle: &Bundle) {
        let kind = PackageKind::Rpm;
        let repository = tempfile::tempdir().unwrap();
        let manifest = bundle.manifest();
        let put = |path: &str, bytes: Vec<u8>| {
            let path = repository.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        };
        let index = manifest.find(ArtifactKind::Package, "rpm-index", Arch::Amd64).unwrap();
        put(index_path(kind), bytes(&bundle.blob(&index.digest).unwrap()));
        let (path, release) = local_release(kind, Arch::Amd64, &index.digest, index.size);
        put(path, release.into_bytes());
        for artifact in manifest.artifacts.iter().filter(|a| a.name.starts_with("rpm/")) {
            let name = artifact.name.trim_start_matches("rpm/");
            let bytes = bytes(&bundle.blob(&artifact.digest).unwrap());
            put(&pool_path(kind, name, &artifact.version, artifact.arch.unwrap()), bytes);
        }
        assert_eq!(repository_dir(kind), "/var/lib/provision/repo/rpm");
        let mut command = Process::new("unshare");
        command
            .args(["-n", "dnf", "-y", "--disablerepo=*", "--releasever=1", "--setopt=install_weak_deps=False"])
            .arg(format!("--installroot={}", self.dir.path().display()))
            .arg(format!("--repofrompath=provision,file://{}", repository.path().display()))
            .args(["--enablerepo=provision", "--nogpgcheck", "install"])
            .args(inv.packages.names(kind));
        tool("dnf", &mut command);
    }
}

/// A blob of a bundle that is a directory: a file of its own.
fn bytes(blob: &Blob) -> Vec<u8> {
    std::fs::read(&blob.pieces[0].path).unwrap()
}

/// The root as a host.
struct Inside(Arc<tempfile::TempDir>);

impl Inside {
    fn path(&self, inside: &str) -> PathBuf {
        self.0.path().join(inside.trim_start_matches('/'))
    }

    /// Runs a command in the root, in a network namespace with nothing in it.
    fn enter(&self, argv: &[String], stdin: &[u8]) -> std::io::Result<Output> {
        let mut child = Process::new("unshare")
            .args(["-n", "chroot"])
            .arg(self.0.path())
            .args(argv)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        child.stdin.take().unwrap().write_all(stdin)?;
        let out = child.wait_with_output()?;
        let code = u32::try_from(out.status.code().unwrap_or(255)).unwrap_or(255);
        Ok(Output { exit: ExitState::Code(code), stdout: out.stdout, stderr: out.stderr })
    }
}

#[async_trait::async_trait]
impl Host for Inside {
    fn name(&self) -> &str {
        "a"
    }

    async fn probe(&self, probes: &[Probe]) -> Result<Vec<Answer>> {
        let asked = self.enter(&["sh".into(), "-s".into()], script::render(probes).as_bytes());
        script::parse(probes, &asked.map_err(|e| Error::failed(e.to_string()))?.text())
    }

    async fn run(&self, command: &Command) -> Result<Output> {
        self.enter(&command.argv, &command.stdin).map_err(|e| Error::failed(e.to_string()))
    }

    async fn write_file(&self, file: &FileSpec) -> Result<()> {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.path(&file.path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &file.content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(file.mode)).unwrap();
        Ok(())
    }

    async fn put_blob(
        &self,
        local: &Blob,
        digest: &Digest,
        size: u64,
        sent: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<()> {
        let dir = self.path(NODE_BLOB_DIR);
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join(digest.hex()), bytes(local)).unwrap();
        sent(size);
        Ok(())
    }

    fn round_trips(&self) -> u64 {
        0
    }
}
