//! Where the lab's Kubernetes comes from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::part::reported;
use super::process::run;
use crate::bundle::{Digest, cache_dir};
use crate::error::{Context as _, Error, Kind, Result};
use crate::exec::Sink;
use crate::version::KubeVersion;

const SCRIPT: &str = include_str!("debian.sh");
/// What Debian's source package is stamped as.
const DEBIAN_VERSION: &str = "1.20.2";
/// The upstream release that a lab with internet takes.
const UPSTREAM_VERSION: &str = "1.34.2";

/// A source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The real download sites, as any user's bundle.
    Upstream,
    /// Debian's source package, built here.
    Debian,
    /// A directory of release binaries, named as upstream names them; or of such directories, one a version, named by it
    /// (`v1.36.2`).
    Dir(PathBuf),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upstream => f.write_str("the upstream sites"),
            Self::Debian => f.write_str("Debian's source package"),
            Self::Dir(dir) => write!(f, "{}", dir.display()),
        }
    }
}

/// The parts of a source that is laid out locally.
#[derive(Debug, Clone)]
pub(super) struct Parts {
    values: BTreeMap<String, String>,
}

impl Parts {
    /// Reads what the script prints at its end: `key=value` lines.
    pub(super) fn read(text: &str) -> Self {
        let pairs = text.lines().filter_map(|l| l.split_once('='));
        Self { values: pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect() }
    }
    pub(super) fn get(&self, key: &str) -> &str {
        self.values.get(key).map_or("", String::as_str)
    }
    /// The tree of the upstream sites.
    pub(super) fn www(&self) -> &Path {
        Path::new(self.get("www"))
    }
    /// The OCI layout with the images.
    pub(super) fn images(&self) -> &Path {
        Path::new(self.get("images"))
    }
}

impl Source {
    /// What the user asked for; without that `PROVISION_LAB_DIST`, then upstream if it answers, then Debian.
    pub async fn choose(asked: Option<&str>) -> Result<Self> {
        match asked {
            Some("upstream") => Ok(Self::Upstream),
            Some("debian") => Ok(Self::Debian),
            Some(other) => {
                match other.strip_prefix("dir:") {
                    Some(path) => Ok(Self::Dir(PathBuf::from(path))),
                    None => Err(Error::new(Kind::Usage, format!("`{other}` is not a source"))
                        .hint("upstream, debian, or dir:PATH")),
                }
            }
            None => {
                if let Some(dir) = std::env::var_os("PROVISION_LAB_DIST") {
                    return Ok(Self::Dir(PathBuf::from(dir)));
                }
                Ok(if upstream_answers().await { Self::Upstream } else { Self::Debian })
            }
        }
    }

    /// The Kubernetes version of this source.
    pub(super) async fn version(&self) -> Result<String> {
        match self {
            Self::Upstream => Ok(UPSTREAM_VERSION.into()),
            Self::Debian => Ok(DEBIAN_VERSION.into()),
            Self::Dir(dir) if !dir.join("kubeadm").exists() => {
                let oldest = versions_in(dir)?.into_iter().min();
                let oldest = oldest.ok_or_else(|| {
                    Error::new(Kind::Usage, format!("{} has no kubeadm, and no directory with one", dir.display()))
                        .hint(
                            "the release binaries of one version, or a directory of them for each, named like v1.36.2",
                        )
                })?;
                Ok(oldest.to_string())
            }
            Self::Dir(dir) => {
                let kubeadm = dir.join("kubeadm").to_string_lossy().into_owned();
                let out =
                    run(&[&kubeadm, "version", "-o", "short"], "", "ask the kubeadm of the source for its version")
                        .await?;
                Ok(out.trim().trim_start_matches('v').to_owned())
            }
        }
    }

    /// Makes the parts, or finds them made. `None` for upstream, which has its own.
    pub(super) async fn parts(&self, version: &str, sink: &dyn Sink) -> Result<Option<Parts>> {
        let cache = cache_dir().join("lab/debian");
        let dist = match self {
            Self::Upstream => return Ok(None),
            Self::Debian => String::new(),
            Self::Dir(dir) => {
                let dir = dir_of(dir, version);
                std::fs::canonicalize(&dir)
                    .context(|| format!("failed to open {}", dir.display()))?
                    .to_string_lossy()
                    .into_owned()
            }
        };
        // What another version of the script laid out is not taken for what this one would.
        let recipe = Digest::of(SCRIPT.as_bytes()).short().to_owned();
        let cache = cache.to_string_lossy().into_owned();
        let argv = ["sh", "-c", SCRIPT, "debian.sh", &cache, &recipe, version, &dist];
        let made = reported(sink, &argv, "debian.sh", "make the lab's parts from Debian's packages").await;
        let text = made.map_err(|e| e.hint(format!("the parts that are done are kept in {cache}")))?;
        Ok(Some(Parts::read(&text)))
    }
}

/// Where the binaries of this version are.
fn dir_of(dir: &Path, version: &str) -> PathBuf {
    if dir.join("kubeadm").exists() { dir.to_owned() } else { dir.join(format!("v{version}")) }
}

/// The versions that a directory of directories has.
pub(super) fn versions_in(dir: &Path) -> Result<Vec<KubeVersion>> {
    let attempted = || format!("failed to list {}", dir.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).context(attempted)? {
        let path = entry.context(attempted)?.path();
        let version = path.file_name().and_then(|n| n.to_str()?.strip_prefix('v')?.parse::<KubeVersion>().ok());
        found.extend(version.filter(|_| path.join("kubeadm").exists()));
    }
    Ok(found)
}

async fn upstream_answers() -> bool {
    crate::bundle::tls_init();
    let client = reqwest::Client::builder().timeout(Duration::from_secs(5)).build();
    match client {
        Ok(client) => {
            client.get("https://dl.k8s.io/release/stable.txt").send().await.is_ok_and(|r| r.status().is_success())
        }
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_version_or_one_in_each_of_its_directories() {
        let dir = tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"));
        let make = |path: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(&path).unwrap_or_else(|e| panic!("{e}"));
            std::fs::write(path.join("kubeadm"), "").unwrap_or_else(|e| panic!("{e}"));
        };
        make("v1.21.14");
        make("v1.9.0");
        make("notes");
        std::fs::create_dir_all(dir.path().join("v1.22.3")).unwrap_or_else(|e| panic!("{e}"));
        let mut found = versions_in(dir.path()).unwrap_or_default();
        found.sort();
        assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), ["1.9.0", "1.21.14"]);
        assert_eq!(dir_of(dir.path(), "1.21.14"), dir.path().join("v1.21.14"));
        make("");
        assert_eq!(dir_of(dir.path(), "1.21.14"), dir.path());
    }
}
