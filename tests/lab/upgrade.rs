//! A rolling upgrade under load: a workload that is asked over HTTP and an API that is written to, all along.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::harness::{Lab, patience, stderr, stdout, wait_for};
use super::{record, release};

const WORKLOAD: &str = include_str!("web.yaml");

const WRITER: &str = include_str!("writer.sh");

/// A workload behind a Service, of which a disruption budget keeps this many of its two replicas, as objects of the lab's version.
pub fn workload(lab: &Lab, available: u32) -> String {
    let text = WORKLOAD.replace("minAvailable: 1", &format!("minAvailable: {available}"));
    release::objects(&text, release::minor(lab))
}

/// Asks the workload through every node in turn until it is dropped.
pub struct Reader {
    stop: Arc<AtomicBool>,
    pub well: Arc<AtomicUsize>,
    pub failed: Arc<AtomicUsize>,
}

impl Reader {
    pub fn start(nodes: Vec<SocketAddr>) -> Self {
        let this = Self { stop: Arc::default(), well: Arc::default(), failed: Arc::default() };
        let (stop, well, failed) = (Arc::clone(&this.stop), Arc::clone(&this.well), Arc::clone(&this.failed));
        std::thread::spawn(move || {
            for node in nodes.iter().cycle() {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                match ask(*node) {
                    Ok(()) => well.fetch_add(1, Ordering::Relaxed),
                    Err(e) => {
                        println!("   {node} did not answer: {e}");
                        failed.fetch_add(1, Ordering::Relaxed)
                    }
                };
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        this
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

pub fn ask(node: SocketAddr) -> std::io::Result<()> {
    let limit = Duration::from_secs(5);
    let mut stream = TcpStream::connect_timeout(&node, limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.write_all(b"GET /hostname HTTP/1.0\r\nHost: web\r\n\r\n")?;
    let mut said = String::new();
    stream.read_to_string(&mut said)?;
    if said.starts_with("HTTP/1.") && said.contains(" 200 ") {
        return Ok(());
    }
    Err(std::io::Error::other(format!("it said {said:?}")))
}

/// Waits until the workload answers through each of these.
pub fn answers(doors: &[SocketAddr]) {
    for door in doors {
        wait_for(&format!("the workload at {door}"), 60, || ask(*door).map_err(|e| e.to_string()));
    }
}

fn kubectl(lab: &Lab, line: &str) -> String {
    let (ok, text) = lab.exec("cp1", &format!("kubectl --kubeconfig /etc/kubernetes/admin.conf {line}"));
    assert!(ok, "kubectl {line}: {text}");
    text
}

/// Name and kubelet version of every node, and whether it takes pods.
fn versions(lab: &Lab) -> Vec<(String, String, bool)> {
    let path = "'jsonpath={range .items[*]}{.metadata.name} {.status.nodeInfo.kubeletVersion} {.spec.unschedulable}{\"\\n\"}{end}'";
    let text = kubectl(lab, &format!("get nodes -o {path}"));
    let of = |line: &str| {
        let mut words = line.split_whitespace();
        Some((words.next()?.to_owned(), words.next()?.to_owned(), words.next() != Some("true")))
    };
    text.lines().filter_map(of).collect()
}

/// On w1 alone the tag of kube-proxy's new image means another image, in which there is no kube-proxy, and its pod is made
/// anew of that.
fn break_proxy(lab: &Lab, to: &str) {
    let tag =
        format!("ctr -n k8s.io images tag --force docker.io/library/busybox:1.36 registry.k8s.io/kube-proxy:v{to}");
    lab.must("w1", &tag);
    kubectl(lab, "-n kube-system delete pod -l k8s-app=kube-proxy --field-selector spec.nodeName=w1 --wait=false");
}

/// One argument and one name of the API servers, and one setting of the kubelets.
fn settings_are_rolled(lab: &Lab, inventory: &str, apply: impl Fn() -> Output) {
    let text = std::fs::read_to_string(inventory).unwrap();
    let api = "[apiserver]\nextra_args = { max-mutating-requests-inflight = \"211\" }\ncert_sans = [\"api.other.example\"]\n\n";
    let text = text.replacen("[kubelet.config]\n", &format!("{api}[kubelet.config]\nmaxPods = 97\n"), 1);
    std::fs::write(inventory, text).unwrap();
    let out = apply();
    assert!(out.status.success(), "{}{}", stdout(&out), stderr(&out));
    for node in lab.nodes().iter().filter(|n| n.starts_with("cp")) {
        let running = "tr '\\0' ' ' </proc/$(pgrep -x kube-apiserver)/cmdline";
        let (_, line) = lab.exec(node, running);
        assert!(line.contains("--max-mutating-requests-inflight=211"), "{node}: {line}");
        let ask =
            "kubectl --kubeconfig /etc/kubernetes/admin.conf --tls-server-name api.other.example --server https://";
        let (ok, said) = lab.exec(node, &format!("{ask}{}:6443 get --raw /readyz", lab.address(node)));
        assert!(ok && said.trim() == "ok", "{node}: {said}");
    }
    let path = "'jsonpath={range .items[*]}{.status.allocatable.pods} {end}'";
    let pods = kubectl(lab, &format!("get nodes -o {path}"));
    assert!(pods.split_whitespace().all(|n| n == "97"), "{pods}");
}

pub fn lives(lab: &Lab) {
    let [from, to] = release::upgrade();
    lab.applied();
    record::cluster(lab);
    for (name, version, takes_pods) in versions(lab) {
        assert!(version == format!("v{from}") && takes_pods, "{name} is at {version}, takes pods: {takes_pods}");
    }
    let inventory = lab.file(&format!("{to}/inventory.toml"));
    let bundle = lab.file(&format!("{to}/bundle"));
    let mut text = std::fs::read_to_string(&inventory).unwrap();
    text += &format!(
        "\n[upgrade]\nsoak_s = 5\ngate_timeout_s = {}\n[upgrade.drain]\ntimeout_s = {}\n\
             [[upgrade.gates]]\nname = \"site\"\ncommand = \"test ! -e /run/gate-closed\"\n",
        patience(90).as_secs(),
        patience(120).as_secs()
    );
    std::fs::write(&inventory, text).unwrap();
    let both = ["-i", &inventory, "-b", &bundle];
    let apply = || lab.provision(&[&["apply", "-y"][..], &both].concat());
    let is_done = || {
        let out = apply();
        assert!(out.status.success() && stdout(&out).ends_with("no changes\n"), "{}{}", stdout(&out), stderr(&out));
    };

    // The workload has all its replicas to lose: no drain can ever end, and nothing is begun.
    let strict = workload(lab, 2);
    lab.must("cp1", &format!("cat >/run/web.yaml <<'EOF'\n{strict}\nEOF"));
    kubectl(lab, "apply -f /run/web.yaml");
    kubectl(lab, "rollout status deploy/web --timeout=300s");
    let doors: Vec<SocketAddr> =
        lab.nodes().iter().map(|n| format!("{}:30080", lab.address(n)).parse().unwrap()).collect();
    answers(&doors);
    let out = lab.provision(&[&["plan"][..], &both].concat());
    assert_eq!(out.status.code(), Some(5), "{}{}", stdout(&out), stderr(&out));
    assert!(stderr(&out).contains("default/web"), "{}", stderr(&out));
    lab.must("cp1", "sed -i 's/minAvailable: 2/minAvailable: 1/' /run/web.yaml");
    kubectl(lab, "apply -f /run/web.yaml");

    let (ok, admin) = lab.exec("cp1", "cat /etc/kubernetes/admin.conf");
    assert!(ok);
    lab.must(
        "w1",
        &format!("umask 077; cat >/run/admin.conf <<'EOF'\n{admin}\nEOF\ncat >/run/writer.sh <<'EOF'\n{WRITER}\nEOF"),
    );
    lab.must("w1", "systemd-run --quiet --unit lab-writer --setenv=PATH=\"$PATH:/usr/local/bin\" sh /run/writer.sh");
    let reader = Reader::start(doors);

    // The canary's kube-proxy image is broken: the control planes are through, the worker is back, nobody else was begun.
    let (code, said) = lab.disturbed(&both, "upgrade-worker/w1/version", 0, |_| break_proxy(lab, &to));
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("kube-proxy") && said.contains(&format!("w1 was put back to v{from}")), "{said}");
    for (name, version, takes_pods) in versions(lab) {
        let wanted = format!("v{}", if name.starts_with("cp") { &to } else { &from });
        assert!(version == wanted && takes_pods, "{name} is at {version}, takes pods: {takes_pods}");
    }

    // The cure: another tag is drift like any other, and the next apply brings the image of the bundle back. The pod that
    // was made of the broken one waits longer and longer, another does not. It goes on where it stopped.
    kubectl(lab, "-n kube-system delete pod -l k8s-app=kube-proxy --field-selector spec.nodeName=w1 --wait=false");
    let out = apply();
    assert!(out.status.success(), "{}{}", stdout(&out), stderr(&out));
    for (name, version, takes_pods) in versions(lab) {
        assert!(version == format!("v{to}") && takes_pods, "{name} is at {version}, takes pods: {takes_pods}");
    }
    let proxy =
        kubectl(lab, "-n kube-system get daemonset kube-proxy -o 'jsonpath={.spec.template.spec.containers[0].image}'");
    assert!(proxy.ends_with(&format!(":v{to}")), "{proxy}");
    lab.must("cp1", &format!("test -s /var/lib/provision/snapshots/before-v{to}.db"));
    is_done();
    record::cluster(lab);

    settings_are_rolled(lab, &inventory, apply);
    is_done();

    lab.must("w1", "touch /run/stop");
    lab.until("w1", "the end of the writer", 60, "! systemctl is-active lab-writer");
    let (_, writes) = lab.exec("w1", "cat /run/writes");
    let (well, failed) = (reader.well.load(Ordering::Relaxed), reader.failed.load(Ordering::Relaxed));
    println!("   asked {well} times, {failed} failed; writes (well, at the second try, lost): {}", writes.trim());
    // The target is none, and none is what a quiet machine shows; one in a thousand is left to a machine that stands still.
    assert!(well > 200 && failed * 1000 <= well, "{failed} of {} requests failed", well + failed);
    assert!(writes.trim().ends_with(" 0"), "writes were lost: {writes}");
}
