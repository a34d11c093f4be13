//! `[certificates]`: who signs the cluster's certificates.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use x509_parser::pem::Pem;

/// `[certificates]`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Certificates {
    /// Who signs.
    pub mode: CertificatesMode,
    /// With mode "external": a PEM file, beside the inventory, of the cluster's CA: its certificate and nothing else.
    pub ca: Option<PathBuf>,
    /// With mode "external": the same of the CA of the API aggregation layer.
    pub front_proxy_ca: Option<PathBuf>,
    /// With mode "external" and etcd on the control planes: the same of etcd's CA.
    pub etcd_ca: Option<PathBuf>,
    /// What these files hold, read when the inventory is loaded. Part of what a plan is made from.
    #[serde(skip_deserializing, skip_serializing_if = "Authorities::is_empty")]
    #[schemars(skip)]
    pub authorities: Authorities,
}

/// Who signs the cluster's certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CertificatesMode {
    /// kubeadm, with CAs that it makes on the control planes.
    #[default]
    Kubeadm,
    /// Somebody else, who never gives the CAs' keys away: keys are made on the nodes and stay there, only requests leave
    /// them (`provision certs csr`), and only certificates come in (`provision certs install`).
    External,
}

/// The certificates of the CAs in PEM.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Authorities {
    /// Of `ca`.
    pub ca: Option<String>,
    /// Of `front_proxy_ca`.
    pub front_proxy_ca: Option<String>,
    /// Of `etcd_ca`.
    pub etcd_ca: Option<String>,
}

impl Authorities {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Certificates {
    /// Whether somebody else signs.
    #[must_use]
    pub fn is_external(&self) -> bool {
        self.mode == CertificatesMode::External
    }

    /// The names of the keys and the files they name.
    #[must_use]
    pub fn files(&self) -> [(&'static str, Option<&Path>); 3] {
        [
            ("ca", self.ca.as_deref()),
            ("front_proxy_ca", self.front_proxy_ca.as_deref()),
            ("etcd_ca", self.etcd_ca.as_deref()),
        ]
    }
}

/// The one CA certificate in `text`, in PEM as kubeadm writes it: kubeadm compares it byte by byte.
///
/// # Errors
/// What is wrong with it, in words.
pub(super) fn authority(text: &str) -> Result<String, &'static str> {
    if text.contains("PRIVATE KEY") {
        return Err("holds a private key");
    }
    let mut blocks = Pem::iter_from_buffer(text.as_bytes());
    let (Some(Ok(block)), None) = (blocks.next(), blocks.next()) else {
        return Err("does not hold one certificate in PEM");
    };
    if !block.parse_x509().is_ok_and(|cert| cert.is_ca()) {
        return Err("does not hold the certificate of a CA");
    }
    Ok(crate::pem::certificate_pem(&block.contents))
}
