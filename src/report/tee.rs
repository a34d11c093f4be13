//! One stream of events for many.

use std::sync::Arc;

use crate::exec::{Event, Sink};

/// Passes every event to all of its sinks, in their order.
pub struct Tee(pub Vec<Arc<dyn Sink>>);

impl Sink for Tee {
    fn event(&self, event: &Event) {
        for sink in &self.0 {
            sink.event(event);
        }
    }
}
