//! `[packages]`: packages of the operating system that the hosts shall have, and the repositories they come from.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[packages]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Packages {
    /// What every minimal host has is taken as present and stays out of the bundle: for deb the packages that are
    /// Essential or of Priority required, systemd and apt, with all they depend on; for rpm systemd and dnf with all
    /// they depend on. `false` puts them all inside.
    pub exclude_installed_base: bool,
    /// The repositories. Those of one type are read as one, as apt and dnf do: the highest version wins.
    pub repository: Vec<PackageRepository>,
}

impl Default for Packages {
    fn default() -> Self {
        Self { exclude_installed_base: true, repository: Vec::new() }
    }
}

impl Packages {
    /// The names that hosts with this type of packages shall have, each once, in the order they are written.
    #[must_use]
    pub fn names(&self, kind: PackageKind) -> Vec<&str> {
        let mut all: Vec<&str> = Vec::new();
        for name in self.repository.iter().filter(|r| r.kind == kind).flat_map(|r| &r.names) {
            if !all.contains(&name.as_str()) {
                all.push(name);
            }
        }
        all
    }
}

/// `[[packages.repository]]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PackageRepository {
    /// Names it in the lock and in messages.
    pub name: String,
    /// deb or rpm.
    #[serde(rename = "type")]
    pub kind: PackageKind,
    /// Its base URL; for rpm the directory that `repodata` is in. `{arch}` stands for the architecture as the
    /// repository names it (amd64 and arm64 for deb, x86_64 and aarch64 for rpm).
    pub url: String,
    /// deb: the suite, like "bookworm"; one that ends in `/` is the path of a flat repository without components.
    #[serde(default)]
    pub suite: Option<String>,
    /// deb: the components, like ["main"].
    #[serde(default)]
    pub components: Vec<String>,
    /// The file with the OpenPGP keys whose signatures on the repository's metadata count, armored or binary.
    pub keyring: PathBuf,
    /// The packages that hosts shall have, without their dependencies: those are found.
    #[serde(default)]
    pub names: Vec<String>,
}

/// A type of packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PackageKind {
    /// Debian's, installed by apt.
    Deb,
    /// Red Hat's, installed by dnf.
    Rpm,
}

impl PackageKind {
    /// As written in the inventory.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deb => "deb",
            Self::Rpm => "rpm",
        }
    }

    /// What a distribution uses, by the ID of its os-release; none when we know no way to install packages there.
    #[must_use]
    pub fn of_os(os_id: &str) -> Option<Self> {
        match os_id {
            "debian" | "ubuntu" | "raspbian" | "linuxmint" | "devuan" | "kali" => Some(Self::Deb),
            "rhel" | "centos" | "rocky" | "almalinux" | "fedora" | "ol" | "amzn" | "openEuler" | "anolis" => {
                Some(Self::Rpm)
            }
            _ => None,
        }
    }
}
