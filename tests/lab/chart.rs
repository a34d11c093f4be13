//! A helm upstream for the lab, and the sample chart's page.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use provision::bundle::Digest;

use super::harness::Lab;

const VERSION: &str = "4.2.3";

/// Serves the real helm as its site does, on loopback, until it is dropped.
pub struct Upstream {
    dir: tempfile::TempDir,
    ended: Arc<AtomicBool>,
    address: std::net::SocketAddr,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Upstream {
    pub fn start() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/charts/helm.sh");
        let out = Command::new(script).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let helm = std::fs::read(String::from_utf8_lossy(&out.stdout).trim()).unwrap();
        let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
        let mut header = tar::Header::new_gnu();
        header.set_size(helm.len() as u64);
        header.set_mode(0o755);
        tar.append_data(&mut header, "linux-amd64/helm", helm.as_slice()).unwrap();
        let archive = tar.into_inner().unwrap().finish().unwrap();
        let name = format!("helm-v{VERSION}-linux-amd64.tar.gz");
        let sum = format!("{}  {name}\n", Digest::of(&archive).hex());

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let ended = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&ended);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if until.load(Ordering::Relaxed) {
                    return;
                }
                answer(stream, &archive, sum.as_bytes());
            }
        });
        let dir = tempfile::tempdir().unwrap();
        let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("inventories/charts/hello");
        let inventory = format!(
            "[tools]\nhelm_version = \"{VERSION}\"\n[sources]\nhelm = \"http://{address}\"\n\
             [[charts]]\nname = \"hello\"\nnamespace = \"hello\"\nsource = {{ path = \"{}\" }}\ntimeout_s = 60\n\
             [charts.values]\nmessage = \"good morning\"\nproxy = {{ image = \"docker.io/library/haproxy:2.6\" }}\n",
            chart.display()
        );
        std::fs::write(dir.path().join("with.toml"), inventory).unwrap();
        Self { dir, ended, address, thread: Some(thread) }
    }

    pub fn inventory(&self) -> String {
        self.dir.path().join("with.toml").to_string_lossy().into_owned()
    }

    /// The same with more of an inventory.
    pub fn inventory_and(&self, more: &str) -> String {
        let text = std::fs::read_to_string(self.inventory()).unwrap();
        let path = self.dir.path().join("more.toml");
        std::fs::write(&path, format!("{text}{more}")).unwrap();
        path.to_string_lossy().into_owned()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // Wakes the listener, which then ends.
        let _ = TcpStream::connect(self.address);
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}

fn answer(mut stream: TcpStream, archive: &[u8], sum: &[u8]) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut request = String::new();
    let mut line = String::new();
    while reader.read_line(&mut line).unwrap_or(0) > 2 {
        request.push_str(&line);
        line.clear();
    }
    let body = if request.lines().next().unwrap_or_default().contains(".sha256sum") { sum } else { archive };
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
}

/// What the chart's Service answers, asked from one of its pods through kube-proxy.
pub fn page(lab: &Lab) -> String {
    const ASK: &str = "export KUBECONFIG=/etc/kubernetes/admin.conf
ip=$(kubectl -n hello get service hello -o jsonpath='{.spec.clusterIP}')
kubectl -n hello exec deploy/hello -c web -- busybox wget -qO- http://$ip/";
    // The kube-proxy of the pod's node may learn of a new endpoint a moment after helm did.
    lab.until("cp1", "the Service hello to answer", 20, ASK).trim().to_owned()
}
