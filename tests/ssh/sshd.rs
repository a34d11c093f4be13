//! A real sshd on loopback, in a directory of its own, ended when it is dropped.

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub struct Sshd {
    child: Child,
    pub dir: tempfile::TempDir,
    pub port: u16,
    /// The host key, as in a .pub file, without comment.
    pub host_key: String,
}

fn keygen(path: &std::path::Path, passphrase: &str) {
    let status = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-C", "", "-N", passphrase, "-f"])
        .arg(path)
        .status()
        .expect("ssh-keygen: install openssh-client");
    assert!(status.success());
}

impl Sshd {
    /// Starts it. The keys `good`, `secret` (passphrase "open sesame") and `stranger` lie in its directory; the first
    /// two may log in.
    pub fn start() -> Self {
        let sshd = "/usr/sbin/sshd";
        assert!(std::path::Path::new(sshd).exists(), "there is no {sshd}: install openssh-server");
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        keygen(&path("host"), "");
        keygen(&path("good"), "");
        keygen(&path("secret"), "open sesame");
        keygen(&path("stranger"), "");
        let public = |name: &str| std::fs::read_to_string(path(name).with_extension("pub")).unwrap();
        std::fs::write(path("authorized"), public("good") + &public("secret")).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let d = dir.path().display();
        let config = format!(
            "ListenAddress 127.0.0.1\nPort {port}\nHostKey {d}/host\nAuthorizedKeysFile {d}/authorized\nPidFile {d}/pid\n\
             StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\nAllowTcpForwarding yes\n"
        );
        std::fs::write(path("config"), config).unwrap();
        std::fs::create_dir_all("/run/sshd").unwrap();
        let child =
            Command::new(sshd).args(["-D", "-e", "-f"]).arg(path("config")).stderr(Stdio::null()).spawn().unwrap();
        let until = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < until, "sshd does not listen");
            std::thread::sleep(Duration::from_millis(50));
        }
        let host_key = public("host").trim().to_owned();
        Self { child, dir, port, host_key }
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
