//! Rolling upgrades: what is refused, and in which order the workers go. Pure decisions, no I/O, no clock.

mod waves;

pub use waves::{Wave, Worker, waves};
