//! The commented inventory that `provision init` writes.

/// A sample inventory that validates; the same as `inventories/sample.toml`.
pub const SAMPLE: &str = include_str!("../../inventories/sample.toml");
