//! The versions that go with a Kubernetes minor: `bundles/versions.toml`, embedded. Pure.

use std::sync::LazyLock;

use serde::Deserialize;

use crate::error::{Error, Result};

/// What goes with a Kubernetes minor when the inventory names no version of its own.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Versions {
    /// The first minor these go with.
    pub(super) minor: u32,
    pub(super) containerd: String,
    pub(super) runc: String,
    pub(super) cni_plugins: String,
    pub(super) crictl: String,
    pub(super) etcd: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    kubernetes: Vec<Versions>,
}

static TABLE: LazyLock<std::result::Result<Vec<Versions>, toml::de::Error>> = LazyLock::new(|| {
    toml::from_str::<Table>(include_str!("../../bundles/versions.toml")).map(|table| table.kubernetes)
});

/// The versions for this minor; those of the oldest known minor for one that is older.
pub(super) fn versions(minor: u32) -> Result<&'static Versions> {
    // The table is a constant of the program: a test reads it, so a broken one never leaves the house.
    let table = TABLE.as_ref().map_err(|e| Error::failed(format!("failed to read bundles/versions.toml: {e}")))?;
    table
        .iter()
        .find(|v| minor >= v.minor)
        .or(table.last())
        .ok_or_else(|| Error::failed("bundles/versions.toml is empty"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::{external_etcd_floor, floor_before, stacked_etcd_floor};
    use crate::version::{KubeVersion, NEWEST_MINOR, OLDEST_MINOR, Release};

    #[test]
    fn the_table_is_well_formed_and_sorted() {
        let table = TABLE.as_ref().unwrap_or_else(|e| panic!("{e}"));
        assert!(!table.is_empty());
        assert!(table.windows(2).all(|w| w[0].minor > w[1].minor), "the newest stands first, none twice");
        for v in table {
            for version in [&v.containerd, &v.runc, &v.cni_plugins, &v.crictl, &v.etcd] {
                assert!(version.parse::<KubeVersion>().is_ok() && !version.starts_with('v'), "{version}");
            }
        }
    }

    #[test]
    fn each_minor_has_its_versions() {
        let containerd = |minor| versions(minor).map(|v| v.containerd.clone()).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(containerd(99), "2.2.1");
        assert_eq!(containerd(35), "2.1.4");
        assert_eq!(containerd(34), "2.1.4");
        assert_eq!(containerd(33), "1.7.28");
        assert_eq!(containerd(1), "1.6.38");
        // kubeadm's own etcd, by minor.
        let etcd = |minor| versions(minor).map(|v| v.etcd.clone()).unwrap_or_else(|e| panic!("{e}"));
        for (minor, line) in [(21, "3.4."), (22, "3.5.26"), (33, "3.5.26"), (34, "3.6."), (35, "3.6.6"), (36, "3.6.8")]
        {
            assert!(etcd(minor).starts_with(line), "{minor}: {}", etcd(minor));
        }
        // What a minor brings may be replaced by what the next one brings, and is what its kubeadm works with.
        for minor in OLDEST_MINOR..=NEWEST_MINOR {
            let release = |minor| etcd(minor).parse::<Release>().unwrap_or_else(|e| panic!("{e}"));
            let (now, version) = (release(minor), KubeVersion { major: 1, minor, patch: 0 });
            assert!(stacked_etcd_floor(version).is_none_or(|f| now >= f), "{minor}");
            assert!(external_etcd_floor(version).is_none_or(|f| now >= f), "{minor}");
            if minor > OLDEST_MINOR {
                let before = release(minor - 1);
                let same = (before.major(), before.minor()) == (now.major(), now.minor());
                assert!(same && before <= now || floor_before(now).is_some_and(|f| before >= f), "{minor}");
            }
        }
    }
}
