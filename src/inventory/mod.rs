//! The inventory: what the user wants, read from TOML with spans, judged, and resolved per host.

mod diagnostic;
mod load;
mod model;
mod resolve;
mod sample;
mod schema;
mod tree;
mod validate;
mod validate_cluster;
mod validate_hosts;

pub use diagnostic::{Diagnostic, Severity};
pub use load::{Loaded, load, parse};
pub use model::*;
pub use resolve::{ApiEndpoint, Node, SshTarget};
pub use sample::SAMPLE;
pub use schema::json_schema;
pub use validate::Problem;
