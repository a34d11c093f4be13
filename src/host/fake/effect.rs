//! What commands do to a machine.

use super::machine::FakeFile;
use super::world::World;
use crate::bundle::Digest;
use crate::host::{Command, ExitState, Output};

pub(super) fn done(text: impl Into<String>) -> Output {
    Output { exit: ExitState::Code(0), stdout: text.into().into_bytes(), stderr: Vec::new() }
}

pub(super) fn broken(code: u32, text: impl Into<String>) -> Output {
    Output { exit: ExitState::Code(code), stdout: Vec::new(), stderr: text.into().into_bytes() }
}

impl World {
    /// Runs a command on machine `name`. `half` breaks it in its middle.
    pub(super) fn run(&mut self, name: &str, command: &Command, half: bool) -> Output {
        let argv: Vec<&str> = command.argv.iter().map(String::as_str).collect();
        let now = self.tick();
        match argv.as_slice() {
            ["sh", "-c", text, "sh", args @ ..] => {
                if text.starts_with("# apply:append") {
                    return self.append(name, args, &command.stdin, now);
                }
                let script = text.lines().next().unwrap_or_default().strip_prefix("# apply:").unwrap_or_default();
                self.log.push(format!("{name}: {script} {}", args.join(" ")));
                if script.starts_with("rotation-") || script == "kubelet-anew" {
                    return self.rotation_script(name, script, args, &command.stdin, now);
                }
                self.script(name, script, args, now, half)
            }
            ["rm", "-f", "--", paths @ ..] => {
                if let Some(m) = self.machines.get_mut(name) {
                    m.files.retain(|path, _| !paths.contains(&path.as_str()));
                }
                done("")
            }
            ["rm", "-rf", "--", dirs @ ..] => {
                if let Some(m) = self.machines.get_mut(name) {
                    dirs.iter().for_each(|dir| m.remove_below(dir));
                }
                done("")
            }
            ["mkdir", ..] => done(""),
            ["dd", args @ ..] => self.dd(name, args),
            ["modprobe", module] => {
                if let Some(m) = self.machines.get_mut(name) {
                    m.load(module);
                }
                done("")
            }
            ["kubeadm", args @ ..] => {
                self.log.push(format!("{name}: kubeadm {}", args.join(" ")));
                self.kubeadm(name, args, &command.stdin, now, half)
            }
            ["kubectl", "--kubeconfig", _, args @ ..] => {
                self.log.push(format!("{name}: kubectl {}", args.join(" ")));
                self.kubectl(name, args)
            }
            ["etcdctl", .., "member", "remove", id] => {
                self.log.push(format!("{name}: etcdctl member remove"));
                let id = u64::from_str_radix(id, 16).unwrap_or(0);
                self.etcd.retain(|_, member| *member != id);
                if !self.quorum() {
                    self.violations.push("etcd lost its quorum with a member that was taken out".into());
                }
                done("")
            }
            _ => broken(127, format!("the fake knows no {}", command.line())),
        }
    }

    fn script(&mut self, name: &str, script: &str, args: &[&str], now: u64, half: bool) -> Output {
        match (script, args) {
            ("clear", _) => return self.clear(name),
            ("api-answers" | "test-account", _) => {
                return if self.cluster_up() { done("") } else { broken(1, "connection refused") };
            }
            ("static-pod-restart" | "static-pod-anew", [_, ..]) => {
                let planes: Vec<&String> = self.etcd.keys().collect();
                if planes.iter().any(|plane| !self.api_up(plane)) {
                    self.violations.push(format!("a restart on {name} while another control plane is down"));
                }
                self.signs_by(name, args, now);
                let held_back = script == "static-pod-restart" && args.len() > 1 && self.held_back.contains(args[0]);
                return done(if held_back { "waiting\n" } else { "" });
            }
            ("served-certificates", [_, _, etcd]) => {
                let etcd = if etcd.is_empty() { None } else { Some("etcd") };
                let old = ["kube-apiserver"].into_iter().chain(etcd).filter(|c| self.reads_once.contains(*c));
                return done(old.map(|c| format!("{c}\n")).collect::<String>());
            }
            ("cluster-info", [_]) => return done(""),
            ("etcd-stage", [dir, member, _, hex]) => return self.stage(name, dir, member, hex, now),
            ("etcd-set-aside", [dir]) => return self.set_aside(name, dir, now),
            ("etcd-place", [dir]) => return self.place_etcd(name, dir, now),
            ("etcd-snapshot", [dir]) => return self.snapshot(name, dir, now),
            ("etcd-member", _) => return self.change_members(args),
            ("systemctl", [crate::resource::ETCD_UNIT, _, "run"]) => {
                let Some(m) = self.machines.get_mut(name) else { return broken(255, "no machine") };
                m.reloaded = now;
                m.units.entry(crate::resource::ETCD_UNIT.into()).or_default().enabled = true;
                return self.start_etcd(name, now);
            }
            ("bare", [units, files, dirs]) => {
                if let Some(m) = self.machines.get_mut(name) {
                    m.wipe(units, files, dirs);
                }
                return done("");
            }
            ("leave-cordon" | "leave-uncordon", [node]) => return self.leaving(name, node, script == "leave-cordon"),
            (
                "upload-settings"
                | "control-plane-settings"
                | "settings-back"
                | "kubelet-settings"
                | "proxy-settings"
                | "runtime-settings",
                _,
            ) => {
                return self.settings_script(name, script, args, now);
            }
            ("release", _) => return self.release(name, args),
            ("manifest", _) => return self.manifest(name, args),
            (
                "cordon" | "uncordon" | "kubeadm-upgrade" | "upgrade-addons" | "system-pods" | "gate" | "snapshot"
                | "keep" | "rollback",
                _,
            ) => return self.upgrade_script(name, script, args, now, half),
            ("test-pod-network", [_, _, count]) => {
                // Of the nodes that the inventory lists: one that it does not may be down.
                let ready = self.nodes.keys().filter(|n| self.ready(n)).count();
                let well = self.test_namespace && count.parse().is_ok_and(|count: usize| ready >= count);
                return if well { done("") } else { broken(1, "not all test pods run") };
            }
            _ => {}
        }
        let Some(m) = self.machines.get_mut(name) else { return broken(255, "no machine") };
        let writes = matches!(script, "install" | "unpack" | "import" | "packages-deb");
        if writes && m.disk_full {
            return broken(1, "No space left on device");
        }
        let stored = |m: &super::machine::Machine, hex: &str| {
            hex.parse::<Digest>().is_ok_and(|digest| m.blobs.contains_key(&digest))
        };
        match (script, args) {
            ("install", [_, hex, path, mode]) => {
                if !stored(m, hex) {
                    return broken(65, "blob is damaged or missing");
                }
                place(m, path, hex, mode, now)
            }
            ("unpack", [_, hex, members @ ..]) => {
                if !stored(m, hex) {
                    return broken(65, "blob is damaged or missing");
                }
                members.chunks_exact(4).map(|c| place(m, c[1], c[2], c[3], now)).find(|o| !o.ok()).unwrap_or(done(""))
            }
            ("import", [image, manifest, _, _, blobs @ ..]) => {
                if !m.runs("containerd.service") {
                    return broken(1, "containerd does not run");
                }
                if !blobs.iter().all(|b| stored(m, b.rsplit('/').next().unwrap_or(b))) {
                    return broken(65, "blob is damaged or missing");
                }
                m.images.insert((*image).to_owned(), format!("sha256:{manifest}"));
                done("")
            }
            ("packages-deb", [_, _, files @ ..]) => {
                if !m.has("/etc/apt/sources.list.d/provision.sources") || !m.has("/var/lib/provision/repo/deb/Packages")
                {
                    return broken(100, "there is no repository");
                }
                for file in files.chunks_exact(4) {
                    if !stored(m, file[1]) {
                        return broken(65, "blob is damaged or missing");
                    }
                    m.packages.insert(file[2].to_owned(), file[3].to_owned());
                }
                done("")
            }
            ("sysctl", [key, value]) => {
                if !m.sysctls.contains_key(*key) {
                    return broken(1, "no such key");
                }
                m.sysctls.insert((*key).to_owned(), (*value).to_owned());
                done("")
            }
            ("swapoff", []) => {
                m.swap = false;
                m.write("/etc/fstab.provision-before", b"", 0o644, now);
                done("")
            }
            ("systemctl", [unit, enabled, wanted]) => {
                m.reloaded = now;
                if !m.has_unit(unit) {
                    return broken(1, format!("Unit {unit} not found"));
                }
                m.units.entry((*unit).to_owned()).or_default().enabled = *enabled == "yes";
                match *wanted {
                    "run" if *unit == "kubelet.service" => self.start_kubelet(name, now),
                    "run" => m.start(unit, now),
                    "stop" => m.units.entry((*unit).to_owned()).or_default().active = false,
                    _ => {}
                }
                done("")
            }
            // kubeadm ends within its call here: there is never one of an earlier run to follow.
            ("pending", _) => broken(1, ""),
            ("why" | "why-job", _) => done(self.evidence.get(script).cloned().unwrap_or_default()),
            _ => broken(127, format!("the fake knows no script {script}")),
        }
    }

    fn clear(&mut self, name: &str) -> Output {
        let asked = self.may_go.contains(name);
        let Some(m) = self.machines.get_mut(name) else { return broken(255, "no machine") };
        if m.has("/etc/provision/joined") && !asked {
            self.violations.push(format!("{name} had joined and was cleared"));
        }
        for c in ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"] {
            m.files.remove(&format!("/etc/kubernetes/manifests/{c}.yaml"));
        }
        m.files.retain(|path, _| !(path.starts_with("/etc/kubernetes/") && path.ends_with(".conf")));
        for dir in ["/etc/kubernetes/pki", "/var/lib/etcd", "/var/lib/kubelet", "/etc/provision/joined"] {
            m.remove_below(dir);
        }
        m.units.entry("kubelet.service".into()).or_default().active = false;
        done("")
    }
}

fn place(m: &mut super::machine::Machine, path: &str, hex: &str, mode: &str, now: u64) -> Output {
    let (Ok(digest), Ok(mode)) = (hex.parse::<Digest>(), u32::from_str_radix(mode, 8)) else {
        return broken(2, "bad arguments");
    };
    m.files.insert(path.to_owned(), FakeFile { content: Vec::new(), digest, mode, mtime: now });
    done("")
}
