//! The syntax of names, labels, taints and versions, as Kubernetes has it.

use std::net::Ipv6Addr;

/// A DNS label (RFC 1123): what a node and a cluster may be called.
pub(super) fn is_dns_label(text: &str) -> bool {
    text.len() <= 63 && is_framed(text, |b| b.is_ascii_lowercase() || b.is_ascii_digit(), |b| b == b'-')
}

/// A DNS name of labels with dots between.
pub(super) fn is_dns_name(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_dns_label)
}

/// A label's or taint's key: `name` or `prefix/name`.
pub(super) fn is_label_key(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => is_dns_name(prefix) && is_label_name(name),
        None => is_label_name(text),
    }
}

/// A label's or taint's value; it may be empty.
pub(super) fn is_label_value(text: &str) -> bool {
    text.is_empty() || is_label_name(text)
}

/// `key=value:Effect` or `key:Effect`.
pub(super) fn is_taint(text: &str) -> bool {
    let Some((what, effect)) = text.rsplit_once(':') else { return false };
    let (key, value) = what.split_once('=').unwrap_or((what, ""));
    matches!(effect, "NoSchedule" | "PreferNoSchedule" | "NoExecute") && is_label_key(key) && is_label_value(value)
}

/// A name of an environment variable.
pub(super) fn is_env_name(text: &str) -> bool {
    !text.starts_with(|c: char| c.is_ascii_digit())
        && !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// `major.minor.patch` of digits, with an optional pre-release: what upstream download paths are made of.
pub(super) fn is_release(text: &str) -> bool {
    let (numbers, pre) = text.split_once('-').unwrap_or((text, "0"));
    let plain = |p: &str| !p.is_empty() && p.len() <= 6 && p.bytes().all(|b| b.is_ascii_digit());
    numbers.split('.').count() == 3
        && numbers.split('.').all(plain)
        && !pre.is_empty()
        && pre.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.')
}

/// An `http` or `https` URL that paths are put behind; free of what would end a quoted string in a file made from it.
pub(super) fn is_base_url(text: &str) -> bool {
    let plain = text.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '"' | '\'' | '\\' | '?' | '#'));
    plain
        && (text.starts_with("https://") || text.starts_with("http://"))
        && reqwest::Url::parse(text).is_ok_and(|url| url.has_host())
}

/// A registry as image names have it: `host` or `host:port`.
pub(super) fn is_registry(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        // The colons of an IPv6 address are inside the brackets.
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let address = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let named = address.map_or_else(|| is_dns_name(host), |a| a.parse::<Ipv6Addr>().is_ok());
    named && port.is_none_or(|p| p.parse::<u16>().is_ok_and(|p| p != 0))
}

/// What may stand before a repository's name: path components as the OCI distribution specification has them, with no
/// dots or runs of separators that it would have to be asked about.
pub(super) fn is_path_prefix(text: &str) -> bool {
    text.len() <= 128 && text.split('/').all(|part| part.split(['.', '_']).all(is_dns_label))
}

/// An image tag, as the OCI distribution specification has it.
pub(super) fn is_image_tag(text: &str) -> bool {
    text.len() <= 128
        && text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

fn is_label_name(text: &str) -> bool {
    text.len() <= 63 && is_framed(text, |b| b.is_ascii_alphanumeric(), |b| matches!(b, b'-' | b'_' | b'.'))
}

// Not empty, of `outer` and `inner` bytes, with `outer` ones at both ends.
fn is_framed(text: &str, outer: impl Fn(u8) -> bool, inner: impl Fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(|b| outer(*b))
        && bytes.last().is_some_and(|b| outer(*b))
        && bytes.iter().all(|b| outer(*b) || inner(*b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_judged_as_kubernetes_does() {
        for good in ["a", "cp-1", "0a"] {
            assert!(is_dns_label(good), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a_b", "a.b", "\u{e9}"] {
            assert!(!is_dns_label(bad), "{bad}");
        }
        assert!(is_label_key("topology.kubernetes.io/zone") && !is_label_key("a/b/c") && !is_label_key("/x"));
        assert!(is_taint("dedicated=db:NoSchedule") && is_taint("a.b/c:NoExecute"));
        assert!(!is_taint("dedicated=db") && !is_taint("x:Never") && !is_taint("=v:NoSchedule"));
        assert!(is_release("2.1.4") && is_release("2.0.0-rc.1") && !is_release("v2.1.4") && !is_release("2.1"));
        assert!(is_base_url("https://m.example/a/b") && is_base_url("http://[fd00::1]:5000"));
        for bad in ["", "m.example", "ftp://m.example", "https://", "https://m\"]\nx", "https://m/?a", "https://m /"] {
            assert!(!is_base_url(bad), "{bad}");
        }
        assert!(is_registry("docker.io") && is_registry("localhost:5000") && is_registry("[fd00::1]:5000"));
        for bad in ["", "../../x", "https://docker.io", "docker.io/library", "a:0", "a:", "_default"] {
            assert!(!is_registry(bad), "{bad}");
        }
        assert!(is_image_tag("3.10.1") && !is_image_tag("a:b") && !is_image_tag(""));
    }
}
