//! What is seen of a rotation on one node.

use std::collections::BTreeMap;

use x509_parser::pem::Pem;

use super::family::Family;
use super::moves::Phase;
use crate::bundle::Digest;
use crate::error::{Error, Result};
use crate::host::{Answer, Probe};
use crate::kubeadm::{pem_blocks, unreadable};
use crate::pem::certificate_pem;
use crate::resource::{certs_probe, shell_probe};

/// What is seen of a CA and its rotation on one node. CAs are named by the digest of their certificate.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// The rotation's directory is there.
    pub begun: bool,
    /// The CA's key is there.
    pub key: bool,
    /// The node has both CAs with their keys: the old one and the new one.
    pub staged: Option<(Digest, Digest)>,
    /// The CAs in the CA's own file, the one that signs first.
    pub bundle: Vec<Digest>,
    /// The CAs in each kubeconfig.
    pub trusts: BTreeMap<String, Vec<Digest>>,
    /// What the CA has to have signed, by its file.
    pub leaves: BTreeMap<String, Leaf>,
    /// The file with the CA by which the controller manager signs.
    pub signer: Option<String>,
    /// The last phase that this node ended: its programs were started with what is in its files.
    pub reached: Option<Phase>,
    /// The last phase that the cluster as a whole ended.
    pub cluster: Option<Phase>,
    /// From when on new pods trust both CAs (RFC 3339, UTC).
    pub since: Option<String>,
    /// Certificates of CAs, PEM.
    pub authorities: BTreeMap<Digest, String>,
}

/// A certificate that the CA has to have signed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Leaf {
    /// The CA that did, of those that are known; [`resolve`] finds it out.
    pub by: Option<Digest>,
    /// DER.
    pub der: Vec<u8>,
}

/// The questions whose answers [`seen`] reads.
#[must_use]
pub fn rotation_probes(family: Family) -> [Probe; 2] {
    let dir = family.dir();
    let pairs = [format!("{dir}/old.crt"), format!("{dir}/new.crt")];
    [certs_probe(&[&pairs[0], &pairs[1]]), shell_probe("rotation", &[&dir, family.key()])]
}

/// Reads the answers to [`rotation_probes`].
///
/// Errors: one of them failed, or a certificate cannot be read.
pub fn seen(family: Family, answers: &[Answer]) -> Result<Seen> {
    let [Answer::Shell { code: 0, stdout: certificates, .. }, Answer::Shell { code: 0, stdout: state, .. }] = answers
    else {
        return Err(Error::failed("failed to look for certificates"));
    };
    let mut seen = Seen::default();
    let dir = family.dir();
    let (mut old, mut new) = (None, None);
    for (path, block) in pem_blocks(certificates)? {
        let digest = Digest::of(&block.contents);
        if path == family.cert() {
            seen.bundle.push(digest.clone());
        } else if path == format!("{dir}/old.crt") {
            old = Some(digest.clone());
        } else if path == format!("{dir}/new.crt") {
            new = Some(digest.clone());
        } else {
            if family.signs(&path) {
                // What follows the first certificate of a file are those above it.
                seen.leaves.entry(path).or_insert(Leaf { by: None, der: block.contents });
            }
            continue;
        }
        seen.authorities.insert(digest, certificate_pem(&block.contents));
    }
    let mut trusts = String::new();
    for line in state.lines() {
        match line.split_once('=') {
            Some(("begun", _)) => seen.begun = true,
            Some(("key", _)) => seen.key = true,
            Some(("staged", "yes")) => seen.staged = old.clone().zip(new.clone()),
            Some(("signer", file)) => seen.signer = Some(file.to_owned()),
            Some(("reached", word)) => seen.reached = Phase::read(word),
            Some(("cluster", word)) => seen.cluster = Phase::read(word),
            Some(("since", time)) => seen.since = Some(time.to_owned()),
            _ if line.starts_with("data ") => trusts += &format!("{line}\n"),
            _ => {}
        }
    }
    if family == Family::Kubernetes {
        for (path, block) in pem_blocks(&trusts)? {
            seen.trusts.entry(path).or_default().push(Digest::of(&block.contents));
        }
    }
    Ok(seen)
}

/// Finds out which of the CAs that any node knows signed each certificate.
///
/// Errors: one cannot be read.
pub fn resolve(all: &mut BTreeMap<String, Seen>) -> Result<()> {
    let known: BTreeMap<Digest, String> = all.values().flat_map(|s| s.authorities.clone()).collect();
    let mut authorities = Vec::new();
    for (digest, text) in &known {
        let block = Pem::iter_from_buffer(text.as_bytes()).next().and_then(std::result::Result::ok);
        authorities.push((digest, block.ok_or_else(|| unreadable("a CA", "it is no PEM"))?));
    }
    for (host, seen) in all {
        for (path, leaf) in &mut seen.leaves {
            let (_, leaf_x509) = x509_parser::parse_x509_certificate(&leaf.der)
                .map_err(|e| unreadable(path, &e.to_string()).on(host))?;
            leaf.by = None;
            for (digest, block) in &authorities {
                let ca = block.parse_x509().map_err(|e| unreadable("a CA", &e.to_string()).on(host))?;
                if leaf_x509.verify_signature(Some(ca.public_key())).is_ok() {
                    leaf.by = Some((*digest).clone());
                }
            }
        }
    }
    Ok(())
}
