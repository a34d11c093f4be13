//! A journal for people.

use std::fmt::Write as _;

use crate::exec::{Event, Outcome, Verified};

/// The whole of a journal as text, one line an event, with the time it happened.
#[must_use]
pub fn render(journal: &Verified) -> String {
    let h = &journal.header;
    let mut out = format!(
        "{} of cluster {} by {} on {}, started {}, provision {}, operation {}\n",
        h.command, h.cluster, h.user, h.host, h.started, h.tool, h.operation
    );
    for entry in &journal.entries {
        let _ = writeln!(out, "{}  {}", entry.at, describe(&entry.event));
    }
    if journal.torn {
        out.push_str("the last line was cut off while it was written\n");
    }
    if !journal.ended {
        out.push_str("the end of the operation is not recorded\n");
    }
    let _ = writeln!(out, "{} lines, head {}", journal.entries.len() + 1, journal.head);
    out
}

fn describe(event: &Event) -> String {
    match event {
        Event::Started { steps, .. } => format!("started: {steps} steps"),
        Event::Drift(drift) => format!("drift: {drift}"),
        Event::PhaseStarted { phase, steps } => format!("phase {} started: {steps} steps", phase.as_str()),
        Event::PhaseEnded { phase, seconds } => format!("phase {} ended after {seconds:.1}s", phase.as_str()),
        Event::StepStarted { step, title, .. } => format!("{step}: {title}"),
        Event::Progress { step, done, total } => format!("{step}: {done} of {total} bytes"),
        Event::Note { step, text } => format!("{step}: {text:?}"),
        Event::Retry { step, attempt, error } => format!("{step}: attempt {attempt} after {error:?}"),
        Event::StepEnded { step, outcome, seconds, .. } => match outcome {
            Outcome::Unchanged => format!("{step}: unchanged, {seconds:.1}s"),
            Outcome::Changed => format!("{step}: changed, {seconds:.1}s"),
            Outcome::Skipped { why } => format!("{step}: skipped: {why:?}"),
            Outcome::Failed { error } => format!("{step}: failed after {seconds:.1}s: {error:?}"),
        },
        Event::Command { host, line, ended } => format!("{host}: ran {line:?}: {ended}"),
        Event::Stopping { running } => format!("asked to stop with {running} steps running"),
        Event::Ended { ok: true, seconds, .. } => format!("ended well after {seconds:.1}s"),
        Event::Ended { ok: false, error, seconds } => {
            format!("ended after {seconds:.1}s with {:?}", error.as_deref().unwrap_or("an error"))
        }
        Event::Unknown => "an event of a newer version".to_owned(),
    }
}
