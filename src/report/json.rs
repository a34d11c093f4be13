//! Events as JSON lines.

use std::io::Write;
use std::sync::{Mutex, PoisonError};

use crate::exec::{Event, Sink};

/// Writes every event as one line of JSON, but for commands, which only the journal keeps.
pub struct Json {
    out: Mutex<Box<dyn Write + Send>>,
}

impl Json {
    /// Writes to `out`.
    #[must_use]
    pub fn new(out: Box<dyn Write + Send>) -> Self {
        Self { out: Mutex::new(out) }
    }
}

impl Sink for Json {
    fn event(&self, event: &Event) {
        if matches!(event, Event::Command { .. }) {
            return;
        }
        // A reader that went away must not stop the operation.
        if let Ok(mut line) = serde_json::to_vec(event) {
            line.push(b'\n');
            let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = out.write_all(&line).and_then(|()| out.flush());
        }
    }
}
