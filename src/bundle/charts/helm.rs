//! The bundle's own helm, run here to see what a chart makes.

use std::collections::BTreeSet;
use std::io::Read;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use flate2::read::MultiGzDecoder;

use super::images::images_in;
use crate::bundle::full::Writing as _;
use crate::error::{Context as _, Error, FailedCommand, Result};

/// Longer than any chart takes to render.
const TIMEOUT: Duration = Duration::from_secs(120);
/// More than any chart renders to, in bytes.
const MAX_RENDERED: u64 = 64 << 20;

/// The discard port, where nothing listens.
const NO_PROXY_THERE: &str = "http://127.0.0.1:9";

/// A release to render.
pub(super) struct Release<'a> {
    pub(super) name: &'a str,
    pub(super) namespace: &'a str,
    pub(super) chart: &'a Path,
    pub(super) values: &'a [String],
    /// Without a leading `v`.
    pub(super) kubernetes: &'a str,
}

/// helm in a directory of its own, which is its home too: no setting, plugin or kubeconfig of the user reaches it.
pub(super) struct Helm {
    dir: tempfile::TempDir,
}

impl Helm {
    /// Takes helm out of its release archive. Blocking.
    pub(super) fn unpack(archive: impl Read) -> Result<Self> {
        let unpacking = || "failed to unpack helm".to_owned();
        let dir = tempfile::Builder::new()
            .permissions(std::fs::Permissions::from_mode(0o700))
            .tempdir()
            .writing(&std::env::temp_dir(), None)?;
        let mut tar = tar::Archive::new(MultiGzDecoder::new(std::io::BufReader::new(archive)));
        for entry in tar.entries().context(unpacking)? {
            let mut entry = entry.context(unpacking)?;
            let is_helm = entry.header().entry_type().is_file() && entry.path_bytes().ends_with(b"/helm");
            if is_helm {
                let path = dir.path().join("helm");
                let size = Some(entry.size());
                let file = std::fs::OpenOptions::new().create_new(true).write(true).mode(0o700).open(&path);
                std::io::copy(&mut entry, &mut file.writing(&path, size)?).writing(&path, size)?;
                return Ok(Self { dir });
            }
        }
        Err(Error::invalid("the archive of helm holds no helm"))
    }

    /// Keeps a packed chart beside helm and returns where. Blocking.
    pub(super) fn keep(&self, mut chart: impl Read) -> Result<PathBuf> {
        let path = self.dir.path().join("chart.tgz");
        let mut file = std::fs::File::create(&path).writing(&path, None)?;
        std::io::copy(&mut chart, &mut file).writing(&path, None)?;
        Ok(path)
    }

    /// The images of a release, as an installation and as an upgrade would name them. Blocking.
    pub(super) fn images(&self, release: &Release<'_>) -> Result<BTreeSet<String>> {
        let mut all = BTreeSet::new();
        for upgrade in [false, true] {
            let rendered = self.template(release, upgrade)?;
            all.extend(images_in(&rendered).context(|| {
                format!("failed to see which images the release {} in {} uses", release.name, release.namespace)
            })?);
        }
        Ok(all)
    }

    fn template(&self, release: &Release<'_>, upgrade: bool) -> Result<String> {
        let attempted = || format!("failed to render the release {} in {}", release.name, release.namespace);
        let at = |name: &str| self.dir.path().join(name);
        // helm runs in a directory of its own.
        let chart = std::path::absolute(release.chart).context(attempted)?.to_string_lossy().into_owned();
        let version = format!("v{}", release.kubernetes);
        let mut args: Vec<String> = ["template", release.name, &chart, "--namespace", release.namespace]
            .into_iter()
            .chain(["--kube-version", &version, "--include-crds"])
            .map(str::to_owned)
            .collect();
        if upgrade {
            args.push("--is-upgrade".into());
        }
        for (number, text) in release.values.iter().enumerate() {
            let path = at(&format!("values-{number}.yaml"));
            write_private(&path, text).writing(&path, Some(text.len() as u64))?;
            args.extend(["-f".into(), path.display().to_string()]);
        }
        let (out, err) = (at("stdout"), at("stderr"));
        let file = |path: &PathBuf| std::fs::File::create(path).writing(path, None);
        let mut child = Command::new(at("helm"))
            .args(&args)
            .current_dir(self.dir.path())
            .env_clear()
            .env("HOME", self.dir.path())
            .env("KUBECONFIG", "/dev/null")
            // What a chart renders to must not hang on the network; a schema may name one on the web.
            .env("HTTP_PROXY", NO_PROXY_THERE)
            .env("HTTPS_PROXY", NO_PROXY_THERE)
            .stdin(Stdio::null())
            .stdout(file(&out)?)
            .stderr(file(&err)?)
            .spawn()
            .context(attempted)?;
        let begun = Instant::now();
        let ended = loop {
            if let Some(status) = child.try_wait().context(attempted)? {
                break Ok(status);
            }
            let size = std::fs::metadata(&out).map_or(0, |m| m.len());
            if begun.elapsed() > TIMEOUT || size > MAX_RENDERED {
                let _ = child.kill();
                let _ = child.wait();
                break Err(if size > MAX_RENDERED { "it renders to too much" } else { "it takes too long" });
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let status = ended.map_err(|why| Error::invalid(format!("{}: {why}", attempted())))?;
        if !status.success() {
            let stderr = std::fs::read(&err).unwrap_or_default();
            let stderr = String::from_utf8_lossy(&stderr);
            let error = Error::invalid(attempted()).command(FailedCommand::new(
                format!("helm template {} CHART --namespace {} ...", release.name, release.namespace),
                status.to_string(),
                &stderr,
            ));
            return Err(if stderr.contains("missing in charts/ directory") {
                error.hint("`helm dependency build CHART` puts the charts it depends on inside")
            } else {
                error.hint("the chart and its values do not fit together: `helm template` shows it too")
            });
        }
        let mut text = String::new();
        std::fs::File::open(&out)
            .context(attempted)?
            .take(MAX_RENDERED)
            .read_to_string(&mut text)
            .context(attempted)?;
        Ok(text)
    }
}

fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut file = std::fs::OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}
