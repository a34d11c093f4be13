//! One machine's state.

use std::collections::{BTreeMap, BTreeSet};

use crate::bundle::Digest;

/// A file; of one that came out of a blob only the digest is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FakeFile {
    /// Its bytes (empty when only the digest is known).
    pub content: Vec<u8>,
    /// Its digest.
    pub digest: Digest,
    /// Permission bits.
    pub mode: u32,
    /// When it was last written, ticks of the world's clock.
    pub mtime: u64,
}

/// A systemd unit's state.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FakeUnit {
    /// It runs.
    pub active: bool,
    /// It starts at boot.
    pub enabled: bool,
    /// When it started, ticks of the world's clock.
    pub started: u64,
}

/// A machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Machine {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: String,
    /// Files by path.
    pub files: BTreeMap<String, FakeFile>,
    /// Units by name.
    pub units: BTreeMap<String, FakeUnit>,
    /// The tick of the last daemon-reload.
    pub reloaded: u64,
    /// Kernel settings.
    pub sysctls: BTreeMap<String, String>,
    /// Loaded modules.
    pub modules: BTreeSet<String>,
    /// Swap is on.
    pub swap: bool,
    /// The content store: digest to size.
    pub blobs: BTreeMap<Digest, u64>,
    /// Images: name to digest.
    pub images: BTreeMap<String, String>,
    /// Installed packages: name to version.
    pub packages: BTreeMap<String, String>,
    /// The kubelet that was started last.
    pub kubelet: Option<Digest>,
    /// No space is left: writes fail.
    pub disk_full: bool,
    /// It does not answer, and nothing runs on it.
    pub dead: bool,
}

impl Machine {
    /// A bare machine, with swap on.
    #[must_use]
    pub fn bare(name: &str, address: &str) -> Self {
        let mut machine = Self { name: name.into(), address: address.into(), swap: true, ..Self::default() };
        machine.write("/etc/hosts", b"127.0.0.1 localhost\n", 0o644, 1);
        machine.fresh_kernel();
        machine
    }

    /// Writes a file.
    pub fn write(&mut self, path: &str, content: &[u8], mode: u32, now: u64) {
        let file = FakeFile { content: content.to_vec(), digest: Digest::of(content), mode, mtime: now };
        self.files.insert(path.to_owned(), file);
    }

    /// Whether a file is there.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    /// A file's text, empty when there is none.
    #[must_use]
    pub fn text(&self, path: &str) -> String {
        self.files.get(path).map(|f| String::from_utf8_lossy(&f.content).into_owned()).unwrap_or_default()
    }

    /// Whether a unit runs.
    #[must_use]
    pub fn runs(&self, unit: &str) -> bool {
        !self.dead && self.units.get(unit).is_some_and(|u| u.active)
    }

    /// The unit's file is there.
    #[must_use]
    pub fn has_unit(&self, unit: &str) -> bool {
        self.has(&format!("/etc/systemd/system/{unit}"))
    }

    /// Starts a unit anew.
    pub fn start(&mut self, unit: &str, now: u64) {
        if unit == "kubelet.service" {
            self.kubelet = self.files.get("/usr/local/bin/kubelet").map(|f| f.digest.clone());
        }
        let unit = self.units.entry(unit.to_owned()).or_default();
        unit.active = true;
        unit.started = now;
    }

    /// Loads a module with what it brings.
    pub fn load(&mut self, module: &str) {
        self.modules.insert(module.to_owned());
        if module == "br_netfilter" {
            for key in ["net.bridge.bridge-nf-call-iptables", "net.bridge.bridge-nf-call-ip6tables"] {
                self.sysctls.entry(key.into()).or_insert_with(|| "0".into());
            }
        }
    }

    /// Takes away these files, units and directories, and what came out of blobs.
    pub fn wipe(&mut self, units: &str, files: &str, dirs: &str) {
        self.units.retain(|name, _| !units.split(' ').any(|u| u == name));
        self.files.retain(|path, _| !files.split(' ').any(|f| f == path));
        dirs.split(' ').for_each(|dir| self.remove_below(dir));
        self.blobs.clear();
        if self.files.remove("/etc/fstab.provision-before").is_some() {
            self.swap = true;
        }
        self.images.clear();
        let hosts = self.text("/etc/hosts");
        let own = hosts.lines().take_while(|l| !l.starts_with("# BEGIN provision"));
        let own: String = own.map(|l| format!("{l}\n")).collect();
        self.write("/etc/hosts", own.as_bytes(), 0o644, self.reloaded);
    }

    /// Removes all files below a directory.
    pub fn remove_below(&mut self, dir: &str) {
        self.files.retain(|path, _| !path.starts_with(dir));
    }

    fn fresh_kernel(&mut self) {
        self.modules.clear();
        self.sysctls = [
            ("net.ipv4.ip_forward", "0"),
            ("net.ipv6.conf.all.forwarding", "0"),
            ("fs.inotify.max_user_instances", "128"),
            ("fs.inotify.max_user_watches", "65536"),
        ]
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .into();
    }

    /// A power cycle: what is not on disk is gone, what is enabled starts.
    pub fn reboot(&mut self, now: u64) {
        self.fresh_kernel();
        self.remove_below("/run/");
        for module in self.text("/etc/modules-load.d/provision.conf").lines().filter(|l| !l.starts_with('#')) {
            self.load(module.trim());
        }
        for line in self.text("/etc/sysctl.d/90-provision.conf").lines() {
            if let Some((key, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) {
                self.sysctls.insert(key.trim().into(), value.trim().into());
            }
        }
        self.swap = !self.has("/etc/fstab.provision-before");
        self.reloaded = now;
        for (name, unit) in &mut self.units {
            let file = self.files.contains_key(&format!("/etc/systemd/system/{name}"));
            // Without its configuration from kubeadm the kubelet does not stay up.
            let able = name != "kubelet.service" || self.files.contains_key("/var/lib/kubelet/config.yaml");
            unit.active = unit.enabled && file && able;
            unit.started = if unit.active { now } else { 0 };
            if unit.active && name == "kubelet.service" {
                self.kubelet = self.files.get("/usr/local/bin/kubelet").map(|f| f.digest.clone());
            }
        }
    }
}
