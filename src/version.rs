//! Kubernetes versions and skew rules, and releases of other programs. Pure.
//!
//! Source of the rules: the version skew policy of the Kubernetes documentation,
//! <https://kubernetes.io/releases/version-skew-policy/>.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;

/// A Kubernetes version, `major.minor.patch`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KubeVersion {
    /// Always 1 so far.
    pub major: u32,
    /// The minor release.
    pub minor: u32,
    /// The patch release.
    pub patch: u32,
}

/// The oldest minor that is planned for.
pub const OLDEST_MINOR: u32 = 20;
/// The newest minor that is planned for.
pub const NEWEST_MINOR: u32 = 37;

/// A version of kubeadm's configuration API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KubeadmApi {
    /// To 1.21.
    V1Beta2,
    /// 1.22 to 1.30.
    V1Beta3,
    /// From 1.31.
    V1Beta4,
}

impl KubeadmApi {
    /// `kubeadm.k8s.io/v1beta4`
    #[must_use]
    pub fn group_version(self) -> String {
        let version = match self {
            Self::V1Beta2 => "v1beta2",
            Self::V1Beta3 => "v1beta3",
            Self::V1Beta4 => "v1beta4",
        };
        format!("kubeadm.k8s.io/{version}")
    }
}

impl KubeVersion {
    /// The configuration API of this version's kubeadm.
    #[must_use]
    pub fn kubeadm_api(self) -> KubeadmApi {
        match self.minor {
            ..=21 => KubeadmApi::V1Beta2,
            22..=30 => KubeadmApi::V1Beta3,
            31.. => KubeadmApi::V1Beta4,
        }
    }

    /// Whether a kubelet of this version may talk to an API server of `server`: never newer, and at most three minors
    /// older (two before API server 1.28).
    #[must_use]
    pub fn kubelet_may_join(self, server: Self) -> bool {
        let most = if server.minor >= 28 { 3 } else { 2 };
        self.major == server.major && self <= server.max_patch() && server.minor - self.minor.min(server.minor) <= most
    }

    /// Whether a kubectl of this version may speak to an API server of `server`: at most one minor apart.
    #[must_use]
    pub fn kubectl_may_speak_to(self, server: Self) -> bool {
        self.major == server.major && self.minor.abs_diff(server.minor) <= 1
    }

    /// Whether a control plane may go from this version to `next`: no downgrade, no minor skipped.
    #[must_use]
    pub fn may_upgrade_to(self, next: Self) -> bool {
        self.major == next.major && next >= self && next.minor - self.minor <= 1
    }

    // Patches of a minor are compatible with one another.
    fn max_patch(self) -> Self {
        Self { patch: u32::MAX, ..self }
    }
}

impl fmt::Display for KubeVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl FromStr for KubeVersion {
    type Err = Error;

    /// Reads `1.36.2` or `v1.36.2`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = || {
            Error::invalid(format!("`{text}` is not a Kubernetes version"))
                .hint("write it as major.minor.patch, like 1.36.2")
        };
        let mut parts = text.strip_prefix('v').unwrap_or(text).split('.').map(|p| {
            let plain = !p.is_empty() && p.len() <= 6 && p.bytes().all(|b| b.is_ascii_digit());
            plain.then(|| p.parse::<u32>().ok()).flatten()
        });
        let mut next = || parts.next().flatten().ok_or_else(bad);
        let version = Self { major: next()?, minor: next()?, patch: next()? };
        if parts.next().is_some() {
            return Err(bad());
        }
        Ok(version)
    }
}

/// The release of a program other than Kubernetes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release {
    major: u32,
    minor: u32,
    patch: u32,
}

impl Release {
    /// `major.minor.patch`
    #[must_use]
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self { major, minor, patch }
    }

    /// The major release.
    #[must_use]
    pub const fn major(self) -> u32 {
        self.major
    }

    /// The minor release.
    #[must_use]
    pub const fn minor(self) -> u32 {
        self.minor
    }
}

impl std::fmt::Display for Release {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl std::str::FromStr for Release {
    type Err = Error;

    /// Reads `2.1.4`, `v3.5.16-0`, `1.6.20~ds1` and, as node objects have it, `containerd://2.1.4`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let version = text.rsplit("//").next().unwrap_or(text);
        let version = version.strip_prefix('v').unwrap_or(version);
        let end = version.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(version.len());
        let mut parts = version.get(..end).unwrap_or_default().split('.').map(str::parse::<u32>);
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(Ok(major)), Some(Ok(minor)), Some(Ok(patch)), None) => Ok(Self { major, minor, patch }),
            _ => Err(Error::failed(format!("`{text}` is not a release of the form major.minor.patch"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn version(minor: u32, patch: u32) -> KubeVersion {
        KubeVersion { major: 1, minor, patch }
    }

    proptest! {
        #[test]
        fn a_version_reads_back(major in 0u32..3, minor in 0u32..99, patch in 0u32..99) {
            let v = KubeVersion { major, minor, patch };
            prop_assert_eq!(v.to_string().parse::<KubeVersion>().ok(), Some(v));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,30}") {
            let _ = text.parse::<KubeVersion>().is_ok();
        }

        #[test]
        fn no_text_makes_a_release_panic(text in ".{0,20}") {
            let _ = text.parse::<Release>().is_ok();
        }

        #[test]
        fn a_kubelet_is_never_newer(a in 20u32..38, b in 20u32..38, p in 0u32..20) {
            let (kubelet, server) = (version(a, p), version(b, 0));
            if kubelet.kubelet_may_join(server) {
                prop_assert!(a <= b && b - a <= 3);
            }
            prop_assert!(!version(b + 1, 0).kubelet_may_join(server));
        }

        #[test]
        fn kubectl_is_one_minor_apart_at_most(a in 20u32..38, b in 20u32..38, p in 0u32..20) {
            let (kubectl, server) = (version(a, p), version(b, 0));
            prop_assert_eq!(kubectl.kubectl_may_speak_to(server), a == b || a + 1 == b || b + 1 == a);
            prop_assert_eq!(kubectl.kubectl_may_speak_to(server), server.kubectl_may_speak_to(kubectl));
        }

        #[test]
        fn an_upgrade_never_skips_or_goes_back(a in 20u32..38, b in 20u32..38, p in 0u32..9, q in 0u32..9) {
            let (from, to) = (version(a, p), version(b, q));
            prop_assert_eq!(from.may_upgrade_to(to), (a == b && q >= p) || b == a + 1);
        }
    }

    #[test]
    fn the_api_version_follows_the_minor() {
        assert_eq!(version(20, 2).kubeadm_api(), KubeadmApi::V1Beta2);
        assert_eq!(version(22, 0).kubeadm_api(), KubeadmApi::V1Beta3);
        assert_eq!(version(36, 2).kubeadm_api(), KubeadmApi::V1Beta4);
    }

    #[test]
    fn releases_are_read_as_programs_print_them() {
        for (text, release) in
            [("v3.5.16-0", (3, 5, 16)), ("containerd://2.1.4", (2, 1, 4)), ("1.6.20~ds1", (1, 6, 20))]
        {
            assert_eq!(text.parse::<Release>().ok(), Some(Release::new(release.0, release.1, release.2)), "{text}");
        }
        for bad in ["", "1.2", "x", "1.2.3.4", "//", "99999999999.0.0"] {
            assert!(bad.parse::<Release>().is_err(), "{bad}");
        }
    }
}
