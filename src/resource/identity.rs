//! Certificates that hosts have from a CA of ours. Pure.

use std::collections::{BTreeMap, BTreeSet};

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::parse_x509_pem;

use super::shell::shell_probe;
use crate::bundle::Digest;
use crate::host::{Answer, Probe};
use crate::pem::address;

/// A certificate that ends sooner is made anew by the next apply. A change window is rarely further away.
pub const RENEW_DAYS: i64 = 90;

/// Asks for the certificates of these names in a directory.
pub(super) fn identity_probe(dir: &str, names: &[&str]) -> Probe {
    shell_probe("identity", &[&[dir], names].concat())
}

/// What a host answered.
pub(super) struct Identity {
    now: i64,
    certs: BTreeMap<String, String>,
    keys: BTreeSet<String>,
}

impl Identity {
    pub(super) fn read(answer: &Answer) -> Option<Self> {
        let Answer::Shell { code: 0, stdout, .. } = answer else { return None };
        let mut found = Self { now: 0, certs: BTreeMap::new(), keys: BTreeSet::new() };
        let mut at = String::new();
        for line in stdout.lines() {
            match line.split_once('=') {
                Some(("now", seconds)) => found.now = seconds.parse().ok()?,
                Some(("key", name)) => {
                    found.keys.insert(name.to_owned());
                }
                Some(("cert", name)) => name.clone_into(&mut at),
                _ => {
                    let into = found.certs.entry(at.clone()).or_default();
                    into.push_str(line);
                    into.push('\n');
                }
            }
        }
        Some(found)
    }

    fn cert(&self, name: &str) -> &str {
        self.certs.get(name).map_or("", String::as_str)
    }

    /// The CA that the host can sign with: certificate and key, and time left.
    pub(super) fn ca(&self) -> Option<Digest> {
        let pem = self.cert("ca");
        (self.keys.contains("ca") && is_valid_ca(pem, self.now)).then(|| Digest::of(pem.as_bytes()))
    }

    /// Whether the host trusts this CA (any that is valid, when none is known yet).
    pub(super) fn trusts(&self, ca: Option<&Digest>) -> bool {
        let pem = self.cert("ca");
        is_valid_ca(pem, self.now) && ca.is_none_or(|ca| *ca == Digest::of(pem.as_bytes()))
    }

    /// Whether the host has this certificate and its key, for all these names, from the CA that it trusts.
    pub(super) fn has(&self, name: &str, names: &[String]) -> bool {
        self.keys.contains(name)
            && with_cert(self.cert(name), |cert| {
                lasts(cert, self.now, RENEW_DAYS)
                    && names.iter().all(|n| names_of(cert).contains(n))
                    && with_cert(self.cert("ca"), |ca| cert.verify_signature(Some(ca.public_key())).is_ok())
            })
    }

    /// Whether the host has the CA's key.
    pub(super) fn can_sign(&self) -> bool {
        self.keys.contains("ca")
    }
}

/// Whether this PEM is a CA that can still sign what is renewed before [`RENEW_DAYS`] are left. `now` is in seconds
/// since 1970.
#[must_use]
pub fn is_valid_ca(pem: &str, now: i64) -> bool {
    with_cert(pem, |cert| {
        cert.is_ca() && lasts(cert, now, RENEW_DAYS) && cert.verify_signature(Some(cert.public_key())).is_ok()
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
        GeneralName::IPAddress(bytes) => address(bytes).map(|a| a.to_string()),
        _ => None,
    };
    names.into_iter().flatten().filter_map(text).collect()
}
