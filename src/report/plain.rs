//! Lines of text, for logs and for terminals that can do no more. No colour, so there is none to turn off.

use std::io::Write;
use std::sync::{Mutex, PoisonError};

use crate::exec::{Event, Sink};

use super::lines::Lines;

/// Writes a line for every event worth one.
pub struct Plain {
    state: Mutex<(Lines, Box<dyn Write + Send>)>,
}

impl Plain {
    /// Writes to `out`; `verbose`: a line for every step.
    #[must_use]
    pub fn new(out: Box<dyn Write + Send>, verbose: bool) -> Self {
        Self { state: Mutex::new((Lines::alone(verbose), out)) }
    }
}

impl Sink for Plain {
    fn event(&self, event: &Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (lines, out) = &mut *state;
        let text = lines.take(event).join("\n");
        // A reader that went away must not stop the operation.
        if !text.is_empty() {
            let _ = writeln!(out, "{text}").and_then(|()| out.flush());
        }
    }
}
