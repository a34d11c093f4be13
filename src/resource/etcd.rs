//! An etcd that runs as units beside Kubernetes: its certificates, and what a host of it holds. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::identity::{Identity, identity_probe};
use super::shell::shell_probe;
use crate::bundle::Digest;
use crate::host::{Answer, Probe};
use crate::inventory::{ETCD_CLIENT_DIR, Etcd};

/// Where a host of etcd keeps its certificates and keys.
pub const ETCD_DIR: &str = "/etc/provision/etcd";
/// The unit of a member.
pub const ETCD_UNIT: &str = "provision-etcd.service";
/// With whom a member starts when it has no data.
pub const ETCD_INITIAL: &str = "/etc/provision/etcd/initial.env";
/// Says that the member was once seen in a healthy cluster.
pub const ETCD_FORMED: &str = "/etc/provision/etcd/formed";
/// The name, less its endings, of the control planes' client certificate.
pub const ETCD_CLIENT: &str = "apiserver-etcd-client";

/// What is known of a host of etcd.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EtcdHost {
    /// The CA that it can sign with.
    pub ca: Option<Digest>,
    /// It has a member's data.
    pub data: bool,
    /// Its member was once seen in a healthy cluster.
    pub formed: bool,
    /// The unit of a member was put there by us.
    pub unit: bool,
    /// The member runs.
    pub active: bool,
    /// The release of the etcd that is installed.
    #[serde(default)]
    pub version: Option<String>,
}

/// Asks for the certificates of a member.
#[must_use]
pub fn etcd_identity_probe() -> Probe {
    identity_probe(ETCD_DIR, &["ca", "server", "peer"])
}

/// Asks for the client certificate of a control plane.
#[must_use]
pub fn etcd_client_probe() -> Probe {
    identity_probe(ETCD_CLIENT_DIR, &["ca", ETCD_CLIENT])
}

/// Asks what of a member is on a host.
#[must_use]
pub fn etcd_host_probe() -> Probe {
    shell_probe("etcd-host", &[])
}

/// Asks the endpoints of an etcd that somebody else runs for their versions, from a control plane, which has the files.
#[must_use]
pub fn external_etcd_probe(etcd: &Etcd) -> Probe {
    let file = |path: &Option<String>| path.clone().unwrap_or_default();
    let files = [file(&etcd.ca_file), file(&etcd.cert_file), file(&etcd.key_file)];
    let words: Vec<&str> = files.iter().chain(&etcd.endpoints).map(String::as_str).collect();
    shell_probe("external-etcd", &words)
}

/// Reads the answer to [`external_etcd_probe`]: versions by endpoint, of those that answered.
#[must_use]
pub fn external_etcd(answer: &Answer) -> BTreeMap<String, String> {
    let Answer::Shell { stdout, .. } = answer else { return BTreeMap::new() };
    let pairs = stdout.lines().filter_map(|l| l.rsplit_once('='));
    pairs.map(|(endpoint, version)| (endpoint.to_owned(), version.to_owned())).collect()
}

/// Reads the answers to [`etcd_host_probe`] and [`etcd_identity_probe`].
#[must_use]
pub fn etcd_host(host: &Answer, identity: &Answer) -> EtcdHost {
    let Answer::Shell { stdout, .. } = host else { return EtcdHost::default() };
    let yes = |key: &str| stdout.lines().any(|l| l == format!("{key}=yes"));
    EtcdHost {
        ca: Identity::read(identity).and_then(|i| i.ca()),
        data: yes("data"),
        formed: yes("formed"),
        unit: yes("unit"),
        active: yes("active"),
        version: stdout.lines().find_map(|l| l.strip_prefix("version=")).map(str::to_owned),
    }
}

/// Whether a host of etcd has certificates for all these names from this CA (of any that it has itself, when none is
/// known yet), and the CA's key.
pub(super) fn is_member_whole(answer: &Answer, names: &[String], ca: Option<&Digest>) -> bool {
    Identity::read(answer).is_some_and(|found| {
        found.can_sign() && found.trusts(ca) && ["server", "peer"].iter().all(|cert| found.has(cert, names))
    })
}

/// Whether a control plane has a client certificate of this CA. Of an unknown one nobody can say.
pub(super) fn is_client_whole(answer: &Answer, ca: Option<&Digest>) -> bool {
    ca.is_some()
        && Identity::read(answer)
            .is_some_and(|found| found.trusts(ca) && !found.can_sign() && found.has(ETCD_CLIENT, &[]))
}

/// Whether the host has a member's data, or has been told to enter the cluster that is there.
pub(super) fn is_entered(answer: &Answer) -> bool {
    matches!(answer, Answer::Shell { stdout, .. } if stdout.lines().any(|l| l == "data=yes" || l == "initial=existing"))
}
