//! Work that is no step of a plan, told of as if it were one.

use std::future::Future;
use std::time::Instant;

use super::event::{Event, Outcome, Sink};
use crate::error::Result;

/// Does `work` between the events of a step on `host`.
pub(crate) async fn told<T>(
    sink: &dyn Sink,
    step: &str,
    host: &str,
    title: String,
    work: impl Future<Output = Result<(T, Outcome)>>,
) -> Result<T> {
    let begun = Instant::now();
    sink.event(&Event::StepStarted { step: step.into(), host: host.into(), title });
    let result = work.await;
    let outcome = match &result {
        Ok((_, outcome)) => outcome.clone(),
        Err(error) => Outcome::Failed { error: error.to_string() },
    };
    let seconds = begun.elapsed().as_secs_f64();
    sink.event(&Event::StepEnded { step: step.into(), host: host.into(), outcome, seconds });
    result.map(|(value, _)| value)
}
