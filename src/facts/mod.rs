//! What is found on the hosts: a pure model and its read-only gathering.

mod certificates;
mod gather;
mod kubeadm_checks;
mod kubeconfig;
mod members;
mod model;
mod preflight;
mod standing;

pub use certificates::gather_certificates;
pub use gather::{gather, observe};
pub use kubeconfig::kubeconfig;
pub use model::{
    CNI_CONF, CgroupVersion, Facts, HostCertificates, HostFacts, INOTIFY, RUNTIME_FILES, SNAPSHOT_TIMER_FILE,
};
pub use preflight::{Finding, Severity, preflight};
pub use standing::{Standing, standing};
