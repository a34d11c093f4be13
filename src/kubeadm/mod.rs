//! kubeadm: its configuration by API version, and the parsing of what it, etcdctl and kubectl print.

mod certificates;
mod config;
mod discovery;
mod image_names;
mod parse;
mod pki;
mod wire;

pub use certificates::{Certificate, Standing, certificates, days_left, standing};
pub(crate) use config::{API_PORT, merge};
pub use config::{ClusterImages, init_documents, join_document, upload_certs_document};
pub use discovery::{Discovery, with_discovery};
pub use image_names::{ImageNames, with_image_names};
pub use parse::{
    CORDONED_BY, EtcdHealth, EtcdMember, MARK_PREFIX, NodeObject, UPGRADING_TO, certificate_key, etcd_health,
    etcd_members, images_list, nodes, token,
};
pub use pki::{ca_hash, kubeconfig_with_server};
