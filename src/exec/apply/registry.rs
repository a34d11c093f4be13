//! Certificates of the built-in registry. The CA's key lies on every host of the registry and nowhere else, so that
//! the loss of one host, or of the operator's machine, loses nothing.

use std::time::{SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use secrecy::{ExposeSecret as _, SecretString};

use super::context::Context;
use super::files::write;
use crate::bundle::Digest;
use crate::error::{Context as _, Error, Result};
use crate::host::{Answer, FileSpec, Probe};
use crate::resource::{REGISTRY_CA, REGISTRY_DIR, is_valid_ca};

/// How long the CA lasts, in days: a cluster's life.
const CA_DAYS: i64 = 3650;
/// How long a host's certificate lasts, in days; apply renews it before.
const SERVER_DAYS: i64 = 825;
/// A node's clock may be behind the operator's by so many seconds.
const BACKDATED: i64 = 3600;

struct Ca {
    cert: String,
    key: SecretString,
}

/// Gives the host a certificate for `names`, from the CA that one of `peers` has, or else from a new one.
pub(super) async fn identity(
    ctx: &Context,
    host: &str,
    names: &[String],
    peers: &[String],
    wanted: Option<&Digest>,
) -> Result<()> {
    let ca = match existing(ctx, peers, wanted).await? {
        Some((peer, cert)) => {
            let key = content(ctx, peer, "ca.key").await?;
            let key = key.ok_or_else(|| Error::failed("the registry's CA lost its key").on(peer))?.into();
            Ca { cert, key }
        }
        None if wanted.is_none() => new_ca(&ctx.inventory.cluster.name)?,
        None => {
            return Err(Error::failed("the registry's CA that the plan saw is on none of its hosts any more")
                .on(host)
                .hint("make the plan anew"));
        }
    };
    let (cert, key) = server(&ca, names)?;
    let secret = async |name: &str, key: &SecretString| {
        let content = key.expose_secret().as_bytes().to_vec();
        let path = format!("{REGISTRY_DIR}/{name}");
        ctx.host(host)?.write_file(&FileSpec { path, content, mode: 0o600 }).await
    };
    // The CA's certificate before the host's own: what is cut off in between is found, and made anew.
    secret("ca.key", &ca.key).await?;
    write(ctx, host, &format!("{REGISTRY_DIR}/ca.crt"), &ca.cert, 0o644).await?;
    secret("server.key", &key).await?;
    write(ctx, host, &format!("{REGISTRY_DIR}/server.crt"), &cert, 0o644).await
}

/// Makes the host trust the CA of the registry's hosts.
pub(super) async fn trust(ctx: &Context, host: &str, peers: &[String], wanted: Option<&Digest>) -> Result<()> {
    let (_, cert) = existing(ctx, peers, wanted).await?.ok_or_else(|| {
        Error::failed("no host of the registry has its CA").on(host).hint("run apply again: it is made anew")
    })?;
    write(ctx, host, REGISTRY_CA, &cert, 0o644).await
}

/// The CA that the hosts of the registry have: the wanted one, else the first that can still sign. The host and the
/// certificate; its key is looked for there, and stays there.
async fn existing<'p>(
    ctx: &Context,
    peers: &'p [String],
    wanted: Option<&Digest>,
) -> Result<Option<(&'p str, String)>> {
    for peer in peers {
        let key = ctx.ask(peer, Probe::File(format!("{REGISTRY_DIR}/ca.key"))).await?;
        let Some(cert) = content(ctx, peer, "ca.crt").await?.filter(|_| matches!(key, Answer::File(_))) else {
            continue;
        };
        let fits = wanted.is_none_or(|w| *w == Digest::of(cert.as_bytes()));
        if fits && is_valid_ca(&cert, now()) {
            return Ok(Some((peer, cert)));
        }
    }
    Ok(None)
}

async fn content(ctx: &Context, host: &str, name: &str) -> Result<Option<String>> {
    let Answer::File(file) = ctx.ask(host, Probe::Content(format!("{REGISTRY_DIR}/{name}"))).await? else {
        return Ok(None);
    };
    Ok(file.content.and_then(|bytes| String::from_utf8(bytes).ok()))
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(i64::MAX))
}

fn new_ca(cluster: &str) -> Result<Ca> {
    let making = || "failed to make the registry's CA".to_owned();
    let mut params = params(&format!("provision registry CA of {cluster}"), CA_DAYS)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().context(making)?;
    let cert = params.self_signed(&key).context(making)?;
    Ok(Ca { cert: cert.pem(), key: key.serialize_pem().into() })
}

fn server(ca: &Ca, names: &[String]) -> Result<(String, SecretString)> {
    let making = || "failed to make a certificate of the registry".to_owned();
    let signer = KeyPair::from_pem(ca.key.expose_secret()).context(making)?;
    let issuer = Issuer::from_ca_cert_pem(&ca.cert, signer).context(making)?;
    let mut params = params("provision registry", SERVER_DAYS)?;
    params.subject_alt_names = CertificateParams::new(names.to_vec()).context(making)?.subject_alt_names;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate().context(making)?;
    let cert = params.signed_by(&key, &issuer).context(making)?;
    Ok((cert.pem(), key.serialize_pem().into()))
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
    use crate::plan::Action;
    use crate::resource::{probes, satisfied};

    fn answer(now: i64, ca: &str, server: &str) -> Answer {
        let stdout = format!("now={now}\nkey=ca\ncert=ca\n{ca}key=server\ncert=server\n{server}");
        Answer::Shell { code: 0, stdout, stderr: String::new() }
    }

    #[test]
    fn a_host_is_whole_with_a_lasting_certificate_for_its_names_from_the_ca() {
        let ca = new_ca("t").unwrap_or_else(|e| panic!("{e}"));
        let names = ["a".to_owned(), "192.0.2.1".to_owned(), "2001:db8::1".to_owned()];
        let (cert, _) = server(&ca, &names).unwrap_or_else(|e| panic!("{e}"));
        let known = Digest::of(ca.cert.as_bytes());
        let whole = |answer: Answer, names: &[String], ca: Option<Digest>| {
            let action = Action::RegistryIdentity { names: names.to_vec(), peers: Vec::new(), ca };
            assert_eq!(probes(&action).len(), 1);
            satisfied(&action, &[answer])
        };
        let day = 86_400;
        assert!(whole(answer(now(), &ca.cert, &cert), &names, Some(known.clone())));
        assert!(whole(answer(now(), &ca.cert, &cert), &names, None));
        assert!(!whole(answer(now(), &ca.cert, &cert), &["192.0.2.2".to_owned()], None));
        assert!(!whole(answer(now() + (SERVER_DAYS - 80) * day, &ca.cert, &cert), &names, None));
        assert!(!whole(answer(now(), &ca.cert, ""), &names, None));
        let other = new_ca("t").unwrap_or_else(|e| panic!("{e}"));
        assert!(!whole(answer(now(), &other.cert, &cert), &names, None), "of another CA");
        assert!(!whole(answer(now(), &ca.cert, &cert), &names, Some(Digest::of(other.cert.as_bytes()))));
        assert!(!whole(Answer::Absent, &names, None));
        assert!(!is_valid_ca(&cert, now()), "a host's certificate is no CA");
        assert!(!is_valid_ca(&ca.cert, now() + CA_DAYS * day));
    }
}
