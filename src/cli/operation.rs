//! An operation on hosts that is no plan: its journal, what is shown of it, and the hands it works with.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::args::Global;
use super::survey::Hosts;
use crate::error::{Error, Result};
use crate::exec::{Context, Event, Journal, Sink, new_operation_id};
use crate::inventory::Inventory;
use crate::report::{Tee, reporter};

static NUMBER: AtomicU32 = AtomicU32::new(1);

pub(super) struct Operation {
    pub(super) context: Context,
    journal: Arc<Journal>,
    sink: Arc<dyn Sink>,
    begun: std::time::Instant,
}

impl Operation {
    pub(super) fn begin(command: &str, inv: Inventory, hosts: Hosts, global: &Global) -> Result<Self> {
        // Several may begin in the same second.
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let operation = format!("{}-{number}", new_operation_id());
        let journal = Arc::new(Journal::create(&inv.cluster.name, &operation, command)?);
        let shown = reporter(global.format, global.verbose, std::io::stderr().is_terminal());
        let sink: Arc<dyn Sink> = Arc::new(Tee(vec![shown, Arc::clone(&journal) as Arc<dyn Sink>]));
        sink.event(&Event::Started { operation, command: command.into(), steps: 0 });
        let no_blobs =
            |digest: &_| Err(Error::failed(format!("the blob {digest} is asked for, and there is no bundle")));
        let context = Context { hosts, blob: Box::new(no_blobs), inventory: Arc::new(inv), sink: Arc::clone(&sink) };
        Ok(Self { context, journal, sink, begun: std::time::Instant::now() })
    }

    /// Ends the journal with how `result` came out, and gives it back.
    pub(super) fn end<T>(self, result: Result<T>) -> Result<T> {
        self.sink.event(&Event::Ended {
            ok: result.is_ok(),
            error: result.as_ref().err().map(ToString::to_string),
            seconds: self.begun.elapsed().as_secs_f64(),
        });
        let kept = self.journal.finish();
        let done = result?;
        kept?;
        eprintln!("journal: {}", self.journal.path().display());
        Ok(done)
    }
}
