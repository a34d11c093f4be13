//! The cluster CA's hash and kubeconfigs.

use serde_yaml_ng::Value;
use x509_parser::pem::parse_x509_pem;

use crate::bundle::Digest;
use crate::error::{Context as _, Error, Result};

/// `sha256:<hex>` of the CA's SubjectPublicKeyInfo, as kubeadm pins it.
pub fn ca_hash(ca_pem: &str) -> Result<String> {
    let (_, pem) =
        parse_x509_pem(ca_pem.as_bytes()).map_err(|e| Error::failed(format!("the cluster CA is not PEM: {e}")))?;
    let cert = pem.parse_x509().map_err(|e| Error::failed(format!("the cluster CA is no certificate: {e}")))?;
    Ok(Digest::of(cert.public_key().raw).to_string())
}

/// An API server that a kubeconfig leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiServer {
    /// The node it runs on.
    pub node: String,
    /// Its address and port.
    pub authority: String,
}

/// An administrator's kubeconfig, made from the `admin.conf` of a control plane. Its current context `NAME-admin@NAME`
/// leads to `authority`; beside it stands one context `NAME-admin@NAME-NODE` for each of `others`. All use the same user.
///
/// Errors: `admin_conf` is no kubeconfig with a cluster, a user and a context.
pub fn admin_kubeconfig(admin_conf: &str, cluster: &str, authority: &str, others: &[ApiServer]) -> Result<String> {
    let bad = || Error::failed("the control plane's admin.conf is not a kubeconfig");
    let mut config: Value = serde_yaml_ng::from_str(admin_conf).context(|| "failed to read admin.conf".into())?;
    let user = format!("{cluster}-admin");
    let mut take = |list: &str| -> Result<Value> {
        let entry = config.get_mut(list).and_then(|l| l.get_mut(0)).map(std::mem::take).ok_or_else(bad)?;
        if entry.is_mapping() { Ok(entry) } else { Err(bad()) }
    };
    let (server, admin, context) = (take("clusters")?, take("users")?, take("contexts")?);
    let with = |entry: &Value, name: &str, outer: &str, fields: &[(&str, &str)]| {
        let mut entry = entry.clone();
        if let Some(map) = entry.as_mapping_mut() {
            map.insert("name".into(), name.into());
        }
        if let Some(map) = entry.get_mut(outer).and_then(Value::as_mapping_mut) {
            fields.iter().for_each(|(key, value)| _ = map.insert((*key).into(), (*value).into()));
        }
        entry
    };
    let named = |node: &str| format!("{cluster}-{node}");
    let all: Vec<(String, &str)> = std::iter::once((cluster.to_owned(), authority))
        .chain(others.iter().map(|o| (named(&o.node), o.authority.as_str())))
        .collect();
    let clusters = all.iter().map(|(name, at)| with(&server, name, "cluster", &[("server", &format!("https://{at}"))]));
    let contexts = all.iter().map(|(name, _)| {
        with(&context, &format!("{user}@{name}"), "context", &[("cluster", name.as_str()), ("user", &user)])
    });
    let lists = [
        ("clusters", clusters.collect()),
        ("users", vec![with(&admin, &user, "user", &[])]),
        ("contexts", contexts.collect()),
    ];
    let map = config.as_mapping_mut().ok_or_else(bad)?;
    for (list, entries) in lists {
        map.insert(list.into(), Value::Sequence(entries));
    }
    map.insert("current-context".into(), format!("{user}@{cluster}").into());
    serde_yaml_ng::to_string(&config).context(|| "failed to write the kubeconfig".into())
}
