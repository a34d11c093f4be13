//! Machines: the [`Host`] seam, its SSH implementation and the fake.

mod api;
mod command;
mod fake;
mod local;
mod probe;
pub mod script;
pub mod ssh;

pub use api::{Connector, FileSpec, Host, NODE_BLOB_DIR};
pub(crate) use command::shell_line;
pub use command::{Command, DEFAULT_TIMEOUT, ExitState, Output, shell_quote};
pub use fake::{
    Cause, Dns, FakeCluster, FakeConnector, FakeFile, FakeHost, FakeUnit, Fault, Machine, NodeRecord, Watch, World,
};
pub use local::LocalHost;
pub use probe::{Answer, FileKind, FileState, Probe, UnitState};
