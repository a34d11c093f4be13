//! What the cluster's own configuration says of images, before `kubeadm upgrade` follows it.

use serde::{Deserialize, Serialize};
use serde_yaml_ng::Value;

use crate::error::{Context as _, Error, Result};

/// The names of images that kubeadm makes up from its configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageNames {
    /// Like `registry.k8s.io`.
    pub repository: String,
    /// The tag of etcd's image; `None` leaves it as it is.
    pub etcd_tag: Option<String>,
    /// The tag of CoreDNS's image; `None` leaves it as it is.
    pub coredns_tag: Option<String>,
}

/// The ClusterConfiguration `text` of a running cluster with these images, in the API version that it has; `None` when it
/// names them already. `kubeadm upgrade` goes by the tags that are written there: without this a cluster would keep the
/// etcd and CoreDNS that it was made with for good. What is there for an image alone (`etcd.local.imageRepository`) stays.
///
/// # Errors
/// A text that is no YAML mapping.
pub fn with_image_names(text: &str, images: &ImageNames) -> Result<Option<String>> {
    let mut document: Value =
        serde_yaml_ng::from_str(text).context(|| "failed to read the cluster's ClusterConfiguration".into())?;
    let before = document.clone();
    let map = document
        .as_mapping_mut()
        .ok_or_else(|| Error::failed("the cluster's ClusterConfiguration is not a mapping"))?;
    map.insert("imageRepository".into(), images.repository.as_str().into());
    let local = map.get_mut("etcd").and_then(|etcd| etcd.get_mut("local")).and_then(Value::as_mapping_mut);
    if let (Some(local), Some(tag)) = (local, &images.etcd_tag) {
        local.insert("imageTag".into(), tag.as_str().into());
    }
    if let Some(tag) = &images.coredns_tag {
        let dns = map.entry("dns".into()).or_insert_with(|| Value::Mapping(serde_yaml_ng::Mapping::new()));
        if let Some(dns) = dns.as_mapping_mut() {
            dns.insert("imageTag".into(), tag.as_str().into());
        }
    }
    if document == before {
        return Ok(None);
    }
    serde_yaml_ng::to_string(&document).map(Some).context(|| "failed to write the ClusterConfiguration".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As kubeadm 1.22 keeps it.
    const STORED: &str = "apiVersion: kubeadm.k8s.io/v1beta3\nclusterName: lab\ndns: {}\netcd:\n  local:\n    \
                          dataDir: /var/lib/etcd\n    imageTag: 3.4.23-0\nimageRepository: registry.k8s.io\n\
                          kind: ClusterConfiguration\nkubernetesVersion: v1.22.3\nnetworking:\n  dnsDomain: cluster.local\n";

    fn images(etcd: Option<&str>, coredns: Option<&str>) -> ImageNames {
        let owned = |t: &str| t.to_owned();
        ImageNames { repository: "registry.k8s.io".into(), etcd_tag: etcd.map(owned), coredns_tag: coredns.map(owned) }
    }

    #[test]
    fn tags_are_set_and_the_rest_stays() {
        let text = with_image_names(STORED, &images(Some("3.5.16-0"), Some("v1.8.4"))).unwrap_or_default();
        let wanted = STORED.replace("3.4.23-0", "3.5.16-0").replace("dns: {}", "dns:\n  imageTag: v1.8.4");
        assert_eq!(text, Some(wanted));
        let text = with_image_names(STORED, &images(Some("3.5.16-0"), None)).unwrap_or_default();
        assert_eq!(text, Some(STORED.replace("3.4.23-0", "3.5.16-0")));
    }

    #[test]
    fn nothing_to_set_is_said() {
        assert!(matches!(with_image_names(STORED, &images(Some("3.4.23-0"), None)), Ok(None)));
        assert!(matches!(with_image_names(STORED, &images(None, None)), Ok(None)));
        let external = STORED.replace("local:", "external:");
        assert!(matches!(with_image_names(&external, &images(Some("3.5.16-0"), None)), Ok(None)));
    }

    #[test]
    fn another_registry_is_followed_but_not_for_an_image_with_its_own() {
        let own = STORED.replace("    imageTag", "    imageRepository: own.example\n    imageTag");
        let moved = ImageNames { repository: "mirror.example/k8s".into(), ..images(None, None) };
        let text = with_image_names(&own, &moved).unwrap_or_default().unwrap_or_default();
        assert_eq!(text, own.replace("imageRepository: registry.k8s.io", "imageRepository: mirror.example/k8s"));
    }

    #[test]
    fn what_is_no_configuration_is_an_error() {
        assert!(with_image_names("- a\n", &images(None, None)).is_err());
        assert!(with_image_names(": : [", &images(None, None)).is_err());
    }
}
