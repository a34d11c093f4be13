//! Under which licence an artifact comes: what an image says of itself, else `bundles/licences.toml`. Pure.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use spdx::Expression;

use super::manifest::{Artifact, ArtifactKind, Digest};

/// What images say of their licence (`org.opencontainers.image.licenses`), by the digest of their manifest.
pub type Labels = BTreeMap<Digest, String>;

/// What SPDX writes where nothing is known.
pub const NO_ASSERTION: &str = "NOASSERTION";

/// Where a licence is known from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LicenceBasis {
    /// The image states it in its label or annotation.
    ImageLabel,
    /// The program is listed in `bundles/licences.toml`.
    KnownProgram,
    /// Nothing is known.
    Unknown,
}

/// The licence of an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Licence {
    /// A valid SPDX expression; none when nothing is known.
    pub expression: Option<String>,
    /// What an image says when that is no SPDX expression.
    pub said: Option<String>,
    /// Where it is known from.
    pub basis: LicenceBasis,
}

impl Licence {
    /// The expression, or [`NO_ASSERTION`].
    #[must_use]
    pub fn or_no_assertion(&self) -> &str {
        self.expression.as_deref().unwrap_or(NO_ASSERTION)
    }
}

/// A program of the table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Program {
    name: String,
    licence: String,
    /// `vendor:product`
    cpe: Option<String>,
    /// Read by people, and by the test that wants one of each.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the table's readers"))]
    source: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    program: Vec<Program>,
}

// A constant of the program: a test reads it, so a broken one (which would know nothing) never leaves the house.
static TABLE: LazyLock<std::result::Result<Vec<Program>, toml::de::Error>> =
    LazyLock::new(|| toml::from_str::<Table>(include_str!("../../bundles/licences.toml")).map(|table| table.program));

fn program(artifact: &Artifact) -> Option<&'static Program> {
    let name = match artifact.kind {
        ArtifactKind::Image => repository(&artifact.name).rsplit('/').next()?,
        ArtifactKind::Binary | ArtifactKind::Archive => &artifact.name,
        _ => return None,
    };
    TABLE.as_ref().ok()?.iter().find(|p| p.name == name)
}

/// An image's name without its tag.
pub(super) fn repository(image: &str) -> &str {
    match image.rsplit_once(':') {
        // A port belongs to the registry, not to the tag.
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => image,
    }
}

/// The licence of an artifact. What an image says of itself wins over the table.
#[must_use]
pub fn licence(artifact: &Artifact, labels: &Labels) -> Licence {
    if artifact.kind == ArtifactKind::Image
        && let Some(said) = labels.get(&artifact.digest)
    {
        let expression = expression(said);
        let said = expression.is_none().then(|| said.clone());
        return Licence { expression, said, basis: LicenceBasis::ImageLabel };
    }
    match program(artifact) {
        Some(known) => {
            Licence { expression: Some(known.licence.clone()), said: None, basis: LicenceBasis::KnownProgram }
        }
        None => Licence { expression: None, said: None, basis: LicenceBasis::Unknown },
    }
}

/// The text as a valid SPDX expression of listed licences: deprecated and sloppy forms are put right, anything else is
/// none. A `LicenseRef-` is none too: it means something only in the document that defines it.
fn expression(text: &str) -> Option<String> {
    let text = text.trim();
    let listed = |text: &str| {
        Expression::parse(text).is_ok_and(|parsed| {
            parsed
                .requirements()
                .all(|r| r.req.license.id().is_some() && r.req.addition.as_ref().is_none_or(|a| a.id().is_some()))
        })
    };
    if listed(text) {
        return Some(text.to_owned());
    }
    Expression::canonicalize(text).ok().flatten().filter(|canonical| listed(canonical))
}

/// The name under which the vulnerability database lists this version of the program (CPE 2.3), for those it lists.
#[must_use]
pub(super) fn cpe(artifact: &Artifact) -> Option<String> {
    let product = program(artifact)?.cpe.as_deref()?;
    let version = artifact.version.strip_prefix('v').unwrap_or(&artifact.version);
    // An image's own revision (etcd:3.6.8-0) is none of the program's; other suffixes mean another version.
    let version = match version.split_once('-') {
        Some((program, revision)) if revision.bytes().all(|b| b.is_ascii_digit()) => program,
        _ => version,
    };
    let plain = !version.is_empty() && version.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    plain.then(|| format!("cpe:2.3:a:{product}:{version}:*:*:*:*:*:*:*"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::bundle::sample::artifact;

    #[test]
    fn the_table_is_well_formed_and_sorted() {
        let table = TABLE.as_ref().unwrap_or_else(|e| panic!("{e}"));
        assert!(table.windows(2).all(|w| w[0].name < w[1].name), "sorted by name, none twice");
        for program in table {
            assert_eq!(expression(&program.licence).as_ref(), Some(&program.licence), "{}", program.name);
            assert!(program.source.starts_with("https://"), "{}", program.name);
            let cpe = program.cpe.as_deref().unwrap_or("vendor:product");
            assert!(cpe.split(':').count() == 2 && cpe.bytes().all(|b| b.is_ascii_lowercase() || b":._-".contains(&b)));
        }
    }

    #[test]
    fn an_image_is_known_by_its_last_name_and_its_own_word_wins() {
        let labels = Labels::new();
        for (kind, name, want) in [
            (ArtifactKind::Image, "registry.k8s.io/coredns/coredns:v1.14.2", Some("Apache-2.0")),
            (ArtifactKind::Image, "localhost:5000/kube-proxy", Some("Apache-2.0")),
            (ArtifactKind::Image, "docker.io/library/busybox:1.36", Some("GPL-2.0-only")),
            (ArtifactKind::Image, "registry.example/app:1", None),
            (ArtifactKind::Archive, "cni-plugins", Some("Apache-2.0")),
            (ArtifactKind::Chart, "etcd", None),
        ] {
            let found = licence(&artifact(kind, name, "1"), &labels);
            assert_eq!(found.expression.as_deref(), want, "{name}");
        }
        let image = artifact(ArtifactKind::Image, "docker.io/library/busybox:1.36", "1.36");
        for (said, want) in [
            ("MIT", Some("MIT")),
            (" Apache-2.0 OR MIT ", Some("Apache-2.0 OR MIT")),
            ("GPL-2.0", Some("GPL-2.0-only")),
            ("Apache-2.0 WITH LLVM-exception", Some("Apache-2.0 WITH LLVM-exception")),
            ("LicenseRef-ours", None),
            ("ask the vendor", None),
            ("", None),
        ] {
            let found = licence(&image, &Labels::from([(image.digest.clone(), said.to_owned())]));
            assert_eq!(found.expression.as_deref(), want, "{said}");
            assert_eq!(found.said.is_some(), want.is_none());
            assert_eq!(found.basis, LicenceBasis::ImageLabel);
        }
    }

    #[test]
    fn a_cpe_names_the_program_and_never_another_version() {
        let of = |name: &str, version: &str| cpe(&artifact(ArtifactKind::Image, name, version));
        assert_eq!(of("r.io/etcd:3.6.8-0", "3.6.8-0").as_deref(), Some("cpe:2.3:a:etcd:etcd:3.6.8:*:*:*:*:*:*:*"));
        assert_eq!(of("r.io/kube-proxy:v1.36.2", "v1.36.2").map(|c| c.contains(":1.36.2:")), Some(true));
        assert_eq!(of("r.io/etcd:3.6.0-rc.1", "3.6.0-rc.1"), None);
        assert_eq!(of("r.io/etcd:a:*", "a:*"), None);
        assert_eq!(of("r.io/pause:3.10", "3.10"), None);
    }

    proptest! {
        #[test]
        fn whatever_an_image_says_is_an_expression_or_none(text in "\\PC{0,60}|([A-Z-]{1,12}|AND|OR|WITH|[()+ /])*") {
            if let Some(found) = expression(&text) {
                prop_assert!(Expression::parse(&found).is_ok());
            }
        }
    }
}
