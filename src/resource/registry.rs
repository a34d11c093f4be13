//! The certificates of the built-in registry's hosts. Pure.

use std::collections::BTreeSet;
use std::net::IpAddr;

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::parse_x509_pem;

use super::shell::shell_probe;
use crate::bundle::Digest;
use crate::host::{Answer, Probe};

/// Where the CA of the registry lies on every node.
pub const REGISTRY_CA: &str = "/etc/provision/registry-ca.crt";
/// Where a host of the registry keeps its certificates and keys.
pub const REGISTRY_DIR: &str = "/etc/provision/registry";
/// A certificate that ends sooner is made anew by the next apply. A change window is rarely further away.
pub const RENEW_DAYS: i64 = 90;

/// Asks for the certificates.
#[must_use]
pub fn identity_probe() -> Probe {
    shell_probe("registry-identity", &[])
}

/// What a host answered.
struct Identity {
    now: i64,
    ca: String,
    server: String,
    keys: BTreeSet<String>,
}

fn identity(answer: &Answer) -> Option<Identity> {
    let Answer::Shell { code: 0, stdout, .. } = answer else { return None };
    let mut found = Identity { now: 0, ca: String::new(), server: String::new(), keys: BTreeSet::new() };
    let mut at = "";
    for line in stdout.lines() {
        match line.split_once('=') {
            Some(("now", seconds)) => found.now = seconds.parse().ok()?,
            Some(("key", name)) => {
                found.keys.insert(name.to_owned());
            }
            Some(("cert", name)) => at = name,
            _ => {
                let into = if at == "ca" { &mut found.ca } else { &mut found.server };
                into.push_str(line);
                into.push('\n');
            }
        }
    }
    Some(found)
}

/// The CA that a host has: certificate and key, and time left to sign with.
#[must_use]
pub fn registry_ca(answer: &Answer) -> Option<Digest> {
    let found = identity(answer)?;
    (found.keys.contains("ca") && is_valid_ca(&found.ca, found.now)).then(|| Digest::of(found.ca.as_bytes()))
}

/// Whether this PEM is a CA that can still sign what is renewed before [`RENEW_DAYS`] are left. `now` is in seconds
/// since 1970.
#[must_use]
pub fn is_valid_ca(pem: &str, now: i64) -> bool {
    with_cert(pem, |cert| {
        cert.is_ca() && lasts(cert, now, RENEW_DAYS) && cert.verify_signature(Some(cert.public_key())).is_ok()
    })
}

/// Whether the host has a certificate of its own for all these names, from this CA (of any that it has itself, when
/// none is known yet).
#[must_use]
pub(super) fn is_whole(answer: &Answer, names: &[String], ca: Option<&Digest>) -> bool {
    let Some(found) = identity(answer) else { return false };
    if found.keys.len() != 2 || !is_valid_ca(&found.ca, found.now) {
        return false;
    }
    if ca.is_some_and(|ca| *ca != Digest::of(found.ca.as_bytes())) {
        return false;
    }
    with_cert(&found.server, |server| {
        lasts(server, found.now, RENEW_DAYS)
            && names.iter().all(|n| names_of(server).contains(n))
            && with_cert(&found.ca, |ca| server.verify_signature(Some(ca.public_key())).is_ok())
    })
}

fn with_cert(pem: &str, judge: impl FnOnce(&X509Certificate<'_>) -> bool) -> bool {
    parse_x509_pem(pem.as_bytes()).is_ok_and(|(_, pem)| pem.parse_x509().is_ok_and(|cert| judge(&cert)))
}

fn lasts(cert: &X509Certificate<'_>, now: i64, days: i64) -> bool {
    let validity = cert.validity();
    validity.not_before.timestamp() <= now && validity.not_after.timestamp() > now + days * 86_400
}

fn names_of(cert: &X509Certificate<'_>) -> BTreeSet<String> {
    let names = cert.subject_alternative_name().ok().flatten().map(|san| san.value.general_names.clone());
    let text = |name: GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(name.to_owned()),
        GeneralName::IPAddress(bytes) => match *bytes {
            [a, b, c, d] => Some(IpAddr::from([a, b, c, d]).to_string()),
            _ => <[u8; 16]>::try_from(bytes).ok().map(|b| IpAddr::from(b).to_string()),
        },
        _ => None,
    };
    names.into_iter().flatten().filter_map(text).collect()
}
