//! Which repository and tag an artifact has in a registry. Pure.
//!
//! The same names are served by `provision serve`, filled by `bundle push` and asked for by the nodes' `hosts.toml`.

use crate::bundle::{Artifact, ArtifactKind, Digest, ImageName, is_of_image};
use crate::error::Result;

/// Where an artifact is found in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The repository: `registry.k8s.io/pause`, `provision/kubeadm`.
    pub repository: String,
    /// The tag: `3.10`, `1.36.2-amd64`.
    pub tag: String,
    /// For an image the registry and the repository there, as containerd asks for them.
    pub upstream: Option<(String, String)>,
}

/// Where this artifact is found.
///
/// Errors (`Invalid`): an image without a full name.
pub fn place(artifact: &Artifact) -> Result<Place> {
    let versioned = || match artifact.arch {
        Some(arch) => tag(&format!("{}-{}", artifact.version, arch.as_str())),
        None => tag(&artifact.version),
    };
    let ours = |below: &str, tag: String| Place {
        repository: format!("provision/{below}{}", path(&artifact.name)),
        tag,
        upstream: None,
    };
    Ok(match artifact.kind {
        // Beside what is signed, where cosign looks for it.
        ArtifactKind::Signature if !is_of_image(artifact) => {
            ours("", tag(&format!("{}-{}.sig", artifact.version, artifact.arch_name())))
        }
        ArtifactKind::Image | ArtifactKind::Signature => {
            let image = ImageName::parse(&artifact.name)?;
            Place {
                repository: format!("{}/{}", image_path(&image.registry), path(&image.repository)),
                tag: tag(&image.tag),
                upstream: Some((image.registry, image.repository)),
            }
        }
        // Helm wants a chart's version alone for its tag.
        ArtifactKind::Chart => ours("charts/", tag(&artifact.version)),
        ArtifactKind::Manifest => ours("manifests/", versioned()),
        ArtifactKind::Package => ours("packages/", versioned()),
        ArtifactKind::File => ours("files/", versioned()),
        ArtifactKind::Binary | ArtifactKind::Archive => ours("", versioned()),
    })
}

/// The path component that stands for an upstream registry: its name, made fit for one (a port's colon is not).
#[must_use]
pub fn image_path(registry: &str) -> String {
    component(registry)
}

/// Whether this is a repository's name by the distribution specification.
#[must_use]
pub(super) fn is_repository(name: &str) -> bool {
    name.len() <= 255 && name.split('/').all(is_component)
}

/// Whether this is a tag by the distribution specification.
#[must_use]
pub(super) fn is_tag(tag: &str) -> bool {
    tag.len() <= 128
        && tag.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && tag.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let separators = text.split(plain).filter(|s| !s.is_empty());
    text.starts_with(plain) && text.ends_with(plain) && separators.into_iter().all(is_separator)
}

fn is_separator(text: &str) -> bool {
    matches!(text, "." | "_" | "__") || text.bytes().all(|b| b == b'-')
}

fn path(name: &str) -> String {
    let whole = name.split('/').map(component).collect::<Vec<_>>().join("/");
    // Short enough for what goes before it.
    if whole.len() > 180 { component(name) } else { whole }
}

/// The text itself when it is a path component; else what can be kept of it, and a hash so that no two become one.
fn component(text: &str) -> String {
    if text.len() <= 180 && is_component(text) {
        return text.to_owned();
    }
    let words: Vec<String> = text
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|w| !w.is_empty())
        .map(str::to_ascii_lowercase)
        .collect();
    let kept: String = words.join("-").chars().take(64).collect();
    marked(kept.trim_end_matches('-'), text)
}

fn tag(text: &str) -> String {
    // Helm's convention: a version's build metadata goes behind an underscore.
    let plain = text.replace('+', "_");
    if is_tag(&plain) {
        return plain;
    }
    let kept: String = plain
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_') { c } else { '-' })
        .take(100)
        .collect();
    marked(kept.trim_start_matches(['.', '-']), text)
}

fn marked(kept: &str, whole: &str) -> String {
    let hash = Digest::of(whole.as_bytes());
    let kept = if kept.is_empty() { "x" } else { kept };
    format!("{kept}-{}", &hash.hex()[..8])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_that_fit_stay_and_others_are_made_to() {
        assert_eq!(path("ingress-nginx/controller"), "ingress-nginx/controller");
        assert_eq!(image_path("registry.k8s.io"), "registry.k8s.io");
        assert!(image_path("localhost:5000").starts_with("localhost-5000-"));
        assert!(path("libstdc++6").starts_with("libstdc-6-") && path("g++") != path("g--"));
        assert_eq!(tag("1.2.3+build.4"), "1.2.3_build.4");
        assert!(tag("1:1.1.5~rc1-1-amd64").starts_with("1-1.1.5-rc1-1-amd64-"));
        for bad in ["", "A", "a//b", "a/", "-a", "a..b", "a___b", "../a", "a/_uploads"] {
            assert!(!is_repository(bad), "{bad}");
        }
        for good in ["a", "a/b.c/d__e--f", "0/1"] {
            assert!(is_repository(good), "{good}");
        }
    }

    proptest! {
        #[test]
        fn any_name_becomes_a_repository_and_a_tag(name in "\\PC{1,80}", other in "\\PC{1,80}") {
            prop_assert!(is_repository(&path(&name)), "{}", path(&name));
            prop_assert!(is_tag(&tag(&name)), "{}", tag(&name));
            prop_assert_eq!(path(&name) == path(&other), name == other);
        }
    }
}
