//! The index of a chart repository. Pure.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::bundle::manifest::Digest;
use crate::error::{Error, Result};

#[derive(Deserialize)]
struct Index {
    #[serde(default)]
    entries: BTreeMap<String, Vec<Entry>>,
}

#[derive(Deserialize)]
struct Entry {
    version: String,
    #[serde(default)]
    urls: Vec<String>,
    #[serde(default)]
    digest: Option<String>,
}

/// Where a repository has a chart, and what it says of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) url: String,
    pub(super) digest: Option<Digest>,
}

/// Finds this very version of a chart in the text of `base`'s index.yaml.
pub(super) fn find(index: &str, base: &str, chart: &str, version: &str) -> Result<Listed> {
    let index: Index = serde_yaml_ng::from_str(index)
        .map_err(|e| Error::invalid(format!("{base}/index.yaml is no index of a chart repository")).source(e))?;
    let entries = index.entries.get(chart).ok_or_else(|| {
        Error::invalid(format!("{base} has no chart {chart}")).hint("`helm search repo` shows what a repository has")
    })?;
    let entry = entries.iter().find(|e| e.version == version).ok_or_else(|| {
        let known: Vec<&str> = entries.iter().take(8).map(|e| e.version.as_str()).collect();
        Error::invalid(format!("{base} has no version {version} of chart {chart}")).hint(format!(
            "it has {}{}",
            known.join(", "),
            if entries.len() > 8 { ", ..." } else { "" }
        ))
    })?;
    let url = entry.urls.first().ok_or_else(|| Error::invalid(format!("{base} names no URL for {chart} {version}")))?;
    let broken = |e| Error::invalid(format!("{base} names a broken URL for {chart} {version}: `{url}`")).source(e);
    // Relative to the repository, which is a directory.
    let root = reqwest::Url::parse(&format!("{}/", base.trim_end_matches('/'))).map_err(broken)?;
    let url = root.join(url).map_err(broken)?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Error::invalid(format!("{base} names `{url}` for {chart} {version}, which cannot be fetched")));
    }
    let digest = entry.digest.as_deref().filter(|d| !d.is_empty()).map(str::parse).transpose()?;
    Ok(Listed { url: url.into(), digest })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const INDEX: &str = "
apiVersion: v1
entries:
  hello:
    - {name: hello, version: 0.2.0, urls: [hello-0.2.0.tgz], digest: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA}
    - {name: hello, version: 0.1.0, urls: ['https://cdn.example/h.tgz'], extra: [1]}
    - {name: hello, version: 0.0.1, urls: []}
    - {name: hello, version: 0.0.2, urls: ['file:///etc/passwd']}
generated: 2026-01-01T00:00:00Z
";

    #[test]
    fn one_version_is_found_and_no_other() {
        let find = |version| find(INDEX, "https://charts.example/stable/", "hello", version);
        let found = find("0.2.0").unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(found.url, "https://charts.example/stable/hello-0.2.0.tgz");
        assert_eq!(found.digest.map(|d| d.short().to_owned()), Some("aaaaaaaaaaaa".into()));
        let found = find("0.1.0").unwrap_or_else(|e| panic!("{e}"));
        assert_eq!((found.url.as_str(), found.digest), ("https://cdn.example/h.tgz", None));
        for bad in ["0.1", "0.3.0", "0.0.1", "0.0.2"] {
            assert!(find(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_index_makes_it_panic(text in "(\\PC|\n){0,200}", cut in 0usize..500) {
            let _ = find(&text, "https://x.example", "hello", "0.1.0");
            let _ = find(INDEX.get(..cut).unwrap_or(INDEX), "https://x.example", "hello", "0.1.0");
        }
    }
}
