//! Which etcd a version of Kubernetes runs with, and from which etcd the next one may be reached. Pure.

use crate::version::{KubeVersion, Release};

/// From which minor on kubeadm accepts which external etcd at the least: `MinExternalEtcdVersion` in
/// cmd/kubeadm/app/constants/constants.go of the minor's first releases, compared by `ExternalEtcdVersionCheck` in
/// cmd/kubeadm/app/preflight/checks.go. Later patches may want more.
const EXTERNAL_ETCD: [(u32, Release); 3] =
    [(20, Release::new(3, 2, 18)), (31, Release::new(3, 5, 11)), (35, Release::new(3, 5, 24))];

/// From which minor on kubeadm's static pod of etcd needs which etcd at the least, because of the flags in
/// `getEtcdCommand`, cmd/kubeadm/app/phases/etcd/local.go. 1.36 passes `--feature-gates` and
/// `--watch-progress-notify-interval` whatever the tag is, and etcd 3.5 exits on both (CHANGELOG-1.36: "etcd < 3.6.0 is no
/// longer supported"). Before 1.36 the flags depend on the tag.
const KUBEADM_ETCD: [(u32, Release); 1] = [(36, Release::new(3, 6, 0))];

fn newest_to(table: &[(u32, Release)], version: KubeVersion) -> Option<Release> {
    table.iter().rev().find(|(from, _)| *from <= version.minor).map(|(_, release)| *release)
}

/// The oldest external etcd that kubeadm of `version` accepts.
#[must_use]
pub fn external_etcd_floor(version: KubeVersion) -> Option<Release> {
    newest_to(&EXTERNAL_ETCD, version)
}

/// The oldest etcd that starts with the flags kubeadm of `version` gives it.
#[must_use]
pub fn stacked_etcd_floor(version: KubeVersion) -> Option<Release> {
    newest_to(&KUBEADM_ETCD, version)
}

/// The oldest etcd that may be replaced by `next`, as etcd's maintainers ask for it: one minor at a time, and before 3.6
/// the patch that removes members which were removed before and come back to life with 3.6
/// (<https://etcd.io/blog/2025/zombie_members_upgrade/>), before 3.7 the patch that its guide names
/// (<https://etcd.io/docs/v3.7/upgrades/upgrade_3_7/>).
#[must_use]
pub fn floor_before(next: Release) -> Option<Release> {
    match (next.major(), next.minor()) {
        (3, 6) => Some(Release::new(3, 5, 26)),
        (3, 7) => Some(Release::new(3, 6, 11)),
        (3, minor @ 1..) => Some(Release::new(3, minor - 1, 0)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v(minor: u32) -> KubeVersion {
        KubeVersion { major: 1, minor, patch: 0 }
    }

    #[test]
    fn floors_follow_the_version() {
        assert_eq!(external_etcd_floor(v(20)), Some(Release::new(3, 2, 18)));
        assert_eq!(external_etcd_floor(v(34)), Some(Release::new(3, 5, 11)));
        assert_eq!(external_etcd_floor(v(36)), Some(Release::new(3, 5, 24)));
        assert_eq!((stacked_etcd_floor(v(35)), stacked_etcd_floor(v(37))), (None, Some(Release::new(3, 6, 0))));
        for (next, floor) in [((3, 7, 1), (3, 6, 11)), ((3, 6, 0), (3, 5, 26)), ((3, 5, 9), (3, 4, 0))] {
            let release = |(a, b, c)| Release::new(a, b, c);
            assert_eq!(floor_before(release(next)), Some(release(floor)));
        }
    }

    #[test]
    fn tables_are_sorted() {
        assert!(EXTERNAL_ETCD.windows(2).all(|w| w[0].0 < w[1].0 && w[0].1 < w[1].1));
    }
}
