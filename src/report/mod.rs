//! How an operation shows itself. Reports consume events and nothing else; data goes to stdout elsewhere.

mod bars;
mod journal;
mod json;
mod lines;
mod plain;
mod tee;

use std::io::stderr;
use std::sync::Arc;

use crate::exec::Sink;

pub use bars::Bars;
pub use journal::render as render_journal;
pub use json::Json;
pub use plain::Plain;
pub use tee::Tee;

/// What is written, for whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs: JSON, one event a line.
    Json,
}

/// The report that fits stderr: JSON lines, bars on a terminal, or plain lines. `verbose` shows every step, not only
/// those that change something or fail.
#[must_use]
pub fn reporter(format: Format, verbose: bool, is_terminal: bool) -> Arc<dyn Sink> {
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    match format {
        Format::Json => Arc::new(Json::new(Box::new(stderr()))),
        Format::Text
            if is_terminal
                && !dumb
                && let Some(bars) = Bars::new(verbose) =>
        {
            Arc::new(bars)
        }
        Format::Text => Arc::new(Plain::new(Box::new(stderr()), verbose)),
    }
}
