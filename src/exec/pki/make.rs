//! Keys and requests, made by this program on the node that they are for. It needs nothing else there.

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use rsa::pkcs1::DecodeRsaPrivateKey as _;
use rsa::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, EncodePublicKey as _, LineEnding};
use rsa::{RsaPrivateKey, RsaPublicKey};
use serde::{Deserialize, Serialize};

use crate::error::{Context as _, Error, Result};
use crate::exec::write_private;
use crate::kubeadm::{Request, Usage};
use crate::resource::SERVICE_ACCOUNTS;

/// kubeadm before 1.22 takes no other kind of key for service accounts than RSA's; this is its own length.
const RSA_BITS: usize = 2048;

/// What is to be made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeyOrder {
    /// Where to.
    pub dir: PathBuf,
    /// Whether the key pair for service account tokens is made too.
    pub service_accounts: bool,
    /// A key and a request for each.
    pub requests: Vec<Request>,
}

/// What came of it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct KeysMade {
    /// The names of the keys that were not there before.
    pub made: Vec<String>,
    /// By name, the request in PEM.
    pub requests: BTreeMap<String, String>,
}

/// Makes the keys that are missing, ECDSA on P-256, and requests with them all. Keys that are there are kept.
///
/// # Errors
/// A file cannot be written, or one that is there is no key.
pub fn make_keys(order: &KeyOrder) -> Result<KeysMade> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&order.dir)
        .context(|| format!("failed to make {}", order.dir.display()))?;
    let mut done = KeysMade::default();
    for request in &order.requests {
        let path = order.dir.join(format!("{}.key", request.name));
        let key = match std::fs::read_to_string(&path) {
            Ok(text) => KeyPair::from_pem(&text).map_err(|_| {
                Error::failed(format!("{} is not a key that requests can be made with", path.display()))
                    .hint("move it away: a new one is made")
            })?,
            Err(e) if e.kind() == ErrorKind::NotFound => {
                let key = KeyPair::generate().context(|| format!("failed to make the key {}", path.display()))?;
                write_private(&path, key.serialize_pem().as_bytes())?;
                done.made.push(request.name.clone());
                key
            }
            Err(e) => return Err(Error::failed(format!("failed to read {}", path.display())).source(e)),
        };
        let text = csr(request, &key)?;
        write_private(&order.dir.join(format!("{}.csr", request.name)), text.as_bytes())?;
        done.requests.insert(request.name.clone(), text);
    }
    if order.service_accounts && service_accounts(&order.dir)? {
        done.made.push(SERVICE_ACCOUNTS.into());
    }
    Ok(done)
}

fn csr(request: &Request, key: &KeyPair) -> Result<String> {
    let making = || format!("failed to make the request {}", request.name);
    let mut params = CertificateParams::new(request.sans.clone()).context(making)?;
    let mut subject = DistinguishedName::new();
    if let Some(group) = &request.organization {
        subject.push(DnType::OrganizationName, group.as_str());
    }
    subject.push(DnType::CommonName, request.common_name.as_str());
    params.distinguished_name = subject;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = request.usages.iter().map(purpose).collect();
    params.serialize_request(key).and_then(|r| r.pem()).context(making)
}

fn purpose(usage: &Usage) -> ExtendedKeyUsagePurpose {
    match usage {
        Usage::ServerAuth => ExtendedKeyUsagePurpose::ServerAuth,
        Usage::ClientAuth => ExtendedKeyUsagePurpose::ClientAuth,
    }
}

/// Whether a key was made; the public half follows from the other, and is written anew when it is missing.
fn service_accounts(dir: &Path) -> Result<bool> {
    let (path, public) = (dir.join(format!("{SERVICE_ACCOUNTS}.key")), dir.join(format!("{SERVICE_ACCOUNTS}.pub")));
    if path.exists() && public.exists() {
        return Ok(false);
    }
    let making = || format!("failed to make the key {}", path.display());
    let (key, made) = match std::fs::read_to_string(&path) {
        // Another key would end every token that this one has signed.
        Ok(text) => (
            RsaPrivateKey::from_pkcs8_pem(&text).or_else(|_| RsaPrivateKey::from_pkcs1_pem(&text)).map_err(|_| {
                Error::failed(format!("{} is not an RSA key", path.display())).hint(
                    "put back the key that signs the tokens, with its public half; or move it away: a new one is made",
                )
            })?,
            false,
        ),
        Err(e) if e.kind() == ErrorKind::NotFound => {
            let key = RsaPrivateKey::new(&mut rsa::rand_core::OsRng, RSA_BITS).context(making)?;
            write_private(&path, key.to_pkcs8_pem(LineEnding::LF).context(making)?.as_bytes())?;
            (key, true)
        }
        Err(e) => return Err(Error::failed(format!("failed to read {}", path.display())).source(e)),
    };
    let text = RsaPublicKey::from(&key).to_public_key_pem(LineEnding::LF).context(making)?;
    write_private(&public, text.as_bytes())?;
    Ok(made)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use rcgen::{BasicConstraints, CertificateSigningRequestParams, CertifiedIssuer, IsCa};

    use super::*;
    use crate::inventory::parse;
    use crate::kubeadm::{requests, signed};

    #[test]
    fn keys_are_kept_and_requests_are_what_signed_asks_for() -> std::result::Result<(), Box<dyn std::error::Error>> {
        let text = "[cluster]\nname = \"t\"\nversion = \"1.30.0\"\n[endpoint]\nmode = \"first-node\"\n[[hosts]]\nname = \"cp1\"\naddress = \"10.0.0.1\"\nrole = \"control-plane\"\n";
        let inv = parse(text).map_err(|e| format!("{e:?}"))?.inventory;
        let dir = tempfile::tempdir()?;
        let wanted = requests(&inv, &inv.nodes()[0])?;
        let order = KeyOrder { dir: dir.path().join("pki"), service_accounts: true, requests: wanted.clone() };
        let first = make_keys(&order)?;
        assert_eq!(first.made.len(), wanted.len() + 1);
        let read = |name: &str| std::fs::read_to_string(order.dir.join(name));
        let (key, accounts) = (read("apiserver.key")?, read("sa.key")?);
        let again = make_keys(&order)?;
        assert!(again.made.is_empty(), "{:?}", again.made);
        assert_eq!((read("apiserver.key")?, read("sa.key")?), (key, accounts.clone()));
        let public = read("sa.pub")?;
        std::fs::remove_file(order.dir.join("sa.pub"))?;
        assert!(make_keys(&order)?.made.is_empty());
        assert_eq!((read("sa.key")?, read("sa.pub")?), (accounts, public));
        for file in std::fs::read_dir(&order.dir)? {
            assert_eq!(file?.metadata()?.permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(std::fs::metadata(&order.dir)?.permissions().mode() & 0o777, 0o700);

        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        for request in &wanted {
            let csr = &again.requests[&request.name];
            assert!(!csr.contains("PRIVATE"));
            let mut asked = CertificateSigningRequestParams::from_pem(csr)?;
            asked.params.use_authority_key_identifier_extension = true;
            let cert = asked.signed_by(&ca)?.pem();
            // The key and its first request, which the certificate may have been made from.
            signed(request, &ca.pem(), &first.requests[&request.name], &cert, 1_893_456_000)
                .map_err(|e| format!("{}: {e}", request.name))?;
        }
        Ok(())
    }
}
