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

/// The kubeconfig with its server replaced and its cluster, context and user named after the cluster.
pub fn kubeconfig_with_server(admin_conf: &str, server: &str, cluster: &str) -> Result<String> {
    let bad = || Error::failed("the control plane's admin.conf is not a kubeconfig");
    let mut config: Value = serde_yaml_ng::from_str(admin_conf).context(|| "failed to read admin.conf".into())?;
    let user = format!("{cluster}-admin");
    let context = format!("{user}@{cluster}");
    let first = |config: &mut Value, list: &str| config.get_mut(list).and_then(|l| l.get_mut(0)).map(std::mem::take);
    let mut set = |list: &str, name: &str, edit: &dyn Fn(&mut Value)| -> Result<()> {
        let mut entry = first(&mut config, list).ok_or_else(bad)?;
        edit(&mut entry);
        let map = entry.as_mapping_mut().ok_or_else(bad)?;
        map.insert("name".into(), name.into());
        *config.get_mut(list).ok_or_else(bad)? = Value::Sequence(vec![entry]);
        Ok(())
    };
    let put = |entry: &mut Value, outer: &str, key: &str, value: &str| {
        if let Some(map) = entry.get_mut(outer).and_then(Value::as_mapping_mut) {
            map.insert(key.into(), value.into());
        }
    };
    set("clusters", cluster, &|c| put(c, "cluster", "server", server))?;
    set("users", &user, &|_| {})?;
    set("contexts", &context, &|c| {
        put(c, "context", "cluster", cluster);
        put(c, "context", "user", &user);
    })?;
    config.as_mapping_mut().ok_or_else(bad)?.insert("current-context".into(), context.as_str().into());
    serde_yaml_ng::to_string(&config).context(|| "failed to write the kubeconfig".into())
}
