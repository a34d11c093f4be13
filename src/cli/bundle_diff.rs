//! `provision bundle diff`

use std::path::Path;
use std::process::ExitCode;

use super::args::Global;
use crate::bundle::{self, Change, Diff, DiffEntry, Known};
use crate::error::{Context as _, Result};
use crate::report::Format;

pub(super) fn diff(old: &Path, new: &Path, detailed_exitcode: bool, global: &Global) -> Result<ExitCode> {
    let diff = bundle::diff(&Known::load(old)?, &Known::load(new)?);
    if global.format == Format::Json {
        println!("{}", serde_json::to_string_pretty(&diff).context(|| "failed to write the difference".into())?);
    } else {
        print!("{}", text(&diff));
    }
    Ok(if detailed_exitcode && !diff.is_empty() { ExitCode::from(2) } else { ExitCode::SUCCESS })
}

pub(super) fn text(diff: &Diff) -> String {
    if diff.is_empty() {
        return "no difference\n".into();
    }
    let [old, new] = &diff.kubernetes;
    let mut out = if old == new { format!("Kubernetes {old}\n") } else { format!("Kubernetes {old} -> {new}\n") };
    for (mark, changes) in [('+', &diff.added), ('-', &diff.removed), ('~', &diff.changed)] {
        for change in changes {
            out.push_str(&line(mark, change));
        }
    }
    let (added, removed, changed) = (diff.added.len(), diff.removed.len(), diff.changed.len());
    out + &format!("{added} added, {removed} removed, {changed} changed\n")
}

fn line(mark: char, change: &Change) -> String {
    let kind = format!("{:?}", change.kind).to_lowercase();
    let both = |value: &dyn Fn(&DiffEntry) -> String| {
        let sides: Vec<String> = [&change.old, &change.new].into_iter().flatten().map(value).collect();
        match sides.as_slice() {
            [old, new] if old == new => old.clone(),
            _ => sides.join(" -> "),
        }
    };
    let size = both(&|e| e.size.map_or("?".into(), |s| s.to_string()));
    let size = if size == "?" || size == "? -> ?" { String::new() } else { format!("  {size} bytes") };
    let (version, digest) = (both(&|e| e.version.clone()), both(&|e| e.digest.short().to_owned()));
    format!("{mark} {kind:<8} {:<6} {} {version}  {digest}{size}\n", change.arch, change.name)
}
