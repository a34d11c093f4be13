//! Names of images as Kubernetes reads them. Pure.

/// The full name that a container runtime makes of an image in a pod: with registry, with a tag or a digest.
///
/// `busybox` becomes `docker.io/library/busybox:latest`; with both a tag and a digest the digest alone counts, as in
/// containerd. `None` when it is no name of an image.
#[must_use]
pub fn full_name(image: &str) -> Option<String> {
    let (rest, digest) = match image.split_once('@') {
        Some((rest, digest)) => {
            let hex = digest.strip_prefix("sha256:")?;
            (hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))).then_some(())?;
            (rest, Some(digest))
        }
        None => (image, None),
    };
    let (registry, path) = match rest.split_once('/') {
        Some((first, path)) if first == "localhost" || first.contains(['.', ':']) => (first, path),
        _ => ("docker.io", rest),
    };
    let registry = if registry == "index.docker.io" { "docker.io" } else { registry };
    let (repository, tag) = match path.rsplit_once(':') {
        Some((repository, tag)) => (repository, Some(tag)),
        None => (path, None),
    };
    let part = |p: &str| {
        p.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && p.ends_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && p.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'))
    };
    let host = !registry.is_empty()
        && registry.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']'));
    let tagged = tag.is_none_or(|t| {
        t.len() <= 128
            && t.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            && t.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
    });
    if !(host && tagged && repository.split('/').all(part)) {
        return None;
    }
    let library = if registry == "docker.io" && !repository.contains('/') { "library/" } else { "" };
    Some(match digest {
        Some(digest) => format!("{registry}/{library}{repository}@{digest}"),
        None => format!("{registry}/{library}{repository}:{}", tag.unwrap_or("latest")),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn short_names_are_completed_as_containerd_does() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (short, full) in [
            ("busybox", "docker.io/library/busybox:latest".to_owned()),
            ("busybox:1.36", "docker.io/library/busybox:1.36".into()),
            ("index.docker.io/library/busybox:1.36", "docker.io/library/busybox:1.36".into()),
            ("grafana/grafana", "docker.io/grafana/grafana:latest".into()),
            ("quay.io/a/b_c:v1", "quay.io/a/b_c:v1".into()),
            ("localhost:5000/x", "localhost:5000/x:latest".into()),
            ("localhost/x:1", "localhost/x:1".into()),
            (&format!("busybox:1.36@{digest}"), format!("docker.io/library/busybox@{digest}")),
            (&format!("r.example:5000/a@{digest}"), format!("r.example:5000/a@{digest}")),
        ] {
            assert_eq!(full_name(short), Some(full), "{short}");
        }
        for bad in ["", "a b", "A/b", "a//b", "a:", "/a", "a@sha256:12", "http://a/b", "{{ .image }}", "a:b c", "-a"] {
            assert_eq!(full_name(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_full_name_is_full_already(text in "[a-zA-Z0-9./:@_-]{0,24}|\\PC{0,12}") {
            if let Some(full) = full_name(&text) {
                prop_assert_eq!(full_name(&full), Some(full.clone()));
            }
        }
    }
}
