#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::os::unix::fs::PermissionsExt as _;

use proptest::prelude::*;

use super::*;
use crate::exec::Outcome;
use crate::plan::PhaseId;

fn events() -> Vec<Event> {
    let step = || "prepare/a/swap".to_owned();
    vec![
        Event::Started { operation: "op".into(), command: "apply".into(), steps: 1 },
        Event::PhaseStarted { phase: PhaseId::Prepare, steps: 1 },
        Event::StepStarted { step: step(), host: "a".into(), title: "turn swap off".into() },
        Event::Progress { step: step(), done: 1, total: 2 },
        Event::Command { host: "a".into(), line: "swapoff -a".into(), ended: "exit 0".into() },
        Event::StepEnded { step: step(), host: "a".into(), outcome: Outcome::Changed, seconds: 0.5 },
        Event::PhaseEnded { phase: PhaseId::Prepare, seconds: 0.5 },
        Event::Ended { ok: true, error: None, seconds: 0.6 },
    ]
}

fn written() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::create_in(dir.path(), "prod", "op", "apply").unwrap();
    for event in events() {
        journal.event(&event);
    }
    journal.finish().unwrap();
    let path = journal.path().to_owned();
    (dir, path)
}

#[test]
fn what_is_written_is_read_and_holds() {
    let (_dir, path) = written();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(path.ends_with("journal/prod/op.jsonl"));
    let read = verify(&path).unwrap();
    assert_eq!((read.header.command.as_str(), read.ended, read.torn), ("apply", true, false));
    let kept: Vec<Event> = events().into_iter().filter(|e| !matches!(e, Event::Progress { .. })).collect();
    assert_eq!(read.entries.into_iter().map(|e| e.event).collect::<Vec<_>>(), kept);
}

#[test]
fn one_operation_one_journal() {
    let (dir, _) = written();
    assert!(Journal::create_in(dir.path(), "prod", "op", "apply").is_err());
    assert!(Journal::create_in(dir.path(), "../prod", "op", "apply").is_err());
}

#[test]
fn journals_are_listed_by_age() {
    let (dir, first) = written();
    assert!(list_in(dir.path(), "other").unwrap().is_empty());
    let second = Journal::create_in(dir.path(), "prod", "oq", "apply").unwrap();
    assert_eq!(list_in(dir.path(), "prod").unwrap(), [first.as_path(), second.path()]);
}

#[test]
fn a_crash_is_told_from_tampering() {
    let (_dir, path) = written();
    let bytes = std::fs::read(&path).unwrap();
    let cut = check(&bytes[..bytes.len() - 5]).unwrap();
    assert_eq!((cut.ended, cut.torn), (false, true));
    assert!(check(b"").is_err());
    assert!(check(b"{}\n").is_err());
}

#[test]
fn an_event_of_a_newer_version_is_no_error() {
    let (_dir, path) = written();
    let mut bytes = std::fs::read(&path).unwrap();
    let head = check(&bytes).unwrap().head;
    let line =
        format!("{{\"at\":\"2026-01-01T00:00:00Z\",\"prev\":\"{head}\",\"event\":\"rebooted\",\"host\":\"a\"}}\n");
    bytes.extend_from_slice(line.as_bytes());
    assert_eq!(check(&bytes).unwrap().entries.last().map(|e| &e.event), Some(&Event::Unknown));
}

#[test]
fn lines_taken_away_moved_or_added_are_noticed() {
    let (_dir, path) = written();
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let join = |lines: &[&str]| lines.iter().map(|l| format!("{l}\n")).collect::<String>();
    for n in 0..lines.len() - 1 {
        let mut without = lines.clone();
        without.remove(n);
        assert!(check(join(&without).as_bytes()).is_err(), "line {n} taken away");
        let mut moved = lines.clone();
        moved.swap(n, n + 1);
        assert!(check(join(&moved).as_bytes()).is_err(), "line {n} moved");
        let mut twice = lines.clone();
        twice.insert(n, lines[n]);
        assert!(check(join(&twice).as_bytes()).is_err(), "line {n} twice");
    }
}

proptest! {
    /// Any changed byte but in the last line breaks the chain; in the last line it changes the head.
    #[test]
    fn a_changed_byte_is_noticed(at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let (_dir, path) = written();
        let good = std::fs::read(&path).unwrap();
        let mut bad = good.clone();
        let at = at.index(bad.len());
        prop_assume!(bad[at] != to);
        bad[at] = to;
        let head = check(&good).unwrap().head;
        prop_assert!(check(&bad).map_or(true, |v| v.head != head));
    }
}
