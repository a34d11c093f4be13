//! What `provision init` writes.

/// A commented inventory that validates.
pub const SAMPLE: &str = include_str!("../../inventories/sample.toml");
