//! The secret half of a JoinConfiguration, added right before it is written to the node.

use secrecy::{ExposeSecret as _, SecretString};
use serde_yaml_ng::Value;

use crate::error::{Context as _, Error, Result};

/// Credentials of one join.
#[derive(Debug)]
pub struct Discovery<'a> {
    /// `host:port` of an API server that answers.
    pub api_endpoint: &'a str,
    /// A fresh bootstrap token.
    pub token: &'a SecretString,
    /// `sha256:` of the CA's public key.
    pub ca_hash: &'a str,
    /// The key of the uploaded certificates (control planes).
    pub certificate_key: Option<&'a SecretString>,
}

/// The document with discovery (and certificate key) filled in. The result is a secret: it goes to the node by stdin
/// into a 0600 file on tmpfs and nowhere else.
pub fn with_discovery(join_document: &str, discovery: &Discovery<'_>) -> Result<String> {
    let mut document: Value =
        serde_yaml_ng::from_str(join_document).context(|| "failed to read the planned JoinConfiguration".into())?;
    let map =
        document.as_mapping_mut().ok_or_else(|| Error::invalid("the planned JoinConfiguration is not a mapping"))?;
    let token = serde_yaml_ng::to_value(serde_json::json!({
        "bootstrapToken": {
            "apiServerEndpoint": discovery.api_endpoint,
            "token": discovery.token.expose_secret(),
            "caCertHashes": [discovery.ca_hash],
        }
    }))
    .context(|| "failed to write the discovery part".into())?;
    map.insert("discovery".into(), token);
    if let Some(key) = discovery.certificate_key {
        let control_plane = map
            .get_mut("controlPlane")
            .and_then(Value::as_mapping_mut)
            .ok_or_else(|| Error::invalid("a certificate key is given for a host that joins as a worker"))?;
        control_plane.insert("certificateKey".into(), key.expose_secret().into());
    }
    serde_yaml_ng::to_string(&document).context(|| "failed to write the JoinConfiguration".into())
}
