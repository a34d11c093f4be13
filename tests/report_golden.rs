//! A recorded stream of events, as every report shows it.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use provision::exec::{Event, Outcome, Sink};
use provision::plan::PhaseId;
use provision::report::{Json, Plain, Tee};

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);
impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
impl Buffer {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

fn started(step: &str, host: &str, title: &str) -> Event {
    Event::StepStarted { step: step.into(), host: host.into(), title: title.into() }
}
fn ended(step: &str, host: &str, outcome: Outcome, seconds: f64) -> Event {
    Event::StepEnded { step: step.into(), host: host.into(), outcome, seconds }
}

/// Two hosts; one image fails on the second.
fn recorded() -> Vec<Event> {
    let blob = "distribute/worker-1/pause";
    vec![
        Event::Started { operation: "20260102T030405Z-1".into(), command: "apply".into(), steps: 10 },
        Event::PhaseStarted { phase: PhaseId::Prepare, steps: 2 },
        started("prepare/cp1/swap", "cp1", "turn swap off"),
        started("prepare/worker-1/swap", "worker-1", "turn swap off"),
        Event::Command { host: "cp1".into(), line: "swapoff -a".into(), ended: "exit 0".into() },
        ended("prepare/cp1/swap", "cp1", Outcome::Unchanged, 0.1),
        ended("prepare/worker-1/swap", "worker-1", Outcome::Changed, 0.25),
        Event::PhaseEnded { phase: PhaseId::Prepare, seconds: 0.3 },
        Event::PhaseStarted { phase: PhaseId::Distribute, steps: 1 },
        started(blob, "worker-1", "send registry.k8s.io/pause:3.10 (0123456789ab)"),
        Event::Progress { step: blob.into(), done: 1 << 20, total: 1 << 21 },
        Event::Retry { step: blob.into(), attempt: 2, error: "worker-1: connection\nlost".into() },
        Event::Note { step: blob.into(), text: "goes on at byte 1048576".into() },
        ended(blob, "worker-1", Outcome::Changed, 12.0),
        Event::PhaseEnded { phase: PhaseId::Distribute, seconds: 12.0 },
        Event::PhaseStarted { phase: PhaseId::Images, steps: 2 },
        started("images/cp1/pause", "cp1", "import registry.k8s.io/pause:3.10"),
        started("images/worker-1/pause", "worker-1", "import registry.k8s.io/pause:3.10"),
        ended("images/cp1/pause", "cp1", Outcome::Changed, 0.4),
        ended("images/worker-1/pause", "worker-1", Outcome::Failed { error: "worker-1: disk full".into() }, 0.5),
        ended(
            "init/cp1/kubeadm",
            "cp1",
            Outcome::Skipped { why: "it comes after images/worker-1/pause, which failed".into() },
            0.0,
        ),
        Event::PhaseEnded { phase: PhaseId::Images, seconds: 0.5 },
        Event::Stopping { running: 1 },
        Event::Ended { ok: false, error: Some("worker-1: failed to import".into()), seconds: 13.0 },
        Event::Unknown,
    ]
}

fn plain(verbose: bool) -> String {
    let buffer = Buffer::default();
    let sink = Plain::new(Box::new(buffer.clone()), verbose);
    recorded().iter().for_each(|event| sink.event(event));
    buffer.text()
}

#[test]
fn plain_shows_what_is_notable() {
    insta::assert_snapshot!(plain(false));
}

#[test]
fn plain_verbose_shows_every_step() {
    insta::assert_snapshot!(plain(true));
}

#[test]
fn json_is_one_event_a_line_and_reads_back() -> Result<(), serde_json::Error> {
    let (one, two) = (Buffer::default(), Buffer::default());
    let tee = Tee(vec![Arc::new(Json::new(Box::new(one.clone()))), Arc::new(Json::new(Box::new(two.clone())))]);
    recorded().iter().for_each(|event| tee.event(event));
    let read: Vec<Event> = one.text().lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let shown: Vec<Event> = recorded().into_iter().filter(|e| !matches!(e, Event::Command { .. })).collect();
    assert_eq!(read, shown);
    assert_eq!(one.text(), two.text());
    insta::assert_snapshot!(one.text());
    Ok(())
}
