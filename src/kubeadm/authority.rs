//! Whether the certificates of a host are of the authorities that lie beside them. Pure.

use x509_parser::pem::Pem;

use super::certificates::{blocks, unreadable};
use crate::error::Result;

/// A certificate that is not of the authority it has to be of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stranger {
    /// The file it is in.
    pub path: String,
    /// Who signed it, by its own words.
    pub issuer: String,
    /// The file of the authority that did not sign it.
    pub authority: String,
}

const PKI: &str = "/etc/kubernetes/pki";

/// The authority that has to have signed what is in `path`; `None` for authorities, and for what kubeadm did not make.
pub(crate) fn authority(path: &str) -> Option<String> {
    let of = |name: &str| Some(format!("{PKI}/{name}"));
    match path.strip_prefix(PKI).map(|rest| rest.trim_start_matches('/')) {
        Some("apiserver.crt" | "apiserver-kubelet-client.crt" | "kubelet.crt") => of("ca.crt"),
        Some("front-proxy-client.crt") => of("front-proxy-ca.crt"),
        Some("apiserver-etcd-client.crt" | "etcd/server.crt" | "etcd/peer.crt" | "etcd/healthcheck-client.crt") => {
            of("etcd/ca.crt")
        }
        Some(_) => None,
        None if path.starts_with("/etc/kubernetes/") => of("ca.crt"),
        // Its serving certificate the kubelet signs itself, unless it asks the cluster for one.
        None if path.starts_with("/var/lib/kubelet/pki/kubelet-") => of("ca.crt"),
        None => None,
    }
}

/// Of the certificates that the certs probe printed, those that another authority signed than the one of the same host.
/// One whose authority is not on the host is not judged. A file may hold an old and a new authority side by side.
///
/// Errors: a certificate cannot be read.
pub fn strangers(text: &str) -> Result<Vec<Stranger>> {
    let all = blocks(text)?;
    let mut found = Vec::new();
    for (at, (path, block)) in all.iter().enumerate() {
        // What follows the first certificate of a file are those above it.
        let first = all.iter().position(|(p, _)| p == path) == Some(at);
        let Some(authority) = authority(path).filter(|_| first) else { continue };
        let authorities: Vec<&Pem> = all.iter().filter(|(p, _)| *p == authority).map(|(_, b)| b).collect();
        if authorities.is_empty() {
            continue;
        }
        let certificate = block.parse_x509().map_err(|e| unreadable(path, &e.to_string()))?;
        let mut signed = false;
        for ca in authorities {
            let ca = ca.parse_x509().map_err(|e| unreadable(&authority, &e.to_string()))?;
            signed |= certificate.verify_signature(Some(ca.public_key())).is_ok();
        }
        if !signed {
            found.push(Stranger { path: path.clone(), issuer: certificate.issuer().to_string(), authority });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

    use super::*;

    type Made<T> = std::result::Result<T, rcgen::Error>;

    fn ca(name: &str) -> Made<CertifiedIssuer<'static, KeyPair>> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        CertifiedIssuer::self_signed(params, KeyPair::generate()?)
    }

    fn leaf(by: &CertifiedIssuer<'_, KeyPair>) -> Made<String> {
        Ok(CertificateParams::new(vec!["a".to_owned()])?.signed_by(&KeyPair::generate()?, by)?.pem())
    }

    #[test]
    fn what_another_authority_signed_is_told() -> std::result::Result<(), Box<dyn std::error::Error>> {
        let (ours, other) = (ca("kubernetes")?, ca("kubernetes")?);
        let text = |apiserver: &str, authority: &str| {
            format!("pem {PKI}/apiserver.crt\n{apiserver}pem {PKI}/ca.crt\n{authority}pem {PKI}/own.crt\n{apiserver}")
        };
        assert_eq!(strangers(&text(&leaf(&ours)?, &ours.pem()))?, []);
        let found = strangers(&text(&leaf(&other)?, &ours.pem()))?;
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(
            (&*found[0].path, &*found[0].authority),
            (&*format!("{PKI}/apiserver.crt"), &*format!("{PKI}/ca.crt"))
        );
        // Both authorities hold while one gives way to the other.
        assert_eq!(strangers(&text(&leaf(&other)?, &(ours.pem() + &other.pem())))?, []);
        // Without an authority beside it nothing can be said.
        assert_eq!(strangers(&format!("pem {PKI}/apiserver.crt\n{}", leaf(&other)?))?, []);
        Ok(())
    }
}
