//! kubeadm: its configuration by API version, and the parsing of what it, etcdctl and kubectl print.

mod authority;
mod certificates;
mod cluster_status;
mod config;
mod discovery;
mod foundation;
mod image_names;
mod members;
mod parse;
mod pki;
mod requests;
mod settings;
mod signed;
mod wire;

pub(crate) use authority::authority;
pub use authority::{Stranger, strangers};
pub use certificates::{Certificate, Standing, certificates, days_left, standing};
pub(crate) use certificates::{blocks as pem_blocks, unreadable};
pub use cluster_status::{names_endpoint, without_endpoint};
pub(crate) use config::{API_PORT, merge};
pub use config::{ClusterImages, init_documents, join_document, settings_documents, upload_certs_document};
pub use discovery::{Discovery, with_discovery};
pub use foundation::Foundation;
pub use image_names::{ImageNames, with_image_names};
pub use members::{Left, Member, Members};
pub use parse::{
    CORDONED_BY, EtcdHealth, EtcdMember, EtcdStatus, LEAVING, MARK_PREFIX, NodeObject, UPGRADING_TO, certificate_key,
    etcd_health, etcd_members, etcd_status, images_list, nodes, token,
};
pub use pki::{ApiServer, admin_kubeconfig, ca_hash};
pub(crate) use requests::CLUSTER_ADMINS_SINCE;
pub use requests::{Authority, KubeConfig, Placed, Request, Usage, placed, requests};
pub use settings::{ClusterSettings, ControlPlaneSettings, KubeletSettings, StaticPods, has_all};
pub use signed::{Signed, signed};
