//! The metadata of a local rpm repository. Pure.

use std::fmt::Write as _;

use quick_xml::escape::escape;

use super::local::{LocalPackage, pool_path};
use crate::bundle::Digest;
use crate::inventory::{Arch, PackageKind};

/// The relations of a package in `primary.xml`, and the field of ours that holds them, one to a line.
pub(super) const RELATIONS: [(&str, &str); 4] = [
    ("rpm:provides", "Provides"),
    ("rpm:requires", "Requires"),
    ("rpm:conflicts", "Conflicts"),
    ("rpm:obsoletes", "Obsoletes"),
];

/// `primary.xml` of these packages.
pub(super) fn primary(arch: Arch, packages: &[&LocalPackage<'_>]) -> String {
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<metadata xmlns=\"http://linux.duke.edu/metadata/common\" xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\" packages=\"{}\">\n",
        packages.len()
    );
    for package in packages {
        let field = |name: &str| package.control.get(name).map(String::as_str).unwrap_or_default();
        let (epoch, version, release) = evr(package.version);
        let _ = write!(
            out,
            "<package type=\"rpm\">\n<name>{}</name>\n<arch>{}</arch>\n<version epoch=\"{}\" ver=\"{}\" rel=\"{}\"/>\n\
             <checksum type=\"sha256\" pkgid=\"YES\">{}</checksum>\n<summary/>\n<description/>\n<packager/>\n<url/>\n<time file=\"0\" build=\"0\"/>\n\
             <size package=\"{}\" installed=\"0\" archive=\"0\"/>\n<location href=\"{}\"/>\n<format>\n",
            escape(package.name),
            escape(field("Arch")),
            escape(epoch),
            escape(version),
            escape(release),
            package.sha256.hex(),
            package.size,
            escape(pool_path(PackageKind::Rpm, package.name, package.version, arch).as_str()),
        );
        for (element, name) in RELATIONS {
            let lines: Vec<&str> = field(name).lines().filter(|l| !l.is_empty()).collect();
            if !lines.is_empty() {
                let entries: String = lines.iter().map(|l| entry(l)).collect();
                let _ = write!(out, "<{element}>\n{entries}</{element}>\n");
            }
        }
        for file in field("Files").lines().filter(|l| !l.is_empty()) {
            let _ = writeln!(out, "<file>{}</file>", escape(file));
        }
        out.push_str("</format>\n</package>\n");
    }
    out.push_str("</metadata>\n");
    out
}

fn entry(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let flags = |op: &str| match op {
        "<" => Some("LT"),
        "<=" => Some("LE"),
        "=" => Some("EQ"),
        ">=" => Some("GE"),
        ">" => Some("GT"),
        _ => None,
    };
    match words.as_slice() {
        [name, op, version] if !line.starts_with('(') => match flags(op) {
            Some(flags) => {
                let (epoch, version, release) = evr(version);
                let release = if release.is_empty() { String::new() } else { format!(" rel=\"{}\"", escape(release)) };
                format!(
                    "<rpm:entry name=\"{}\" flags=\"{flags}\" epoch=\"{}\" ver=\"{}\"{release}/>\n",
                    escape(*name),
                    escape(epoch),
                    escape(version)
                )
            }
            None => format!("<rpm:entry name=\"{}\"/>\n", escape(line)),
        },
        _ => format!("<rpm:entry name=\"{}\"/>\n", escape(line)),
    }
}

fn evr(version: &str) -> (&str, &str, &str) {
    let (epoch, rest) = version.split_once(':').unwrap_or(("0", version));
    let (version, release) = rest.rsplit_once('-').unwrap_or((rest, ""));
    (epoch, version, release)
}

/// `repomd.xml` that names `primary.xml`.
pub(super) fn repomd(index: &Digest, size: u64) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<repomd xmlns=\"http://linux.duke.edu/metadata/repo\" xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\">\n\
         <revision>{}</revision>\n<data type=\"primary\">\n<checksum type=\"sha256\">{}</checksum>\n<location href=\"repodata/primary.xml\"/>\n\
         <timestamp>0</timestamp>\n<size>{size}</size>\n</data>\n</repomd>\n",
        index.short(),
        index.hex()
    )
}
