//! Tells of work that is no step of a plan as if it were one.

use std::future::Future;
use std::time::Instant;

use crate::error::Result;
use crate::exec::{Context, Event, Outcome};

/// Does `work` on `host` between the events of a step.
pub(super) async fn step<T>(
    ctx: &Context,
    group: &str,
    host: &str,
    title: &str,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let (step, host) = (format!("{group}/{host}/{title}"), host.to_owned());
    ctx.sink.event(&Event::StepStarted { step: step.clone(), host: host.clone(), title: title.to_owned() });
    let begun = Instant::now();
    let result = work.await;
    let outcome = match &result {
        Ok(_) => Outcome::Changed,
        Err(error) => Outcome::Failed { error: error.to_string() },
    };
    ctx.sink.event(&Event::StepEnded { step, host, outcome, seconds: begun.elapsed().as_secs_f64() });
    result
}
