//! The inventory: what the user wants, read from TOML with spans, judged, and resolved per host.

mod model;
mod resolve;

pub use model::*;
pub use resolve::{ApiEndpoint, Node, SshTarget};
