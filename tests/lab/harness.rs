//! A lab for tests: made by the program's own command, taken away at the end, its evidence kept when a test fails.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

pub struct Lab {
    name: &'static str,
    dir: PathBuf,
    state: tempfile::TempDir,
}

pub fn stdout(out: &Output) -> String {
    String::from_utf8_lossy(&out.stdout).into_owned()
}

pub fn stderr(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

/// Two footprints must be equal; what differs is shown.
pub fn same(before: &str, after: &str, what: &str) {
    let (a, b): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let gone: Vec<&&str> = a.iter().filter(|l| !b.contains(l)).collect();
    let new: Vec<&&str> = b.iter().filter(|l| !a.contains(l)).collect();
    assert!(gone.is_empty() && new.is_empty(), "{what}:\ngone: {gone:#?}\nnew: {new:#?}");
}

/// Waits up to `seconds` of a machine of ordinary speed until `look` succeeds, and returns what it saw. What was waited for and what
/// was last seen are said when the time is over.
pub fn wait_for<T>(what: &str, seconds: u64, mut look: impl FnMut() -> Result<T, String>) -> T {
    let (begun, limit) = (std::time::Instant::now(), patience(seconds));
    loop {
        let last = match look() {
            Ok(seen) => return seen,
            Err(last) => last,
        };
        assert!(begun.elapsed() < limit, "timed out after {} s waiting for {what}; last seen: {last}", limit.as_secs());
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// So many seconds of a machine of ordinary speed, as long as they are on this one: `tests/run` measures how slow it is.
pub fn patience(seconds: u64) -> Duration {
    let slowness = std::env::var("PROVISION_TEST_SLOWNESS").map_or(1.0, |s| s.parse::<f64>().unwrap());
    Duration::from_secs(seconds).mul_f64(slowness.max(1.0))
}

/// A blob with one byte flipped.
pub struct Flipped {
    pub digest: String,
    path: PathBuf,
    good: PathBuf,
}

impl Flipped {
    pub fn mend(self) {
        std::fs::remove_file(&self.path).unwrap();
        std::fs::rename(&self.good, &self.path).unwrap();
    }
}

impl Lab {
    /// Hosts, inventory and bundle; nothing of Kubernetes on the hosts yet.
    pub fn prepare(name: &'static str, control_planes: u8, workers: u8) -> Self {
        let lab = Self::prepare_with(name, control_planes, workers, None);
        lab.is_cut_off();
        lab
    }

    /// With a file laid over the lab's inventory.
    pub fn prepare_with(name: &'static str, control_planes: u8, workers: u8, with: Option<&str>) -> Self {
        Self::prepare_from(name, control_planes, workers, &with.map_or(vec![], |with| vec!["--with", with]))
    }

    /// With more arguments of `lab up`.
    pub fn prepare_from(name: &'static str, control_planes: u8, workers: u8, more: &[&str]) -> Self {
        let state = tempfile::tempdir().unwrap();
        let lab = Self { name, dir: state.path().join("labs").join(name), state };
        let _ = std::fs::remove_file(lab.transcript());
        lab.command(&["lab", "down", "--name", name]).output().unwrap();
        let (planes, workers) = (control_planes.to_string(), workers.to_string());
        let args = ["lab", "up", "--name", name, "--control-planes", &planes, "--workers", &workers, "--no-apply"];
        let args = [&args[..], more].concat();
        let status = lab.command(&args).status().unwrap();
        assert!(status.success(), "lab up failed");
        lab
    }

    /// Nothing of the upstream that the bundle came from answers any more, and no node can ask for a name outside.
    pub fn is_cut_off(&self) {
        let text = std::fs::read_to_string(self.inventory()).unwrap();
        let sources: Vec<&str> = text.split("http://").skip(1).filter_map(|s| s.split(['/', '"']).next()).collect();
        assert!(!sources.is_empty(), "the inventory names no upstream");
        for address in sources {
            assert!(std::net::TcpStream::connect(address).is_err(), "the upstream at {address} still answers");
        }
        for node in self.nodes() {
            let (found, text) = self.exec(&node, "getent ahosts example.com");
            assert!(!found, "{node} resolves names outside: {text}");
        }
    }

    fn command(&self, args: &[&str]) -> Command {
        // What is shipped, when it is at hand: hosts of another distribution can run that one alone.
        let program = std::env::var("PROVISION_LAB_PROGRAM").unwrap_or_else(|_| env!("CARGO_BIN_EXE_provision").into());
        let mut command = Command::new(program);
        command
            .args(args)
            .env("PROVISION_LAB_DIR", self.state.path().join("labs"))
            .env("PROVISION_STATE", self.state.path().join("state"))
            .stdin(Stdio::null());
        command
    }

    pub fn provision(&self, args: &[&str]) -> Output {
        let begun = std::time::Instant::now();
        let out = self.command(args).output().unwrap();
        self.write_down(args, &out, begun.elapsed());
        out
    }

    /// Adds a command and its answer to what the day-two guide of the README is pasted from, and evidence is kept of.
    fn write_down(&self, args: &[&str], out: &Output, took: Duration) {
        let here = format!("{}/", self.dir.display());
        let (said, code, took) = (stderr(out) + &stdout(out), out.status.code().unwrap_or(-1), took.as_secs_f32());
        let text =
            format!("$ provision {}\n{said}[exit {code} after {took:.1} s]\n\n", args.join(" ")).replace(&here, "");
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(self.transcript()).unwrap();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    }

    fn transcript(&self) -> PathBuf {
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("lab-{}.txt", self.name))
    }

    pub fn provision_env(&self, args: &[&str], env: &[(&str, &str)]) -> Output {
        self.command(args).envs(env.iter().copied()).output().unwrap()
    }

    pub fn apply(&self) -> Output {
        self.provision(&["apply", "-y", "-i", &self.inventory(), "-b", &self.bundle()])
    }

    /// What has to go through, and what it said on standard output.
    pub fn done(&self, args: &[&str]) -> String {
        let out = self.provision(args);
        assert!(out.status.success(), "provision {}: {}{}", args.join(" "), stdout(&out), stderr(&out));
        stdout(&out)
    }

    /// The inventory is applied; what that said.
    pub fn applied(&self) -> String {
        self.done(&["apply", "-y", "-i", &self.inventory(), "-b", &self.bundle()])
    }

    /// What is going to be killed.
    pub fn spawn(&self, args: &[&str]) -> Child {
        self.command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Exit code and steps of a plan.
    pub fn plan(&self) -> (i32, Vec<serde_json::Value>) {
        let args = ["plan", "--detailed-exitcode", "--format", "json", "-i", &self.inventory(), "-b", &self.bundle()];
        let out = self.provision(&args);
        let code = out.status.code().unwrap();
        assert!(matches!(code, 0 | 2), "{}", stderr(&out));
        let plan: serde_json::Value = serde_json::from_str(&stdout(&out)).unwrap();
        (code, plan["steps"].as_array().unwrap().clone())
    }

    /// A plan changes nothing.
    pub fn settled(&self) {
        let (code, steps) = self.plan();
        assert_eq!(
            code,
            0,
            "{:#?}",
            steps.iter().filter(|s| !s["id"].as_str().unwrap().starts_with("verify/")).collect::<Vec<_>>()
        );
    }

    /// The ids of the steps that change something.
    pub fn changes(&self, steps: &[serde_json::Value]) -> Vec<String> {
        let id = |s: &serde_json::Value| s["id"].as_str().unwrap().to_owned();
        steps.iter().map(id).filter(|id| !id.starts_with("verify/")).collect()
    }

    /// Starts an apply and, in the middle of the step `more` events after the first that names `step`, does `then`.
    fn apply_disturbed(&self, step: &str, more: usize, then: impl FnOnce(&mut Child)) -> (i32, String) {
        self.disturbed(&["-i", &self.inventory(), "-b", &self.bundle()], step, more, then)
    }

    /// The same of an inventory and a bundle of one's own.
    pub fn disturbed(&self, both: &[&str], step: &str, more: usize, then: impl FnOnce(&mut Child)) -> (i32, String) {
        let args = [&["apply", "-y", "--format", "json"], both].concat();
        let mut child = self.command(&args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let begun = |l: &String| l.contains("\"step-started\"") && l.contains(step);
        let line = lines.by_ref().filter(begun).nth(more).unwrap_or_else(|| panic!("apply ended before {step} began"));
        // Into the middle of it.
        std::thread::sleep(Duration::from_millis(1500));
        then(&mut child);
        println!("   disturbed in {}", line.split("\"step\":").nth(1).unwrap_or(&line));
        let rest: Vec<String> = lines.collect();
        (child.wait().unwrap().code().unwrap_or(-1), rest.join("\n"))
    }

    /// An apply that is killed with SIGKILL in the middle of a step.
    pub fn apply_killed_at(&self, step: &str, more: usize) {
        self.apply_disturbed(step, more, |child| child.kill().unwrap());
    }

    /// An apply during which a node loses its power for a moment: exit code and what it said after.
    pub fn apply_with_power_loss(&self, step: &str, node: &str) -> (i32, String) {
        self.apply_disturbed(step, 0, |_| {
            self.power_off(node);
            self.power_on(node);
        })
    }

    pub fn power_off(&self, node: &str) {
        let out = podman(&["stop", "-t", "0", &self.container(node)]);
        assert!(out.status.success(), "{}", stderr(&out));
    }

    /// Starts a node and waits until its sshd answers.
    pub fn power_on(&self, node: &str) {
        let out = podman(&["start", &self.container(node)]);
        assert!(out.status.success(), "{}", stderr(&out));
        self.answers(node);
    }

    /// Waits until a node's sshd answers. A host that stands in another's place has another hardware address, and is not
    /// found for some seconds.
    fn answers(&self, node: &str) {
        let address = format!("{}:22", self.address(node)).parse().unwrap();
        wait_for(&format!("sshd of {node}"), 60, || {
            std::net::TcpStream::connect_timeout(&address, Duration::from_secs(1)).map_err(|e| e.to_string())
        });
    }

    /// A node burns down: its container and its disk are gone.
    pub fn destroy(&self, node: &str) {
        block_on(provision::lab::destroy(self.name, node)).unwrap();
    }

    /// A bare host of the same name and address takes a destroyed one's place. Its SSH host key is another: it is pinned in
    /// the inventory as an operator would pin it.
    pub fn rebuild(&self, node: &str) {
        let public_key = std::fs::read_to_string(self.file("id_ed25519.pub")).unwrap();
        let address = self.address(node);
        let os = provision::lab::Os::default();
        let new =
            provision::lab::NewNode { lab: self.name, name: node, address: &address, public_key: &public_key, os };
        let key = block_on(provision::lab::start(&new)).unwrap();
        let text = std::fs::read_to_string(self.inventory()).unwrap();
        let mut hosts: Vec<String> = text.split("[[hosts]]").map(str::to_owned).collect();
        let host = hosts.iter_mut().skip(1).find(|h| field(h, "name") == node).unwrap();
        *host = host.replace(&field(host, "host_key"), &key);
        std::fs::write(self.inventory(), hosts.join("[[hosts]]")).unwrap();
        self.answers(node);
    }

    /// Copies a file off a node, beside `provision`, and returns where it is now.
    pub fn copy_from(&self, node: &str, path: &str) -> String {
        let to = self.file(path.rsplit('/').next().unwrap());
        let out = podman(&["cp", &format!("{}:{path}", self.container(node)), &to]);
        assert!(out.status.success(), "{}", stderr(&out));
        to
    }

    pub fn file(&self, name: &str) -> String {
        self.dir.join(name).to_string_lossy().into_owned()
    }
    pub fn inventory(&self) -> String {
        self.file("inventory.toml")
    }
    pub fn bundle(&self) -> String {
        self.file("bundle")
    }

    /// A changed copy of the inventory.
    pub fn edited(&self, name: &str, edit: impl Fn(&str) -> String) -> String {
        let text = std::fs::read_to_string(self.inventory()).unwrap();
        let path = self.file(name);
        std::fs::write(&path, edit(&text)).unwrap();
        path
    }

    pub fn nodes(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.inventory()).unwrap();
        let mut hosts = text.split("[[hosts]]").skip(1);
        hosts.by_ref().map(|h| field(h, "name")).collect()
    }

    pub fn address(&self, node: &str) -> String {
        let text = std::fs::read_to_string(self.inventory()).unwrap();
        let host = text.split("[[hosts]]").skip(1).find(|h| field(h, "name") == node).unwrap();
        field(host, "address")
    }

    fn container(&self, node: &str) -> String {
        format!("provision-{}-{node}", self.name)
    }

    /// Runs a shell line on a node, beside `provision`: whether it succeeded, and what it printed.
    pub fn exec(&self, node: &str, line: &str) -> (bool, String) {
        let out = podman(&["exec", &self.container(node), "sh", "-c", line]);
        (out.status.success(), stdout(&out) + &stderr(&out))
    }

    /// Waits until a shell line succeeds on a node, and returns what it printed.
    pub fn until(&self, node: &str, what: &str, seconds: u64, line: &str) -> String {
        wait_for(&format!("{what} on {node}"), seconds, || match self.exec(node, line) {
            (true, text) => Ok(text),
            (false, text) => Err(format!("`{line}`: {text}")),
        })
    }

    pub fn must(&self, node: &str, line: &str) {
        let (ok, text) = self.exec(node, line);
        assert!(ok, "{node}: {line}: {text}");
    }

    /// Everything of a host that `provision` could change: files (by content where small), units, mounts, interfaces,
    /// routes, firewall rules, listening ports, kernel settings.
    pub fn footprint(&self, node: &str) -> String {
        const SCRIPT: &str = r#"
find / -xdev \( -path /proc -o -path /sys -o -path /run -o -path /tmp -o -path /var/log -o -path /dev \) -prune -o -print 2>/dev/null | sort
find /var -xdev -path /var/log -prune -o -path /var/lib/systemd -prune -o -print | sort
find /etc -xdev -type f ! -name shadow\* ! -name passwd\* -exec sha256sum {} + | sort -k2
ls -A /run | grep -v -e '^utmp' -e '^sudo' -e '^xtables.lock'
systemctl list-unit-files --no-legend | sort
systemctl list-units --all --plain --no-legend --type=service --state=loaded | cut -d' ' -f1 | grep -v -e systemd- -e user -e session -e apt -e dpkg -e fstrim -e e2scrub | sort
cut -d' ' -f2,3 /proc/mounts | grep -v -e '^/run/user' | sort
ls /sys/class/net; ip route; ip rule
iptables-save | grep -v '^#' | sed 's/\[[0-9:]*\]//' | grep -v -E '^\*|^COMMIT|^:(INPUT|OUTPUT|FORWARD|PREROUTING|POSTROUTING)'
ss -Hltn | tr -s ' ' | cut -d' ' -f4 | sort
cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/bridge/bridge-nf-call-iptables
"#;
        let (ok, text) = self.exec(node, SCRIPT);
        assert!(ok || !text.is_empty(), "{text}");
        text
    }

    /// Flips a byte in the middle of the largest blob that every node gets.
    pub fn flip_a_blob(&self) -> Flipped {
        let manifest = std::fs::read_to_string(self.dir.join("bundle/bundle.json")).unwrap();
        let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
        let kubelet = manifest["artifacts"].as_array().unwrap().iter().find(|a| a["name"] == "kubelet").unwrap();
        let digest = kubelet["digest"].as_str().unwrap().to_owned();
        let path = self.dir.join("bundle/blobs/sha256").join(digest.trim_start_matches("sha256:"));
        let good = self.dir.join("good-blob");
        std::fs::rename(&path, &good).unwrap();
        let mut bytes = std::fs::read(&good).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        Flipped { digest, path, good }
    }

    pub fn kubectl(&self, kubeconfig: &str, args: &[&str]) -> String {
        let manifest = std::fs::read_to_string(self.dir.join("bundle/bundle.json")).unwrap();
        let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
        let kubectl = manifest["artifacts"].as_array().unwrap().iter().find(|a| a["name"] == "kubectl").unwrap();
        let hex = kubectl["digest"].as_str().unwrap().trim_start_matches("sha256:").to_owned();
        let program = self.dir.join("kubectl");
        if !program.exists() {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::copy(self.dir.join("bundle/blobs/sha256").join(hex), &program).unwrap();
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let out = Command::new(program).args(["--kubeconfig", kubeconfig]).args(args).output().unwrap();
        assert!(out.status.success(), "{}", stderr(&out));
        stdout(&out)
    }

    pub fn journals(&self) -> Vec<PathBuf> {
        let dir = self.state.path().join("state/journal").join(self.name);
        let mut all: Vec<PathBuf> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
        all.sort();
        all
    }

    fn keep_evidence(&self) {
        let to = Path::new("lab-evidence").join(self.name);
        let _ = std::fs::remove_dir_all(&to);
        std::fs::create_dir_all(&to).unwrap();
        let keep = |name: String, text: String| std::fs::write(to.join(name), text).unwrap();
        for node in self.nodes() {
            for (what, line) in [
                ("journal", "journalctl --no-pager -n 400"),
                ("units", "systemctl --failed --no-pager; systemctl status --no-pager kubelet containerd"),
                (
                    "pods",
                    "tail -n 30 /var/log/pods/*/*/*.log; ls -la /etc/kubernetes /etc/kubernetes/manifests /etc/provision /run/provision",
                ),
            ] {
                keep(format!("{node}.{what}"), self.exec(&node, line).1);
            }
        }
        keep("status".into(), stdout(&self.provision(&["status", "-i", &self.inventory()])));
        keep("transcript".into(), std::fs::read_to_string(self.transcript()).unwrap_or_default());
        for path in
            std::fs::read_dir(self.state.path().join("state/journal").join(self.name)).into_iter().flatten().flatten()
        {
            let _ = std::fs::copy(path.path(), to.join(path.file_name()));
        }
        println!("evidence: {}", to.display());
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() && Path::new(&self.inventory()).exists() {
            self.keep_evidence();
        }
        let _ = self.command(&["lab", "down", "--name", self.name]).output();
    }
}

fn field(host: &str, key: &str) -> String {
    let line = host.lines().find(|l| l.starts_with(key)).unwrap();
    line.split('"').nth(1).unwrap().to_owned()
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn podman(args: &[&str]) -> Output {
    Command::new("podman").args(["--runtime", "runc"]).args(args).output().unwrap()
}
