//! Charts as archives: what is inside, and a directory packed the same way every time.

use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use serde::Deserialize;

use crate::error::{Context as _, Error, Result};

/// The largest Chart.yaml that is read, in bytes.
const MAX_META: u64 = 1 << 20;
/// The largest chart that is taken, in bytes.
pub(super) const MAX_CHART: u64 = 256 << 20;

/// What a Chart.yaml says of its chart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) name: String,
    pub(super) version: String,
    /// All of it as JSON, as Helm's OCI config has it.
    pub(super) json: Vec<u8>,
}

impl Meta {
    fn parse(yaml: &str, shown: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Named {
            name: String,
            version: String,
        }
        let broken = |e| Error::invalid(format!("{shown} holds no Chart.yaml that names a chart")).source(e);
        let named: Named = serde_yaml_ng::from_str(yaml).map_err(broken)?;
        let all: serde_json::Value = serde_yaml_ng::from_str(yaml).map_err(broken)?;
        let plain = |t: &str| {
            t.starts_with(|c: char| c.is_ascii_alphanumeric())
                && t.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'+'))
        };
        if !(plain(&named.name) && plain(&named.version)) {
            return Err(Error::invalid(format!("the Chart.yaml of {shown} has a name or version that is none")));
        }
        Ok(Self { name: named.name, version: named.version, json: all.to_string().into_bytes() })
    }
}

/// The Chart.yaml of a packed chart. Every member of the archive is looked at, and tricks are refused. Blocking.
pub(super) fn meta_of(tgz: &Path) -> Result<Meta> {
    let shown = tgz.display().to_string();
    let members = crate::bundle::archive::members(tgz)?;
    let chart = members.iter().find(|m| m.path.split('/').count() == 2 && m.path.ends_with("/Chart.yaml"));
    let wanted = &chart.ok_or_else(|| Error::invalid(format!("{shown} is no chart: it holds no Chart.yaml")))?.path;
    let reading = || format!("failed to read {shown}");
    let file = std::fs::File::open(tgz).context(reading)?;
    let mut archive = tar::Archive::new(MultiGzDecoder::new(std::io::BufReader::new(file)));
    for entry in archive.entries().context(reading)? {
        let entry = entry.context(reading)?;
        if entry.path_bytes().as_ref() == wanted.as_bytes() {
            let mut text = String::new();
            entry.take(MAX_META).read_to_string(&mut text).context(reading)?;
            return Meta::parse(&text, &shown);
        }
    }
    Err(Error::invalid(format!("{shown} is no chart: it holds no Chart.yaml")))
}

/// Packs a chart's directory. The same files give the same bytes, whenever, wherever and by whom it is done: sorted,
/// without times or owners. `.helmignore` is heeded as `helm package` does. Blocking.
pub(super) fn pack(dir: &Path) -> Result<Vec<u8>> {
    let shown = dir.display().to_string();
    let reading = || format!("failed to read the chart {shown}");
    let yaml = std::fs::read_to_string(dir.join("Chart.yaml")).map_err(|e| {
        Error::invalid(format!("{shown} is no chart: it has no Chart.yaml that can be read"))
            .source(e)
            .hint("name the directory that holds Chart.yaml, or a packed chart")
    })?;
    let meta = Meta::parse(&yaml, &shown)?;
    let ignored = ignored(dir)?;
    let (mut files, mut open, mut total) = (Vec::new(), vec![PathBuf::new()], 0);
    while let Some(at) = open.pop() {
        for entry in std::fs::read_dir(dir.join(&at)).context(reading)? {
            let entry = entry.context(reading)?;
            let path = at.join(entry.file_name());
            // Links are followed, as helm does; what they lead to is packed as a file.
            let data = std::fs::metadata(dir.join(&path)).context(reading)?;
            if ignored.matched(&path, data.is_dir()).is_ignore() {
                continue;
            }
            if path.components().count() > 32 {
                return Err(Error::invalid(format!("the chart {shown} is nested too deep: does a link lead back?")));
            }
            if data.is_dir() {
                open.push(path);
            } else {
                total += data.len();
                let text = path.to_str().map(str::to_owned);
                files.push(text.ok_or_else(|| Error::invalid(format!("{} is not UTF-8", path.display())))?);
            }
        }
    }
    if total > MAX_CHART {
        return Err(Error::invalid(format!("the chart {shown} is larger than {} MiB", MAX_CHART >> 20)));
    }
    files.sort();
    // helm wants Chart.yaml first.
    files.sort_by_key(|f| f != "Chart.yaml");
    let packing = || format!("failed to pack the chart {shown}");
    // Stored rather than deflated: what a deflater makes differs from one of its versions to the next, and the lock
    // pins these bytes. Charts are small.
    let gzip = flate2::GzBuilder::new().mtime(0).write(Vec::new(), flate2::Compression::none());
    let mut tar = tar::Builder::new(gzip);
    for file in files {
        let content = std::fs::read(dir.join(&file)).context(reading)?;
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        tar.append_data(&mut header, format!("{}/{file}", meta.name), content.as_slice()).context(packing)?;
    }
    let mut gzip = tar.into_inner().context(packing)?;
    gzip.flush().context(packing)?;
    gzip.finish().context(packing)
}

fn ignored(dir: &Path) -> Result<Gitignore> {
    // Its patterns are those of .gitignore, but for a `!` that helm never made work the same way.
    let reading = || format!("failed to read the .helmignore of {}", dir.display());
    let mut builder = GitignoreBuilder::new("");
    // helm's own default.
    builder.add_line(None, "templates/.?*").context(reading)?;
    let file = dir.join(".helmignore");
    if file.exists() {
        let text = std::fs::read_to_string(&file).context(reading)?;
        for line in text.lines() {
            builder.add_line(None, line.trim()).context(reading)?;
        }
    }
    builder.build().context(reading)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, files: &[(&str, &str)]) {
        for (name, text) in files {
            let path = dir.join(name);
            std::fs::create_dir_all(path.parent().unwrap_or(dir)).unwrap_or_else(|e| panic!("{e}"));
            std::fs::write(path, text).unwrap_or_else(|e| panic!("{e}"));
        }
    }

    #[test]
    fn a_directory_packs_the_same_wherever_it_is() {
        let files = [
            ("Chart.yaml", "apiVersion: v2\nname: x\nversion: 0.1.0\n"),
            (".helmignore", "*.md\n/secret/\n# note\n"),
            ("README.md", "no"),
            ("secret/key", "no"),
            ("templates/.hidden.yaml", "no"),
            ("templates/a.yaml", "a: b"),
            ("charts/sub/Chart.yaml", "name: sub\nversion: 1.0.0\n"),
        ];
        let (one, two) = (tempfile::tempdir(), tempfile::tempdir());
        let (one, two) = (one.unwrap_or_else(|e| panic!("{e}")), two.unwrap_or_else(|e| panic!("{e}")));
        write(one.path(), &files);
        let mut turned = files;
        turned.reverse();
        write(two.path(), &turned);
        let packed = [one.path(), two.path()].map(|d| pack(d).unwrap_or_else(|e| panic!("{}", e.report())));
        assert_eq!(packed[0], packed[1]);
        let tgz = one.path().join("x.tgz");
        std::fs::write(&tgz, &packed[0]).unwrap_or_else(|e| panic!("{e}"));
        let names: Vec<String> =
            crate::bundle::archive::members(&tgz).unwrap_or_default().into_iter().map(|m| m.path).collect();
        assert_eq!(names, ["x/Chart.yaml", "x/.helmignore", "x/charts/sub/Chart.yaml", "x/templates/a.yaml"]);
        let meta = meta_of(&tgz).unwrap_or_else(|e| panic!("{}", e.report()));
        assert_eq!((meta.name.as_str(), meta.version.as_str()), ("x", "0.1.0"));
    }

    #[test]
    fn what_is_no_chart_is_refused() {
        let dir = tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"));
        assert!(pack(dir.path()).is_err());
        for yaml in ["", "name: [", "name: ../x\nversion: 1\n", "name: x\n", "name: x\nversion: '1 0'\n"] {
            write(dir.path(), &[("Chart.yaml", yaml)]);
            assert!(pack(dir.path()).is_err(), "{yaml}");
        }
    }
}
