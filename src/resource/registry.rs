//! The certificates of the built-in registry's hosts. Pure.

use super::identity::{Identity, identity_probe};
use crate::bundle::Digest;
use crate::host::{Answer, Probe};

/// Where the CA of the registry lies on every node.
pub const REGISTRY_CA: &str = "/etc/provision/registry-ca.crt";
/// Where a host of the registry keeps its certificates and keys.
pub const REGISTRY_DIR: &str = "/etc/provision/registry";

/// Asks for the certificates.
#[must_use]
pub fn registry_probe() -> Probe {
    identity_probe(REGISTRY_DIR, &["ca", "server"])
}

/// The CA that a host has: certificate and key, and time left to sign with.
#[must_use]
pub fn registry_ca(answer: &Answer) -> Option<Digest> {
    Identity::read(answer)?.ca()
}

/// Whether the host has a certificate of its own for all these names, from this CA (of any that it has itself, when
/// none is known yet).
#[must_use]
pub(super) fn is_whole(answer: &Answer, names: &[String], ca: Option<&Digest>) -> bool {
    Identity::read(answer).is_some_and(|found| found.can_sign() && found.trusts(ca) && found.has("server", names))
}
