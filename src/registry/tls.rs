//! The certificate of `provision serve`.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::error::{Error, Result};

/// Reads a chain of certificates and its key, both PEM.
///
/// Errors (`Invalid`): a file cannot be read, or the two do not fit.
pub(super) fn acceptor(cert: &Path, key: &Path) -> Result<TlsAcceptor> {
    crate::bundle::tls_init();
    let broken = |path: &Path| format!("failed to read {}", path.display());
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>)
        .map_err(|e| Error::invalid(broken(cert)).source(e).hint("--tls-cert takes a PEM file of certificates"))?;
    let secret = PrivateKeyDer::from_pem_file(key)
        .map_err(|e| Error::invalid(broken(key)).source(e).hint("--tls-key takes a PEM file of a private key"))?;
    let mut config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, secret).map_err(|e| {
        Error::invalid(format!("{} and {} do not fit together", cert.display(), key.display())).source(e)
    })?;
    // HTTP/1.1 alone: pulls are few and large, and there is less to abuse.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
