//! Tells of work that is no step of a plan as if it were one.

use std::future::Future;

use crate::error::Result;
use crate::exec::{Context, Outcome, told};

/// Does `work` on `host` between the events of a step.
pub(in crate::exec) async fn step<T>(
    ctx: &Context,
    group: &str,
    host: &str,
    title: &str,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let id = format!("{group}/{host}/{title}");
    let work = async { work.await.map(|value| (value, Outcome::Changed)) };
    told(ctx.sink.as_ref(), &id, host, title.to_owned(), work).await
}
