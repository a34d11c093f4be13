//! Real package repositories: built by dpkg-deb and apt-ftparchive, or rpmbuild and createrepo_c, signed by gpg with
//! throw-away keys, and served from memory.

#![allow(dead_code, reason = "not every test uses all of it")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use provision::bundle::Digest;

use crate::site::server::Server;

/// Runs a tool that has to succeed; its standard output.
pub fn tool(package: &str, command: &mut Command) -> Vec<u8> {
    let Output { status, stdout, stderr } =
        command.output().unwrap_or_else(|e| panic!("{command:?}: {e}; install the Debian package {package}"));
    assert!(status.success(), "{command:?}: {}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    stdout
}

/// A throw-away OpenPGP key. The primary key certifies, a subkey signs, as archive keys are made.
pub struct Key {
    home: tempfile::TempDir,
}

impl Key {
    pub fn new(name: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let key = Self { home };
        key.gpg(&["--quick-gen-key", name, "rsa2048", "cert", "0"]);
        let listed = String::from_utf8(key.gpg(&["--list-keys", "--with-colons"])).unwrap();
        let fingerprint = listed.lines().find_map(|l| l.strip_prefix("fpr:::::::::")).unwrap();
        key.gpg(&["--quick-add-key", fingerprint.trim_end_matches(':'), "ed25519", "sign", "0"]);
        key
    }

    pub fn gpg(&self, args: &[&str]) -> Vec<u8> {
        let mut command = Command::new("gpg");
        command.args(["--homedir", self.home.path().to_str().unwrap(), "--batch", "--quiet", "--yes"]);
        tool("gnupg", command.args(["--pinentry-mode", "loopback", "--passphrase", ""]).args(args))
    }

    /// Its public half: armored or binary.
    pub fn export(&self, to: &Path, armored: bool) {
        let mut args = vec!["--export"];
        if armored {
            args.push("--armor");
        }
        std::fs::write(to, self.gpg(&args)).unwrap();
    }

    pub fn clearsign(&self, text: &str) -> Vec<u8> {
        let file = self.home.path().join("text");
        std::fs::write(&file, text).unwrap();
        self.gpg(&["--clearsign", "--output", "-", file.to_str().unwrap()])
    }

    pub fn detach(&self, bytes: &[u8]) -> Vec<u8> {
        let file = self.home.path().join("bytes");
        std::fs::write(&file, bytes).unwrap();
        self.gpg(&["--detach-sign", "--armor", "--output", "-", file.to_str().unwrap()])
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        // The agent of this home and of no other.
        let _ = Command::new("gpgconf").arg("--homedir").arg(self.home.path()).args(["--kill", "all"]).status();
    }
}

/// Packages to be published as a deb repository.
pub struct Debs {
    pub dir: tempfile::TempDir,
}

impl Debs {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("pool")).unwrap();
        Self { dir }
    }

    /// Adds a package; `control` is more of its control file, `postinst` its script after installation.
    pub fn add(&self, name: &str, version: &str, control: &str, postinst: &str) -> &Self {
        let tree = tempfile::tempdir().unwrap();
        let at = |p: &str| tree.path().join(p);
        std::fs::create_dir_all(at("DEBIAN")).unwrap();
        std::fs::create_dir_all(at("usr/share/pt")).unwrap();
        std::fs::write(at(&format!("usr/share/pt/{name}")), version).unwrap();
        let text = format!(
            "Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: Test <test@example.org>\nDescription: a test\n of packages\n{control}"
        );
        std::fs::write(at("DEBIAN/control"), text).unwrap();
        if !postinst.is_empty() {
            std::fs::write(at("DEBIAN/postinst"), format!("#!/bin/sh\n{postinst}\n")).unwrap();
            tool("coreutils", Command::new("chmod").arg("755").arg(at("DEBIAN/postinst")));
        }
        let deb = self.dir.path().join(format!("pool/{name}_{}.deb", version.replace(':', "%3a")));
        tool("dpkg", Command::new("dpkg-deb").args(["--root-owner-group", "--build"]).arg(tree.path()).arg(deb));
        self
    }

    /// Publishes everything under `/deb`, with `more` fields in the Release file, signed by `key`.
    pub fn publish(&self, server: &Server, key: &Key, more: &str) {
        let root = self.dir.path();
        let here = |program: &str| {
            let mut command = Command::new(program);
            command.current_dir(root);
            command
        };
        let index = root.join("dists/stable/main/binary-amd64");
        std::fs::create_dir_all(&index).unwrap();
        let packages = tool("apt-utils", here("apt-ftparchive").args(["packages", "pool"]));
        std::fs::write(index.join("Packages"), packages).unwrap();
        tool("xz-utils", Command::new("xz").args(["--keep", "--force"]).arg(index.join("Packages")));
        let release = tool("apt-utils", here("apt-ftparchive").args(["release", "dists/stable"]));
        let release = format!("Suite: stable\n{more}{}", String::from_utf8(release).unwrap());
        for path in files(root) {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            server.put(&format!("/deb/{name}"), "application/octet-stream", std::fs::read(&path).unwrap());
        }
        server.put("/deb/dists/stable/InRelease", "text/plain", key.clearsign(&release));
    }
}

/// Packages to be published as an rpm repository.
pub struct Rpms {
    pub dir: tempfile::TempDir,
}

impl Rpms {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    /// Adds a package; `header` is more of its spec file's head.
    pub fn add(&self, name: &str, version: &str, header: &str) -> &Self {
        let spec = format!(
            "Name: {name}\nVersion: {version}\nRelease: 1\nSummary: a test\nLicense: none\nBuildArch: noarch\n{header}\n\
             %description\na test\n%install\nmkdir -p %{{buildroot}}/usr/share/pt %{{buildroot}}/usr/bin\n\
             echo {version} | tee %{{buildroot}}/usr/share/pt/{name} >%{{buildroot}}/usr/bin/{name}\n\
             %files\n/usr/share/pt/{name}\n/usr/bin/{name}\n"
        );
        let top = tempfile::tempdir().unwrap();
        let path = top.path().join("package.spec");
        std::fs::write(&path, spec).unwrap();
        let define = |name: &str, value: &Path| format!("{name} {}", value.display());
        tool(
            "rpm",
            Command::new("rpmbuild")
                .args(["-bb", "--quiet", "--define", &define("_topdir", top.path())])
                .args(["--define", &define("_rpmdir", self.dir.path())])
                .arg(path),
        );
        self
    }

    /// Publishes everything under `/rpm`, signed by `key`, the indices as gz, xz or zst.
    pub fn publish(&self, server: &Server, key: &Key, compression: &str) {
        let root = self.dir.path();
        let zst = compression == "zst";
        let compression = if zst { "gz" } else { compression };
        tool(
            "createrepo-c",
            Command::new("createrepo_c").args(["--quiet", "--general-compress-type", compression]).arg(root),
        );
        for path in files(root) {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            server.put(&format!("/rpm/{name}"), "application/octet-stream", std::fs::read(&path).unwrap());
        }
        let mut repomd = std::fs::read(root.join("repodata/repomd.xml")).unwrap();
        if zst {
            // Debian's createrepo_c cannot write it yet.
            let text = "gzip -dc repodata/*-primary.xml.gz | zstd -q -c";
            let packed = tool("zstd", Command::new("sh").args(["-c", text]).current_dir(root));
            repomd = format!(
                "<repomd><data type=\"primary\"><checksum type=\"sha256\">{}</checksum><location href=\"repodata/primary.xml.zst\"/></data></repomd>",
                Digest::of(&packed).hex()
            )
            .into_bytes();
            server.put("/rpm/repodata/primary.xml.zst", "application/zstd", packed);
            server.put("/rpm/repodata/repomd.xml", "text/xml", repomd.clone());
        }
        server.put("/rpm/repodata/repomd.xml.asc", "text/plain", key.detach(&repomd));
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let (mut all, mut open) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(at) = open.pop() {
        for entry in std::fs::read_dir(at).unwrap().map(Result::unwrap) {
            if entry.path().is_dir() {
                open.push(entry.path());
            } else {
                all.push(entry.path());
            }
        }
    }
    all
}
