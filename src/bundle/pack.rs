//! From one form of a bundle to another.

use std::path::Path;
use std::sync::Arc;

use super::form::{Hashing, Output, Written, write};
use super::store::Bundle;
use crate::error::Result;
use crate::exec::Sink;

/// Writes the bundle (or delta) at `from`, in whatever form it is, to `out`. The same files give the same bytes; every
/// blob is hashed on the way.
pub async fn pack(from: &Path, out: &Output, sink: Arc<dyn Sink>) -> Result<Written> {
    write(Bundle::open_any(from)?.contents, out, Hashing::All, sink).await
}
