//! `[[trust.upstream]]`: which of upstream's own signatures images and files must have.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[[trust.upstream]]`: whatever matches must be signed with the key of this entry; the first entry that matches
/// counts. Exactly one of the keys is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpstreamSigner {
    /// With `cosign_key` the full names of images with their tags, like "registry.example/team/*"; with the other keys the
    /// names of binaries and archives, like "runc". `*` stands for any characters.
    #[serde(rename = "match")]
    pub pattern: String,
    /// The public keys of cosign (PEM; ECDSA P-256 or Ed25519) that sign the images; relative to the inventory.
    #[serde(default)]
    pub cosign_key: Option<PathBuf>,
    /// The public key of minisign that signs the files, `URL.minisig` beside each; relative to the inventory.
    #[serde(default)]
    pub minisign_key: Option<PathBuf>,
    /// The OpenPGP public keys that sign the files, `URL.asc` or `URL.sig` beside each; relative to the inventory.
    #[serde(default)]
    pub gpg_key: Option<PathBuf>,
}

/// The form of a signature of upstream's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SignatureScheme {
    /// cosign with a key, beside the image in its registry.
    Cosign,
    /// minisign's detached signature.
    Minisign,
    /// OpenPGP's detached signature.
    Openpgp,
}

impl SignatureScheme {
    /// As the lock and `bundle.json` write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cosign => "cosign",
            Self::Minisign => "minisign",
            Self::Openpgp => "openpgp",
        }
    }
}

impl UpstreamSigner {
    /// The keys that are named, with the name of the setting.
    #[must_use]
    pub fn keys(&self) -> Vec<(SignatureScheme, &'static str, &Path)> {
        [
            (SignatureScheme::Cosign, "cosign_key", &self.cosign_key),
            (SignatureScheme::Minisign, "minisign_key", &self.minisign_key),
            (SignatureScheme::Openpgp, "gpg_key", &self.gpg_key),
        ]
        .into_iter()
        .filter_map(|(scheme, setting, path)| Some((scheme, setting, path.as_deref()?)))
        .collect()
    }

    /// Whether the name is one of those it is for.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        matches(self.pattern.as_bytes(), name.as_bytes())
    }
}

/// Whether `*` in the pattern can stand for something that makes it the name. Time grows with the product of the two
/// lengths at most.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    // Where the last star stood, and the first byte of the name that it does not cover yet.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p, n));
            p += 1;
        } else if pattern.get(p) == name.get(n) {
            (p, n) = (p + 1, n + 1);
        } else if let Some((at, covered)) = star {
            star = Some((at, covered + 1));
            (p, n) = (at + 1, covered + 1);
        } else {
            return false;
        }
    }
    pattern.iter().skip(p).all(|b| *b == b'*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::matches;

    #[test]
    fn a_star_is_any_characters_and_the_rest_is_itself() {
        for (pattern, name, fits) in [
            ("runc", "runc", true),
            ("runc", "runc2", false),
            ("*", "", true),
            ("registry.example/*", "registry.example/a/b:1", true),
            ("registry.example/*", "registry.example.evil/a:1", false),
            ("*/pause:*", "registry.k8s.io/pause:3.10", true),
            ("*/pause:*", "registry.k8s.io/pause-x:3.10", false),
            ("a*b*c", "abbbc", true),
            ("a*b*c", "abbb", false),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), fits, "{pattern} {name}");
        }
    }

    proptest! {
        #[test]
        fn a_part_replaced_by_a_star_matches(name in "[ab/]{0,20}", from in 0usize..20, len in 0usize..20) {
            let from = from.min(name.len());
            let to = (from + len).min(name.len());
            let pattern = format!("{}*{}", &name[..from], &name[to..]);
            prop_assert!(matches(pattern.as_bytes(), name.as_bytes()));
        }
    }
}
