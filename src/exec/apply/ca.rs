//! CAs of our own. Such a CA's key lies on every host of its service and nowhere else, so that the loss of one host, or of
//! the operator's machine, loses nothing.

use std::time::{SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, SubjectPublicKeyInfo,
};
use secrecy::{ExposeSecret as _, SecretString};

use x509_parser::extensions::GeneralName;
use x509_parser::oid_registry;

use super::context::Context;
use super::files::write;
use crate::bundle::Digest;
use crate::error::{Context as _, Error, Result};
use crate::host::{Answer, FileSpec, Probe};
use crate::pem::address;
use crate::resource::is_valid_ca;

/// How long the CA lasts, in days: a cluster's life.
const CA_DAYS: i64 = 3650;
/// How long a host's certificate lasts, in days; apply renews it before.
pub(super) const LEAF_DAYS: i64 = 825;
/// How long a certificate of kubeadm's that is signed by another CA lasts, in days, like those that kubeadm makes.
const REISSUED_DAYS: i64 = 365;
/// A node's clock may be behind the operator's by so many seconds.
const BACKDATED: i64 = 3600;

/// Whose CA, and where its hosts keep it.
pub(super) struct Authority<'a> {
    /// As people call it, like "the registry's CA".
    pub(super) title: &'a str,
    /// Its common name.
    pub(super) name: String,
    /// The directory of `ca.crt` and `ca.key`.
    pub(super) dir: &'a str,
    /// The hosts that have it, which are asked in this order.
    pub(super) peers: &'a [String],
}

/// A CA with its key.
pub(in crate::exec) struct Ca {
    pub(in crate::exec) cert: String,
    key: SecretString,
}

/// A certificate to be made.
pub(super) struct Leaf<'a> {
    pub(super) name: &'a str,
    /// Names and addresses.
    pub(super) sans: &'a [String],
    pub(super) usages: &'a [ExtendedKeyUsagePurpose],
}

impl Authority<'_> {
    /// The CA that one of its hosts has, or else a new one, which `host` is the first to have.
    pub(super) async fn obtain(&self, ctx: &Context, host: &str, wanted: Option<&Digest>) -> Result<Ca> {
        match self.existing(ctx, wanted).await? {
            Some((peer, cert)) => self.with_key(ctx, peer, cert).await,
            None if wanted.is_none() => Ca::new(&self.name),
            None => Err(Error::failed(format!("{} that the plan saw is on none of its hosts any more", self.title))
                .on(host)
                .hint("make the plan anew")),
        }
    }

    /// The CA that one of its hosts has, to sign with for somebody who does not get its key.
    pub(super) async fn of_hosts(&self, ctx: &Context, host: &str, wanted: Option<&Digest>) -> Result<Ca> {
        let (peer, cert) = self.existing(ctx, wanted).await?.ok_or_else(|| self.missing(host))?;
        self.with_key(ctx, peer, cert).await
    }

    /// The certificate alone.
    pub(super) async fn certificate(&self, ctx: &Context, host: &str, wanted: Option<&Digest>) -> Result<String> {
        Ok(self.existing(ctx, wanted).await?.ok_or_else(|| self.missing(host))?.1)
    }

    fn missing(&self, host: &str) -> Error {
        Error::failed(format!("no host has {}", self.title)).on(host).hint("run apply again: it is made anew")
    }

    async fn with_key(&self, ctx: &Context, peer: &str, cert: String) -> Result<Ca> {
        let key = content(ctx, peer, &format!("{}/ca.key", self.dir)).await?;
        let key = key.ok_or_else(|| Error::failed(format!("{} lost its key", self.title)).on(peer))?;
        Ok(Ca { cert, key: key.into() })
    }

    /// The CA that the hosts have: the wanted one, else the first that can still sign. The host and the certificate; its
    /// key is looked for there, and stays there.
    async fn existing(&self, ctx: &Context, wanted: Option<&Digest>) -> Result<Option<(&str, String)>> {
        for peer in self.peers {
            let key = ctx.ask(peer, Probe::File(format!("{}/ca.key", self.dir))).await?;
            let cert = content(ctx, peer, &format!("{}/ca.crt", self.dir)).await?;
            let Some(cert) = cert.filter(|_| matches!(key, Answer::File(_))) else { continue };
            let fits = wanted.is_none_or(|w| *w == Digest::of(cert.as_bytes()));
            if fits && is_valid_ca(&cert, now()) {
                return Ok(Some((peer, cert)));
            }
        }
        Ok(None)
    }
}

impl Ca {
    pub(in crate::exec) fn new(name: &str) -> Result<Self> {
        let making = || format!("failed to make the {name}");
        let mut params = params(name, CA_DAYS)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().context(making)?;
        let cert = params.self_signed(&key).context(making)?;
        Ok(Self { cert: cert.pem(), key: key.serialize_pem().into() })
    }

    /// A certificate and its key.
    pub(super) fn issue(&self, leaf: &Leaf<'_>) -> Result<(String, SecretString)> {
        let making = || format!("failed to make a certificate for {}", leaf.name);
        let signer = KeyPair::from_pem(self.key.expose_secret()).context(making)?;
        let issuer = Issuer::from_ca_cert_pem(&self.cert, signer).context(making)?;
        let mut params = params(leaf.name, LEAF_DAYS)?;
        params.subject_alt_names = CertificateParams::new(leaf.sans.to_vec()).context(making)?.subject_alt_names;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = leaf.usages.to_vec();
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().context(making)?;
        let cert = params.signed_by(&key, &issuer).context(making)?;
        Ok((cert.pem(), key.serialize_pem().into()))
    }

    /// The CA whose certificate and key these are.
    pub(in crate::exec) async fn of_files(ctx: &Context, host: &str, cert: &str, key: &str) -> Result<Self> {
        let missing = |path: &str| Error::failed(format!("{path} is gone")).on(host);
        let cert = content(ctx, host, cert).await?.ok_or_else(|| missing(cert))?;
        let key = content(ctx, host, key).await?.ok_or_else(|| missing(key))?;
        Ok(Self { cert, key: key.into() })
    }

    /// Puts the key into a file of root's alone.
    pub(in crate::exec) async fn put_key(&self, ctx: &Context, host: &str, path: &str) -> Result<()> {
        secret(ctx, host, path, &self.key).await
    }

    /// A certificate of this CA for whom the certificate `der` is: the same name and key, for the same purposes. The key
    /// stays where it is.
    ///
    /// Errors: it is one that kubeadm would not make.
    pub(in crate::exec) fn reissue(&self, der: &[u8]) -> Result<String> {
        let making = || "failed to make a certificate anew".to_owned();
        let unlike = |what: &str| Error::failed(format!("{}: {what}", making()));
        let (_, old) = x509_parser::parse_x509_certificate(der).context(making)?;
        let mut params = params("", REISSUED_DAYS)?;
        params.distinguished_name = DistinguishedName::new();
        for attribute in old.subject().iter_attributes() {
            let value = attribute.as_str().map_err(|e| unlike(&e.to_string()))?;
            let kind = match attribute.attr_type() {
                oid if *oid == oid_registry::OID_X509_ORGANIZATION_NAME => DnType::OrganizationName,
                oid if *oid == oid_registry::OID_X509_COMMON_NAME => DnType::CommonName,
                other => return Err(unlike(&format!("its subject has {other}"))),
            };
            if params.distinguished_name.get(&kind).is_some() {
                return Err(unlike(&format!("{} names two groups", old.subject())));
            }
            params.distinguished_name.push(kind, value);
        }
        for name in old.subject_alternative_name().context(making)?.iter().flat_map(|e| &e.value.general_names) {
            params.subject_alt_names.push(match name {
                GeneralName::DNSName(name) => SanType::DnsName((*name).try_into().context(making)?),
                GeneralName::IPAddress(bytes) => {
                    SanType::IpAddress(address(bytes).ok_or_else(|| unlike("a bad address"))?)
                }
                other => return Err(unlike(&format!("it is for {other}"))),
            });
        }
        let purposes = old.extended_key_usage().context(making)?;
        let (server, client) = purposes.map_or((false, false), |p| (p.value.server_auth, p.value.client_auth));
        params.extended_key_usages = [
            server.then_some(ExtendedKeyUsagePurpose::ServerAuth),
            client.then_some(ExtendedKeyUsagePurpose::ClientAuth),
        ]
        .into_iter()
        .flatten()
        .collect();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.use_authority_key_identifier_extension = true;
        let signer = KeyPair::from_pem(self.key.expose_secret()).context(making)?;
        let issuer = Issuer::from_ca_cert_pem(&self.cert, signer).context(making)?;
        let key = SubjectPublicKeyInfo::from_der(old.public_key().raw).context(making)?;
        Ok(params.signed_by(&key, &issuer).context(making)?.pem())
    }

    /// Puts the CA onto a host of its own: before what it signed, so that what is cut off in between is found, and made
    /// anew.
    pub(super) async fn put(&self, ctx: &Context, host: &str, dir: &str) -> Result<()> {
        secret(ctx, host, &format!("{dir}/ca.key"), &self.key).await?;
        write(ctx, host, &format!("{dir}/ca.crt"), &self.cert, 0o644).await
    }

    /// Issues a certificate and puts it onto the host as `DIR/FILE.crt`, after its key.
    pub(super) async fn put_leaf(
        &self,
        ctx: &Context,
        host: &str,
        dir: &str,
        file: &str,
        leaf: &Leaf<'_>,
    ) -> Result<()> {
        let (cert, key) = self.issue(leaf)?;
        secret(ctx, host, &format!("{dir}/{file}.key"), &key).await?;
        write(ctx, host, &format!("{dir}/{file}.crt"), &cert, 0o644).await
    }
}

/// Writes a key for root alone.
pub(in crate::exec) async fn secret(ctx: &Context, host: &str, path: &str, key: &SecretString) -> Result<()> {
    let content = key.expose_secret().as_bytes().to_vec();
    ctx.host(host)?.write_file(&FileSpec { path: path.into(), content, mode: 0o600 }).await
}

/// The content of a file, when there is one and it is text.
pub(in crate::exec) async fn content(ctx: &Context, host: &str, path: &str) -> Result<Option<String>> {
    let Answer::File(file) = ctx.ask(host, Probe::Content(path.into())).await? else { return Ok(None) };
    Ok(file.content.and_then(|bytes| String::from_utf8(bytes).ok()))
}

pub(super) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(i64::MAX))
}

fn params(name: &str, days: i64) -> Result<CertificateParams> {
    let mut params = CertificateParams::default();
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    params.distinguished_name = subject;
    let at =
        |seconds: i64| time::OffsetDateTime::from_unix_timestamp(seconds).context(|| "failed to read the clock".into());
    params.not_before = at(now() - BACKDATED)?;
    params.not_after = at(now() + days * 86_400)?;
    Ok(params)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of kubeadm's, with an RSA key that nobody here has.
    #[test]
    fn what_is_signed_again_is_for_the_same_name_and_key() {
        let block = x509_parser::pem::parse_x509_pem(include_bytes!("rsa.pem")).unwrap_or_else(|e| panic!("{e}")).1;
        let old = block.parse_x509().unwrap_or_else(|e| panic!("{e}"));
        let ca = Ca::new("t").unwrap_or_else(|e| panic!("{e}"));
        let text = ca.reissue(&block.contents).unwrap_or_else(|e| panic!("{e}"));
        let of = |text: &str| x509_parser::pem::parse_x509_pem(text.as_bytes()).map(|(_, p)| p);
        let (new, ca) = (of(&text).unwrap_or_else(|e| panic!("{e}")), of(&ca.cert).unwrap_or_else(|e| panic!("{e}")));
        let (new, ca) = (new.parse_x509(), ca.parse_x509());
        let (new, ca) = (new.unwrap_or_else(|e| panic!("{e}")), ca.unwrap_or_else(|e| panic!("{e}")));
        assert!(new.verify_signature(Some(ca.public_key())).is_ok());
        assert_eq!(new.public_key().raw, old.public_key().raw);
        assert_eq!(new.subject().to_string(), "O=system:nodes, CN=system:node:w1");
        let names = |c: &x509_parser::certificate::X509Certificate<'_>| {
            c.subject_alternative_name().ok().flatten().map(|s| format!("{:?}", s.value))
        };
        assert!(names(&new).is_some() && names(&new) == names(&old), "{:?}", names(&new));
        let usage = new.extended_key_usage().ok().flatten().map(|u| (u.value.server_auth, u.value.client_auth));
        assert_eq!((usage, new.is_ca()), (Some((true, true)), false));
    }

    #[test]
    fn a_ca_ends_and_a_leaf_is_none() {
        let ca = Ca::new("t").unwrap_or_else(|e| panic!("{e}"));
        let leaf = Leaf { name: "a", sans: &["a".to_owned()], usages: &[ExtendedKeyUsagePurpose::ServerAuth] };
        let (cert, _) = ca.issue(&leaf).unwrap_or_else(|e| panic!("{e}"));
        assert!(is_valid_ca(&ca.cert, now()));
        assert!(!is_valid_ca(&cert, now()), "a host's certificate is no CA");
        assert!(!is_valid_ca(&ca.cert, now() + CA_DAYS * 86_400));
    }
}
