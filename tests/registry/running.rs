//! Programs that run beside a test and end with it.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::made::Made;

/// Runs a tool and takes its output; its Debian package is named when it is not there.
pub fn tool(package: &str, args: &[&str]) -> Output {
    Command::new(args[0])
        .args(&args[1..])
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|e| panic!("{}: {e}: install the Debian package {package}", args[0]))
}

/// Runs a tool that must succeed: its stdout.
pub fn must(package: &str, args: &[&str]) -> String {
    let out = tool(package, args);
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The most memory that a process ever had, in MiB; `None` when it is gone.
pub fn peak_mib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse::<u64>().ok().map(|kib| kib / 1024)
}

/// A running program.
pub struct Running {
    pub child: Child,
    pub address: String,
    pub log: tempfile::NamedTempFile,
}

impl Running {
    fn start(mut command: Command, package: &str, address: String) -> Self {
        let log = tempfile::NamedTempFile::new().unwrap();
        let child = command
            .stdin(Stdio::null())
            .stderr(log.reopen().unwrap())
            .spawn()
            .unwrap_or_else(|e| panic!("{command:?}: {e}: install the Debian package {package}"));
        Self { child, address, log }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log.path()).unwrap()
    }

    /// The most memory it ever had, in MiB.
    pub fn peak_mib(&self) -> u64 {
        peak_mib(self.child.id()).unwrap()
    }

    /// Waits until it takes connections.
    fn wait(&self) {
        let until = Instant::now() + Duration::from_secs(30);
        while std::net::TcpStream::connect(&self.address).is_err() {
            assert!(Instant::now() < until, "{} does not answer: {}", self.address, self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn signal(&self, name: &str) {
        must("procps", &["kill", &format!("-{name}"), &self.child.id().to_string()]);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `provision serve` over the bundle, on a free port.
pub fn serve(made: &Made, args: &[&str]) -> Running {
    serve_dir(&made.path(), args)
}

/// `provision serve` over the bundle in this directory.
pub fn serve_dir(bundle: &Path, args: &[&str]) -> Running {
    let mut command = Command::new(env!("CARGO_BIN_EXE_provision"));
    command.arg("serve").arg(bundle).args(["--listen", "127.0.0.1:0"]).args(args).stdout(Stdio::piped());
    let mut this = Running::start(command, "", String::new());
    let mut line = String::new();
    BufReader::new(this.child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let url = line.split(' ').find(|w| w.contains("://")).unwrap_or_else(|| panic!("{line} {}", this.log()));
    this.address = url.split("://").nth(1).unwrap().trim_end_matches([':', '\n']).to_owned();
    this
}

/// A real registry with a store of its own. `more` goes into its configuration: `http` and `auth`.
pub fn docker_registry(dir: &Path, http: &str, auth: &str) -> Running {
    let address = format!("127.0.0.1:{}", free_port());
    let store = dir.join("store");
    let config = format!(
        "version: 0.1\nlog: {{ level: warn }}\nstorage:\n  filesystem: {{ rootdirectory: {} }}\nhttp:\n  addr: {address}\n{http}{auth}",
        store.display()
    );
    let path = dir.join("registry.yml");
    std::fs::write(&path, config).unwrap();
    let mut command = Command::new("docker-registry");
    let log = std::fs::File::create(dir.join("access.log")).unwrap();
    command.arg("serve").arg(path).stdout(log);
    let this = Running::start(command, "docker-registry", address);
    this.wait();
    this
}

/// A real containerd with root, state and socket of its own in `dir`.
pub fn containerd(dir: &Path) -> Running {
    let socket = dir.join("containerd.sock");
    let config = format!(
        "version = 2\nroot = {root:?}\nstate = {state:?}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
         [grpc]\naddress = {socket:?}\n[ttrpc]\naddress = {ttrpc:?}\n",
        root = dir.join("root"),
        state = dir.join("state"),
        ttrpc = dir.join("containerd.ttrpc"),
    );
    let path = dir.join("config.toml");
    std::fs::write(&path, config).unwrap();
    let mut command = Command::new("containerd");
    command.arg("-c").arg(path).stdout(Stdio::null());
    let this = Running::start(command, "containerd", socket.to_string_lossy().into_owned());
    let until = Instant::now() + Duration::from_secs(30);
    while std::os::unix::net::UnixStream::connect(&socket).is_err() {
        assert!(Instant::now() < until, "containerd does not answer: {}", this.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    this
}

/// A CA and a server's certificate for 127.0.0.1, as PEM files: `ca.crt`, `server.crt`, `server.key`.
pub fn certificates(dir: &Path) {
    let path = |name: &str| dir.join(name).to_string_lossy().into_owned();
    std::fs::write(dir.join("san"), "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\n").unwrap();
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let (ca, ca_key, server, server_key, request) =
        (path("ca.crt"), path("ca.key"), path("server.crt"), path("server.key"), path("server.csr"));
    let mut args =
        vec!["openssl", "req", "-x509", "-days", "2", "-subj", "/CN=test CA", "-out", &ca, "-keyout", &ca_key];
    args.extend(key);
    must("openssl", &args);
    let mut args = vec!["openssl", "req", "-subj", "/CN=registry", "-out", &request, "-keyout", &server_key];
    args.extend(key);
    must("openssl", &args);
    let args = [
        "openssl",
        "x509",
        "-req",
        "-days",
        "2",
        "-in",
        &request,
        "-CA",
        &ca,
        "-CAkey",
        &ca_key,
        "-CAcreateserial",
        "-out",
        &server,
        "-extfile",
        &path("san"),
    ];
    must("openssl", &args);
}
