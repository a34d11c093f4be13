//! How a person stops an operation.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::error::{Context as _, Result};

/// A request to stop. The first one lets running steps end and starts no more; the second ends at once.
///
/// Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Cancel {
    stop: CancellationToken,
    now: CancellationToken,
}

impl Cancel {
    /// Nothing requested yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Requests a stop, as one Ctrl-C does.
    pub fn request(&self) {
        if self.stop.is_cancelled() {
            self.now.cancel();
        }
        self.stop.cancel();
    }

    /// Whether a stop was requested.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Ends when a stop is requested.
    pub async fn requested(&self) {
        self.stop.cancelled().await;
    }

    /// Ends when a stop is requested for the second time.
    pub async fn at_once(&self) {
        self.now.cancelled().await;
    }

    /// Requests a stop at every SIGINT and SIGTERM of this process from now on.
    pub fn on_signals(&self) -> Result<()> {
        let attempted = || "failed to listen for signals".to_owned();
        let mut interrupt = signal(SignalKind::interrupt()).context(attempted)?;
        let mut terminate = signal(SignalKind::terminate()).context(attempted)?;
        let cancel = self.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => cancel.request(),
                    _ = terminate.recv() => cancel.request(),
                }
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_second_request_is_at_once() {
        let cancel = Cancel::new();
        let clone = cancel.clone();
        assert!(!cancel.is_requested());
        clone.request();
        cancel.requested().await;
        assert!(!cancel.now.is_cancelled());
        clone.request();
        cancel.at_once().await;
    }
}
