//! The signatures in a bundle against the inventory's keys, without a network.

use std::io::Read as _;

use serde_json::Value;

use super::cosign::{CosignKey, CosignSignature, CosignWorth, cosign_signatures, cosign_worth};
use super::files::{minisign_holds, openpgp_holds};
use super::lock::MAX_SIGNATURE;
use super::rules::{Key, Rules};
use crate::bundle::lock::of_arch;
use crate::bundle::manifest::{Artifact, ArtifactKind, BundleManifest, Digest, Verified};
use crate::bundle::store::Bundle;
use crate::error::{Context as _, Error, Result};
use crate::inventory::Inventory;

/// The largest manifest or index that is read, in bytes.
const MAX_MANIFEST: usize = 4 << 20;

/// What was found of upstream's signatures.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct UpstreamChecks {
    /// How many artifacts were checked again, by the inventory's keys.
    pub checked: usize,
    /// Artifacts whose signature is in the bundle, and no key to check it again.
    pub unchecked: Vec<String>,
}

impl UpstreamChecks {
    /// When there is no inventory, so no key.
    #[must_use]
    pub fn none(manifest: &BundleManifest) -> Self {
        Self { checked: 0, unchecked: signed(manifest).map(shown).collect() }
    }
}

/// Checks upstream's signature of all that `[[trust.upstream]]` matches, over the bundle's own bytes: which are for the
/// caller to verify first. Blocking.
///
/// Errors (`Invalid`): whatever must be signed and is not, with the reasons; an entry that matches nothing.
pub fn check_upstream(inv: &Inventory, bundle: &Bundle) -> Result<UpstreamChecks> {
    let rules = Rules::read(inv)?;
    let manifest = bundle.manifest();
    rules.all_used(manifest.artifacts.iter().map(|a| (a.kind, a.name.as_str())))?;
    let (mut checks, mut problems) = (UpstreamChecks::default(), Vec::new());
    for artifact in &manifest.artifacts {
        let Some(key) = rules.of(artifact.kind, &artifact.name) else { continue };
        match holds(bundle, artifact, key) {
            Ok(()) => checks.checked += 1,
            Err(e) => {
                let cause = std::error::Error::source(&e).map(|s| format!(": {s}")).unwrap_or_default();
                problems.push(format!("{}: {e}{cause}", shown(artifact)));
            }
        }
    }
    if !problems.is_empty() {
        return Err(Error::invalid(format!(
            "the bundle {} holds what is not signed by its upstream as the inventory asks:\n  {}",
            bundle.place().display(),
            problems.join("\n  ")
        ))
        .hint("`provision bundle lock` with this inventory asks upstream for the signatures, `bundle build` puts them inside"));
    }
    checks.unchecked = signed(manifest).filter(|a| rules.of(a.kind, &a.name).is_none()).map(shown).collect();
    Ok(checks)
}

/// What a signature was recorded for, without the signatures themselves.
fn signed(manifest: &BundleManifest) -> impl Iterator<Item = &Artifact> {
    let recorded = |a: &&Artifact| matches!(a.verified, Verified::UpstreamSignature { .. });
    manifest.artifacts.iter().filter(|a| a.kind != ArtifactKind::Signature).filter(recorded)
}

fn shown(artifact: &Artifact) -> String {
    format!("{} {} for {}", artifact.name, artifact.version, artifact.arch_name())
}

/// Whether the signature that is recorded for an artifact is one by this key.
fn holds(bundle: &Bundle, artifact: &Artifact, key: &Key) -> Result<()> {
    let Verified::UpstreamSignature { signature, signed, .. } = &artifact.verified else {
        return Err(Error::invalid("no signature was recorded when it was locked"));
    };
    match key {
        Key::Cosign(keys) => {
            if *signed != artifact.digest {
                let index: Value = serde_json::from_slice(&small(bundle, signed, MAX_MANIFEST)?)
                    .map_err(|e| Error::invalid(format!("the signed index {signed} is broken")).source(e))?;
                let named = artifact.arch.map(|arch| of_arch(&artifact.name, &index, arch)).transpose()?;
                if named.as_ref() != Some(&artifact.digest) {
                    return Err(Error::invalid(format!("the signed index {signed} names another manifest")));
                }
            }
            cosign_holds(bundle, signature, keys, signed)
        }
        Key::Minisign(_) | Key::Openpgp(_) => {
            if *signed != artifact.digest {
                return Err(Error::invalid(format!("the signature is said to be for {signed}")));
            }
            let bytes = small(bundle, signature, MAX_SIGNATURE)?;
            let blob = bundle.blob(&artifact.digest)?;
            let open = || Ok(Box::new(blob.reader()) as Box<dyn std::io::Read>);
            match key {
                Key::Minisign(key) => minisign_holds(key, &artifact.name, &open, &bytes)?,
                Key::Openpgp(keys) => openpgp_holds(keys, &artifact.name, &open, &bytes)?,
                Key::Cosign(_) => return Err(Error::invalid("cosign's keys are for images")),
            };
            Ok(())
        }
    }
}

fn cosign_holds(bundle: &Bundle, manifest: &Digest, keys: &[CosignKey], signed: &Digest) -> Result<()> {
    let found = cosign_signatures(&small(bundle, manifest, MAX_MANIFEST)?)?;
    let with_payloads: Vec<(CosignSignature, Vec<u8>)> = found
        .into_iter()
        .map(|s| small(bundle, &s.payload, MAX_SIGNATURE).map(|bytes| (s, bytes)))
        .collect::<Result<_>>()?;
    match cosign_worth(keys, &with_payloads, signed) {
        CosignWorth::Signed(_) => Ok(()),
        CosignWorth::Not(why) => Err(Error::invalid(why)),
    }
}

fn small(bundle: &Bundle, digest: &Digest, max: usize) -> Result<Vec<u8>> {
    let blob = bundle.blob(digest)?;
    if blob.size() > max as u64 {
        return Err(Error::invalid(format!("{digest} is larger than a signature may be")));
    }
    let mut bytes = Vec::new();
    blob.reader().read_to_end(&mut bytes).context(|| format!("failed to read {digest}"))?;
    // What is signed is named by its digest: a blob under the wrong name must not stand for it.
    if Digest::of(&bytes) == *digest { Ok(bytes) } else { Err(Error::invalid(format!("{digest} is damaged"))) }
}
