//! `[registry]`: where the nodes pull images from when they do not have them.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[registry]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Registry {
    /// Where images come from. Those that the cluster itself needs are put onto every node beforehand in every mode;
    /// those of charts and manifests alone only with "preload".
    pub mode: RegistryMode,
    /// The base URLs of external registries that `bundle push` filled, or of `provision serve` on some hosts: all have
    /// the same, and each node begins with another of them, so that a lost one costs nothing. What `bundle push` was
    /// given as prefix has a key of its own.
    pub urls: Vec<String>,
    /// What `bundle push REGISTRY/PREFIX` put before every repository's name.
    pub prefix: Option<String>,
    /// A PEM file, on the machine that runs provision, of the CA that the registry's certificate is from; it is copied
    /// to the nodes. The system's CAs when left out.
    pub ca_file: Option<PathBuf>,
    /// With mode "builtin": the hosts of the inventory that each serve all images of the bundle. With two or more, the
    /// loss of one costs nothing.
    pub hosts: Vec<String>,
    /// With mode "builtin": the port they serve on, at their own address.
    pub port: u16,
    /// The content of `ca_file`, read when the inventory is loaded.
    #[serde(skip)]
    #[schemars(skip)]
    pub ca: Option<String>,
}

impl Default for Registry {
    fn default() -> Self {
        Self {
            mode: RegistryMode::default(),
            urls: Vec::new(),
            prefix: None,
            ca_file: None,
            hosts: Vec::new(),
            // Beside the 5000 that docker-registry and its like take.
            port: 5443,
            ca: None,
        }
    }
}

impl Registry {
    /// Whether this host serves the bundle's images.
    #[must_use]
    pub fn is_served_by(&self, host: &str) -> bool {
        self.mode == RegistryMode::Builtin && self.hosts.iter().any(|h| h == host)
    }
}

/// Where images come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RegistryMode {
    /// From the bundle by way of SSH alone.
    #[default]
    Preload,
    /// From a registry that stands already: containerd asks it instead of every registry that the bundle's images name.
    External,
    /// From `hosts` of the inventory, which run `provision serve` as a systemd unit, with TLS by a CA of their own.
    Builtin,
}
