//! `[[trust.upstream]]` with its keys read.

use super::cosign::{CosignKey, cosign_keys};
use crate::bundle::limit::read_bytes;
use crate::bundle::manifest::ArtifactKind;
use crate::error::{Error, Result};
use crate::inventory::{Inventory, PublicKey, SignatureScheme, UpstreamSigner};
use crate::packages::Keyring;

/// The keys that count for what an entry matches.
pub(super) enum Key {
    Cosign(Vec<CosignKey>),
    Minisign(PublicKey),
    Openpgp(Keyring),
}

impl Key {
    pub(super) fn scheme(&self) -> SignatureScheme {
        match self {
            Self::Cosign(_) => SignatureScheme::Cosign,
            Self::Minisign(_) => SignatureScheme::Minisign,
            Self::Openpgp(_) => SignatureScheme::Openpgp,
        }
    }
}

/// The entries in their order.
pub(super) struct Rules(Vec<(UpstreamSigner, Key)>);

impl Rules {
    /// Reads the keys of every entry. Blocking.
    ///
    /// Errors (`Invalid`): a file that cannot be read, or holds no such key.
    pub(super) fn read(inv: &Inventory) -> Result<Self> {
        let read = |signer: &UpstreamSigner| {
            let keys = signer.keys();
            let Some((scheme, setting, file)) = keys.first() else {
                return Err(Error::invalid(format!("[[trust.upstream]] for {} names no key", signer.pattern)));
            };
            let path = inv.dir.join(file);
            let shown = format!("{setting} {}", path.display());
            let bytes = read_bytes(&path)?;
            let key = match scheme {
                SignatureScheme::Cosign => Key::Cosign(cosign_keys(&bytes, &shown)?),
                SignatureScheme::Minisign => Key::Minisign(minisign_key(&bytes, &shown)?),
                SignatureScheme::Openpgp => Key::Openpgp(Keyring::parse(&shown, &bytes)?),
            };
            Ok((signer.clone(), key))
        };
        Ok(Self(inv.trust.upstream.iter().map(read).collect::<Result<_>>()?))
    }

    /// The key that what is so called must be signed with; none when no entry matches it.
    pub(super) fn of(&self, kind: ArtifactKind, name: &str) -> Option<&Key> {
        self.0.iter().find(|(signer, key)| is_for(key, kind) && signer.matches(name)).map(|(_, key)| key)
    }

    /// An error when an entry matches none of these: whoever wrote it takes something for checked that is not.
    pub(super) fn all_used<'n>(&self, names: impl Iterator<Item = (ArtifactKind, &'n str)> + Clone) -> Result<()> {
        let used = |signer: &UpstreamSigner, key: &Key| {
            names.clone().any(|(kind, name)| is_for(key, kind) && signer.matches(name))
        };
        match self.0.iter().find(|(signer, key)| !used(signer, key)) {
            None => Ok(()),
            Some((signer, key)) => {
                let what = if matches!(key, Key::Cosign(_)) { "image" } else { "binary or archive" };
                Err(Error::invalid(format!("[[trust.upstream]] match = \"{}\" is no {what} of the bundle", signer.pattern))
                    .hint("cosign_key is for full names of images with tags, minisign_key and gpg_key for names like \"runc\"; `*` stands for any characters"))
            }
        }
    }
}

fn is_for(key: &Key, kind: ArtifactKind) -> bool {
    match key {
        Key::Cosign(_) => kind == ArtifactKind::Image,
        Key::Minisign(_) | Key::Openpgp(_) => matches!(kind, ArtifactKind::Binary | ArtifactKind::Archive),
    }
}

/// The last line of a `.pub` file that is not empty: the first is a comment, and some publish the key alone.
fn minisign_key(bytes: &[u8], shown: &str) -> Result<PublicKey> {
    let text = String::from_utf8_lossy(bytes);
    let line = text.lines().map(str::trim).rfind(|l| !l.is_empty()).unwrap_or_default();
    line.parse().map_err(|e: Error| Error::invalid(format!("{shown} is no public key of minisign")).source(e))
}
