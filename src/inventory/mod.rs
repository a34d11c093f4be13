//! The inventory: what the user wants, read from TOML with spans, judged, and resolved per host.

mod backup;
mod charts;
mod checks;
mod diagnostic;
mod host;
mod model;
mod packages;
mod parse;
mod registry;
mod resolve;
mod sample;
mod schema;
mod structure;
mod tree;
mod trust;
mod upgrade;
mod upstream;
mod validate;

pub use backup::{Backup, UnencryptedBackup};
pub use charts::{Chart, ChartFrom, ChartSource, RawManifest, Tools};
pub use checks::CHECKS;
pub use diagnostic::{Diagnostic, Severity, render, render_for_stderr};
pub use host::*;
pub use model::*;
pub use packages::{PackageKind, PackageRepository, Packages};
pub use parse::{Loaded, expand_home, load, parse, read};
pub use registry::{Registry, RegistryMode};
pub use resolve::{ApiEndpoint, ETCD_CLIENT_DIR, EtcdAccess, Node, SshTarget};
pub use sample::SAMPLE;
pub use schema::schema;
pub(crate) use structure::nearest;
pub(crate) use trust::key_id;
pub use trust::{PublicKey, Signer, Trust, UnsignedBundle};
pub use upgrade::{Drain, Gate, GateCheck, Share, Unfinished, Upgrade};
pub use upstream::{SignatureScheme, UpstreamSigner};
