//! What the lab makes, reported while it is made.

use std::collections::VecDeque;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};
use tokio::process::Command;

use crate::error::{Context as _, Error, FailedCommand, Result, STDERR_TAIL_LINES};
use crate::exec::{Event, Outcome, Sink, told};

/// How often a program that runs on is reported, with its last line.
const PAUSE: Duration = Duration::from_secs(15);
/// The longest line of a program that is shown.
const LINE: usize = 160;

/// Does `work` on `host` (`-`: this machine) between the events of a step of this title.
pub(super) async fn part<T>(
    sink: &dyn Sink,
    host: &str,
    title: &str,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let step = format!("lab/{host}/{title}");
    told(sink, &step, host, title.to_owned(), async { work.await.map(|value| (value, Outcome::Changed)) }).await
}

/// Runs a program that takes long to its end and returns its standard output; `attempted` completes "failed to", `shown` names
/// the program in an error. A line `lab: TITLE` of its standard error ends the step before and begins one of that title; any
/// other is what a step of it does now, which is reported every 15 s.
pub(super) async fn reported(sink: &dyn Sink, argv: &[&str], shown: &str, attempted: &str) -> Result<String> {
    let (program, args) = argv.split_first().ok_or_else(|| Error::failed("an empty command"))?;
    let starting = || format!("failed to {attempted}: failed to run {program}");
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context(starting)?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let mut steps = Steps::new(sink);
    let mut printed = Vec::new();
    let reading = async {
        match stdout {
            Some(mut stdout) => stdout.read_to_end(&mut printed).await.map(drop),
            None => Ok(()),
        }
    };
    let following = async {
        match stderr {
            Some(stderr) => steps.follow(stderr, PAUSE).await,
            None => Ok(()),
        }
    };
    let (read, followed) = tokio::join!(reading, following);
    let status = child.wait().await.context(starting)?;
    read.and(followed).context(starting)?;
    if status.success() {
        steps.end(Outcome::Changed);
        return Ok(String::from_utf8_lossy(&printed).into_owned());
    }
    steps.end(Outcome::Failed { error: format!("{shown}: {status}") });
    let tail = Vec::from(steps.last).join("\n");
    Err(Error::failed(format!("failed to {attempted}")).command(FailedCommand::new(shown, status.to_string(), &tail)))
}

/// The steps that a program's standard error names.
struct Steps<'a> {
    sink: &'a dyn Sink,
    running: Option<(String, Instant)>,
    last: VecDeque<String>,
}

impl<'a> Steps<'a> {
    fn new(sink: &'a dyn Sink) -> Self {
        Self { sink, running: None, last: VecDeque::new() }
    }

    async fn follow(&mut self, stderr: impl AsyncRead + Unpin, pause: Duration) -> std::io::Result<()> {
        let mut lines = BufReader::new(stderr);
        let mut line = Vec::new();
        let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + pause, pause);
        loop {
            tokio::select! {
                // What was read of a line stays in `line` when the tick comes first.
                read = lines.read_until(b'\n', &mut line) => {
                    if read? == 0 && line.is_empty() {
                        return Ok(());
                    }
                    self.take(&String::from_utf8_lossy(&line));
                    line.clear();
                }
                _ = ticks.tick() => self.still(),
            }
        }
    }

    fn take(&mut self, line: &str) {
        let line = line.trim_end();
        if let Some(title) = line.strip_prefix("lab: ") {
            self.end(Outcome::Changed);
            let step = format!("lab/-/{title}");
            self.sink.event(&Event::StepStarted { step: step.clone(), host: "-".into(), title: title.into() });
            self.running = Some((step, Instant::now()));
        }
        if !line.is_empty() {
            self.last.push_back(line.to_owned());
        }
        if self.last.len() > STDERR_TAIL_LINES {
            self.last.pop_front();
        }
    }

    fn still(&self) {
        if let Some((step, begun)) = &self.running {
            let line: String = self.last.back().map_or("", String::as_str).chars().take(LINE).collect();
            let line = if line.starts_with("lab: ") { String::new() } else { format!(": {line}") };
            let text = format!("{} s{line}", begun.elapsed().as_secs());
            self.sink.event(&Event::Note { step: step.clone(), text });
        }
    }

    fn end(&mut self, outcome: Outcome) {
        if let Some((step, begun)) = self.running.take() {
            let seconds = begun.elapsed().as_secs_f64();
            self.sink.event(&Event::StepEnded { step, host: "-".into(), outcome, seconds });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Kept(Mutex<Vec<String>>);
    impl Sink for Kept {
        fn event(&self, event: &Event) {
            let text = match event {
                Event::StepStarted { title, .. } => format!("+{title}"),
                Event::StepEnded { outcome: Outcome::Failed { .. }, step, .. } => format!("!{step}"),
                Event::StepEnded { step, .. } => format!("-{step}"),
                Event::Note { text, .. } => format!("={text}"),
                _ => return,
            };
            self.0.lock().unwrap_or_else(|e| panic!("{e}")).push(text);
        }
    }
    impl Kept {
        fn all(self) -> Vec<String> {
            self.0.into_inner().unwrap_or_else(|e| panic!("{e}"))
        }
    }

    #[tokio::test]
    async fn each_title_is_a_step_and_the_output_is_returned() {
        let kept = Kept::default();
        let script = "echo before >&2; echo 'lab: one' >&2; echo noise >&2; echo 'lab: two' >&2; echo a=b";
        let text = reported(&kept, &["sh", "-c", script], "script", "make parts").await;
        assert_eq!(text.unwrap_or_default(), "a=b\n");
        assert_eq!(kept.all(), ["+one", "-lab/-/one", "+two", "-lab/-/two"]);
    }

    #[tokio::test]
    async fn a_failure_ends_the_step_and_shows_the_last_lines_alone() {
        let kept = Kept::default();
        let script = "echo 'lab: one' >&2; seq 50 >&2; printf 'no room' >&2; exit 3";
        let error = reported(&kept, &["sh", "-c", script], "script", "make parts").await.err();
        let said = error.map(|e| e.report()).unwrap_or_default();
        assert!(
            said.contains("failed to make parts") && said.contains("    32\n") && said.contains("no room"),
            "{said}"
        );
        assert!(!said.contains("    31\n") && !said.contains("lab: one"), "{said}");
        assert_eq!(kept.all(), ["+one", "!lab/-/one"]);
    }

    #[tokio::test]
    async fn what_runs_on_is_reported_with_its_last_line() {
        let kept = Kept::default();
        let mut steps = Steps::new(&kept);
        let (mut write, read) = tokio::io::duplex(64);
        let writing = async {
            use tokio::io::AsyncWriteExt as _;
            write.write_all(b"lab: one\nfetching\nhalf a l").await.unwrap_or_else(|e| panic!("{e}"));
            tokio::time::sleep(Duration::from_millis(250)).await;
            write.write_all(b"ine\n").await.unwrap_or_else(|e| panic!("{e}"));
            drop(write);
        };
        let (followed, ()) = tokio::join!(steps.follow(read, Duration::from_millis(100)), writing);
        assert!(followed.is_ok());
        assert_eq!(Vec::from(steps.last.clone()), ["lab: one", "fetching", "half a line"]);
        assert_eq!(kept.all(), ["+one", "=0 s: fetching", "=0 s: fetching"]);
    }
}
