//! What is found on the hosts: a pure model and its read-only gathering.

mod certificates;
mod gather;
mod model;
mod preflight;

pub use certificates::gather_certificates;
pub use gather::{gather, observe};
pub use model::{CNI_CONF, CgroupVersion, Facts, HostFacts, RUNTIME_FILES};
pub use preflight::{Finding, Severity, preflight};
