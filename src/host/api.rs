//! The seam between the program and a machine.

use async_trait::async_trait;

use super::command::{Command, Output};
use super::probe::{Answer, Probe};
use crate::bundle::{Blob, Digest};
use crate::error::Result;

/// Where a node keeps the blobs it was given, by digest.
pub const NODE_BLOB_DIR: &str = "/var/lib/provision/blobs/sha256";

/// A file to be written.
#[derive(Clone, PartialEq, Eq)]
pub struct FileSpec {
    /// Absolute path.
    pub path: String,
    /// Its content.
    pub content: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
}

/// One machine. Every verb runs as root there. Implementations: [`super::ssh::SshHost`] and [`super::FakeHost`].
///
/// Errors are of kind `Unreachable` when the connection is the cause, `Failed` else.
#[async_trait]
pub trait Host: Send + Sync {
    /// The node's name in the inventory.
    fn name(&self) -> &str;

    /// Answers all `probes`, in their order, in one round trip.
    async fn probe(&self, probes: &[Probe]) -> Result<Vec<Answer>>;

    /// Runs a command to its end. A command that ran and failed is `Ok` with its exit state.
    async fn run(&self, command: &Command) -> Result<Output>;

    /// Writes a file (root:root) by way of `<path>.provision-partial`, fsync, digest check and rename; makes missing
    /// parent directories (0755).
    async fn write_file(&self, file: &FileSpec) -> Result<()>;

    /// Puts a blob of the bundle into the node's content store ([`NODE_BLOB_DIR`]) under its digest: streamed, hashed on the
    /// node, renamed only when the digest is right. `sent` is told the number of bytes sent since it was last told.
    async fn put_blob(
        &self,
        local: &Blob,
        digest: &Digest,
        size: u64,
        sent: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<()>;

    /// The number of round trips (commands sent) so far, for the benchmark and `-v`.
    fn round_trips(&self) -> u64;
}

/// Makes hosts.
#[async_trait]
pub trait Connector: Send + Sync {
    /// Connects to the node, checks its host key and logs in.
    async fn connect(&self, node: &crate::inventory::Node) -> Result<std::sync::Arc<dyn Host>>;
}
