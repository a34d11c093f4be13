//! What both forms of the bill say of an artifact.

use packageurl::PackageUrl;

use crate::bundle::licences::{Labels, Licence, cpe, licence, repository};
use crate::bundle::manifest::{Artifact, ArtifactKind, BundleManifest, Digest, Verified};
use crate::inventory::Arch;

/// The program, as tools are named in both forms.
pub(super) const TOOL: &str = env!("CARGO_PKG_NAME");
/// Its version.
pub(super) const TOOL_VERSION: &str = env!("CARGO_PKG_VERSION");

/// An artifact with what is derived from it.
pub(super) struct Part<'a> {
    pub(super) artifact: &'a Artifact,
    /// An image's name without its tag, any other's as it is.
    pub(super) name: &'a str,
    pub(super) purl: Option<String>,
    pub(super) cpe: Option<String>,
    pub(super) licence: Licence,
    /// Where it was fetched from, when that is a URL.
    pub(super) url: Option<&'a str>,
}

/// The artifacts in the manifest's own order.
pub(super) fn parts<'a>(manifest: &'a BundleManifest, labels: &Labels) -> Vec<Part<'a>> {
    let part = |artifact: &'a Artifact| Part {
        artifact,
        name: if artifact.kind == ArtifactKind::Image { repository(&artifact.name) } else { &artifact.name },
        purl: purl(artifact),
        cpe: cpe(artifact),
        licence: licence(artifact, labels),
        url: is_url(&artifact.source).then_some(artifact.source.as_str()),
    };
    manifest.artifacts.iter().map(part).collect()
}

/// How an artifact was verified, as `bundle.json` writes it: `checksum-file`, `registry-digest` ...
pub(super) fn verified_by(verified: &Verified) -> String {
    let json = serde_json::to_value(verified).unwrap_or_default();
    json.get("by").and_then(|by| by.as_str()).unwrap_or("unknown").to_owned()
}

/// A UUID (version 8, RFC 9562: made of data of one's own) of the digest: the same bundle gives the same one.
pub(super) fn uuid(digest: &Digest) -> String {
    let hex = digest.hex();
    // The variant's two bits are 10, the digit's own last two stay: 8, 9, a or b.
    let variant = match hex.as_bytes()[16] {
        b'0' | b'4' | b'8' | b'c' => '8',
        b'1' | b'5' | b'9' | b'd' => '9',
        b'2' | b'6' | b'a' | b'e' => 'a',
        _ => 'b',
    };
    format!("{}-{}-8{}-{variant}{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32])
}

/// Whether a text can stand where a document wants a URL of something to download.
fn is_url(text: &str) -> bool {
    let plain = text.bytes().all(|b| b.is_ascii_graphic() && !b"\"<>\\^`{|}[]".contains(&b));
    plain && reqwest::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

/// The package URL (purl) of an artifact; none when its name can stand in none.
fn purl(artifact: &Artifact) -> Option<String> {
    let made = |kind: &'static str, name: &str, version: &str, qualifiers: &[(&'static str, &str)]| {
        let mut purl = PackageUrl::new(kind, name.to_owned()).ok()?;
        purl.with_version(version.to_owned()).ok()?;
        // One without a value is as good as none.
        for (key, value) in qualifiers.iter().filter(|(_, value)| !value.is_empty()) {
            purl.add_qualifier(*key, (*value).to_owned()).ok()?;
        }
        Some(purl.to_string())
    };
    let (name, version) = (artifact.name.as_str(), artifact.version.as_str());
    let arch = artifact.arch.map_or("", Arch::as_str);
    let (checksum, source) = (artifact.digest.to_string(), artifact.source.as_str());
    let generic =
        |kind| made(kind, name, version, &[("arch", arch), ("checksum", &checksum), ("download_url", source)]);
    // In a bundle a package's name begins with its type: `deb/conntrack`.
    let package = name.rsplit('/').next().unwrap_or(name);
    match artifact.kind {
        ArtifactKind::Image => {
            let repository = repository(name);
            let last = repository.rsplit('/').next()?.to_lowercase();
            made("oci", &last, &checksum, &[("arch", arch), ("repository_url", repository), ("tag", version)])
        }
        ArtifactKind::Chart => {
            let from = source.rsplit_once('/').map_or(source, |(repository, _)| repository);
            made("helm", name, version, &[("checksum", &checksum), ("repository_url", from)])
        }
        ArtifactKind::Package => match source.rsplit_once('.') {
            Some((_, "deb")) => made("deb", package, version, &[("arch", arch)]),
            Some((_, "rpm")) => {
                let machine = match artifact.arch {
                    Some(Arch::Amd64) => "x86_64",
                    Some(Arch::Arm64) => "aarch64",
                    None => "noarch",
                };
                made("rpm", package, version, &[("arch", machine)])
            }
            _ => generic("generic"),
        },
        _ => generic("generic"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::sample::artifact;

    #[test]
    fn package_urls_say_kind_version_and_place() {
        let of = |kind, name: &str, version: &str, source: &str| {
            let mut artifact = artifact(kind, name, version);
            artifact.source = source.into();
            let digest = artifact.digest.to_string();
            purl(&artifact).map(|p| p.replace(&digest, "DIGEST").replace("sha256:", ""))
        };
        let image = of(ArtifactKind::Image, "registry.k8s.io/coredns/coredns:v1", "v1", "https://x/");
        assert_eq!(
            image.as_deref(),
            Some("pkg:oci/coredns@DIGEST?arch=amd64&repository_url=registry.k8s.io%2Fcoredns%2Fcoredns&tag=v1")
        );
        let chart = of(ArtifactKind::Chart, "ingress", "1.0", "https://charts.example/stable/ingress-1.0.tgz");
        assert_eq!(
            chart.as_deref(),
            Some("pkg:helm/ingress@1.0?checksum=DIGEST&repository_url=https:%2F%2Fcharts.example%2Fstable")
        );
        let deb = of(ArtifactKind::Package, "deb/conntrack", "1:1.4.7-1", "https://x/pool/c/conntrack_1.deb");
        assert_eq!(deb.as_deref(), Some("pkg:deb/conntrack@1:1.4.7-1?arch=amd64"));
        let binary = of(ArtifactKind::Binary, "kubeadm", "1", "https://x/a b");
        assert_eq!(
            binary.as_deref(),
            Some("pkg:generic/kubeadm@1?arch=amd64&checksum=DIGEST&download_url=https:%2F%2Fx%2Fa%20b")
        );
        assert_eq!(of(ArtifactKind::File, "", "1", "https://x/"), None);
    }

    #[test]
    fn the_uuid_follows_the_digest() {
        assert_eq!(uuid(&Digest::of(b"")), "e3b0c442-98fc-8c14-9afb-f4c8996fb924");
    }

    #[test]
    fn only_a_download_place_is_a_url() {
        assert!(is_url("https://a.example/b?c=d") && is_url("http://127.0.0.1:80/x"));
        for bad in ["", "a", "javascript:alert(1)", "https://", "https://a b", "file:///etc/passwd", "https://a/\u{e9}"]
        {
            assert!(!is_url(bad), "{bad}");
        }
    }
}
