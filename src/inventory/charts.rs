//! What runs on the cluster from its first minute: Helm charts and files of Kubernetes objects.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[tools]`: programs that only some inventories need.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tools {
    /// helm's version, like "4.2.3" (3.13 or newer); it goes into the bundle when there are charts.
    pub helm_version: Option<String>,
}

/// `[[charts]]`: a Helm release.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Chart {
    /// The name of the release.
    pub name: String,
    /// The namespace it goes to; it is made when it is not there.
    #[serde(default = "default_namespace")]
    pub namespace: String,
    /// Where the chart comes from: `{ repo = "https://...", chart = "NAME" }`, `{ oci = "oci://REGISTRY/PATH/NAME" }`
    /// or `{ path = "charts/NAME" }`, a directory or a packed chart beside the inventory.
    pub source: ChartSource,
    /// The chart's exact version; needed unless it comes from a path.
    #[serde(default)]
    pub version: Option<String>,
    /// Files of values beside the inventory, later ones over earlier ones. What is secret goes into one of these, kept
    /// out of git: it reaches helm on the node, and neither the bundle, the plan nor the journal.
    #[serde(default)]
    pub values_files: Vec<PathBuf>,
    /// Values over those of the files.
    #[serde(default)]
    pub values: BTreeMap<String, serde_json::Value>,
    /// Images that the chart's pods use and that its rendered manifests do not show: those an operator starts, those
    /// named in a ConfigMap or by a custom resource.
    #[serde(default)]
    pub images: Vec<String>,
    /// How long helm waits until what it installed runs, in seconds.
    #[serde(default = "default_timeout")]
    pub timeout_s: u64,
    /// Whether a failed installation is taken away and a failed upgrade rolled back.
    #[serde(default = "default_atomic")]
    pub atomic: bool,
    /// The content of `values_files`.
    #[serde(skip)]
    #[schemars(skip)]
    pub(crate) file_texts: Texts,
}

fn default_namespace() -> String {
    "default".into()
}
fn default_timeout() -> u64 {
    300
}
fn default_atomic() -> bool {
    true
}

/// Texts that may hold secrets: `Debug` shows only how many there are.
#[derive(Clone, PartialEq, Default)]
pub(crate) struct Texts(pub(crate) Vec<String>);

impl fmt::Debug for Texts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} texts", self.0.len())
    }
}

impl Chart {
    /// All values as helm is given them, one document of YAML each, later ones over earlier ones. They may be secret.
    #[must_use]
    pub fn values_texts(&self) -> Vec<String> {
        let mut all = self.file_texts.0.clone();
        if !self.values.is_empty() {
            // JSON is YAML; a map of JSON values has no failing path.
            all.push(serde_json::to_string(&self.values).unwrap_or_default());
        }
        all
    }
}

/// Where a chart comes from.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ChartSource {
    /// The base URL of a chart repository: `index.yaml` is below it.
    pub repo: Option<String>,
    /// The chart's name in that repository.
    pub chart: Option<String>,
    /// An OCI reference without tag: `oci://registry.example/charts/NAME`.
    pub oci: Option<String>,
    /// A directory or a `.tgz`, relative to the inventory.
    pub path: Option<PathBuf>,
}

/// [`ChartSource`] as one of its forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChartFrom<'a> {
    /// A chart repository.
    Repo {
        /// Its base URL.
        url: &'a str,
        /// The chart's name there.
        chart: &'a str,
    },
    /// An OCI registry: `registry/path/name`.
    Oci(&'a str),
    /// A directory or file beside the inventory.
    Path(&'a std::path::Path),
}

impl ChartSource {
    /// The one form it has; `None` when it has none or several (the inventory's validation refuses that).
    #[must_use]
    pub fn form(&self) -> Option<ChartFrom<'_>> {
        match (&self.repo, &self.chart, &self.oci, &self.path) {
            (Some(url), Some(chart), None, None) => Some(ChartFrom::Repo { url, chart }),
            (None, None, Some(oci), None) => oci.strip_prefix("oci://").map(ChartFrom::Oci),
            (None, None, None, Some(path)) => Some(ChartFrom::Path(path)),
            _ => None,
        }
    }
}

/// `[[manifests]]`: a file of Kubernetes objects, applied as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawManifest {
    /// A name for plans and messages.
    pub name: String,
    /// The file, relative to the inventory.
    #[serde(default)]
    pub path: Option<PathBuf>,
    /// Where it is fetched from.
    #[serde(default)]
    pub url: Option<String>,
    /// The digest it must have; `bundle lock` pins what it finds when there is none.
    #[serde(default)]
    pub sha256: Option<String>,
    /// Images that its objects use and do not show, as with charts.
    #[serde(default)]
    pub images: Vec<String>,
}
