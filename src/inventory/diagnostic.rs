//! What is wrong with an inventory, where, and what to do about it.

use std::fmt;
use std::io::IsTerminal;
use std::ops::Range;

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, ThemeCharacters, ThemeStyles};
use serde::Serialize;

use super::validate::{is_secret_key, userinfo};

/// How bad a [`Diagnostic`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The inventory cannot be used.
    Error,
    /// The inventory works, and somebody may regret it.
    Warning,
}

/// One problem of an inventory file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The line it is on, from 1.
    pub line: usize,
    /// The column it starts at, in characters from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: String,
    /// The bytes of the text it speaks of, all on one line.
    #[serde(skip)]
    pub span: Range<usize>,
    /// Bytes of the text that hold a secret and are shown as asterisks.
    #[serde(skip)]
    pub secret: Option<Range<usize>>,
}

impl Diagnostic {
    /// A problem at `span` of `text`; the span may be any range at all and is cut down to the part of one line.
    pub fn new(
        severity: Severity,
        text: &str,
        span: Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        let start = floor(text, span.start);
        let rest = text.get(start..).unwrap_or_default();
        let line_end = start + rest.find(['\n', '\r']).unwrap_or(rest.len());
        let end = floor(text, span.end).clamp(start, line_end);
        let before = text.get(..start).unwrap_or_default();
        Self {
            severity,
            line: before.matches('\n').count() + 1,
            column: before.chars().rev().take_while(|c| *c != '\n').count() + 1,
            message: message.into(),
            help: help.into(),
            span: start..end,
            secret: None,
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Diagnostic {}

impl miette::Diagnostic for Diagnostic {
    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }
    fn help(&self) -> Option<Box<dyn fmt::Display + '_>> {
        (!self.help.is_empty()).then(|| Box::new(&self.help) as Box<dyn fmt::Display>)
    }
    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let length = self.span.len().max(1);
        Some(Box::new(std::iter::once(LabeledSpan::new(None, self.span.start, length))))
    }
}

/// All diagnostics for a terminal, in the order given, each with its lines of the file and a caret; plain ASCII apart
/// from what the file itself holds, no colours, and no secret.
#[must_use]
pub fn render(file: &str, text: &str, diagnostics: &[Diagnostic]) -> String {
    styled(file, text, diagnostics, ThemeStyles::none())
}

/// The same in colours, when stderr is a terminal that takes them and NO_COLOR is not set.
#[must_use]
pub fn render_for_stderr(file: &str, text: &str, diagnostics: &[Diagnostic]) -> String {
    let set = |name: &str| std::env::var_os(name).is_some_and(|v| !v.is_empty());
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    let colours = !set("NO_COLOR") && !dumb && std::io::stderr().is_terminal();
    styled(file, text, diagnostics, if colours { ThemeStyles::ansi() } else { ThemeStyles::none() })
}

fn styled(file: &str, text: &str, diagnostics: &[Diagnostic], styles: ThemeStyles) -> String {
    let shown = printable(text, diagnostics);
    let theme = GraphicalTheme { characters: ThemeCharacters::ascii(), styles };
    let handler = GraphicalReportHandler::new_themed(theme).with_width(110).with_links(false).with_context_lines(1);
    let mut out = String::new();
    for diagnostic in diagnostics {
        let report = miette::Report::new(diagnostic.clone()).with_source_code(NamedSource::new(file, shown.clone()));
        let level = match diagnostic.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let mut body = String::new();
        if handler.render_report(&mut body, report.as_ref()).is_err() {
            // Only a span outside the text ends here; the place in words is better than nothing.
            body = format!("  {}:{}:{}: {diagnostic}\n", file, diagnostic.line, diagnostic.column);
        }
        out.push_str(level);
        out.push_str(":\n");
        out.push_str(body.trim_end());
        out.push_str("\n\n");
    }
    out
}

// The text with secrets and control characters overwritten, byte for byte, so that spans stay true. A newline at the
// end gives a caret after the last character a place to be.
fn printable(text: &str, diagnostics: &[Diagnostic]) -> String {
    let mut secrets: Vec<Range<usize>> = diagnostics.iter().filter_map(|d| d.secret.clone()).collect();
    // The lines round a diagnostic are shown too, and a broken file has no tree to look for secrets in.
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let hidden = line.match_indices('=').map(|(at, _)| at).find(|at| ends_in_secret_key(&line[..*at]));
        secrets.extend(hidden.map(|at| start + at + 1..start + line.len()));
        start += line.len();
    }
    secrets.extend(userinfo(text));
    let mut out = String::with_capacity(text.len() + 1);
    for (at, c) in text.char_indices() {
        let hidden = c != '\n' && secrets.iter().any(|s| s.contains(&at));
        if hidden || (c.is_control() && !matches!(c, '\n' | '\t')) {
            let mark = if hidden {
                "*"
            } else if c == '\r' {
                " "
            } else {
                "?"
            };
            out.push_str(&mark.repeat(c.len_utf8()));
        } else {
            out.push(c);
        }
    }
    out.push('\n');
    out
}

// Whether the last word before a `=` is the key of a secret.
fn ends_in_secret_key(before: &str) -> bool {
    let key = before.trim_end().trim_end_matches(['"', '\'']);
    is_secret_key(key.rsplit([' ', '\t', '{', ',', '.', '"', '\'']).next().unwrap_or_default())
}

// The character boundary at or before `at`.
fn floor(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    (0..=at).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_change_nothing_but_the_colours() {
        let text = "[cluster]\nname = \"A\"\n";
        let found = [Diagnostic::new(Severity::Error, text, 17..20, "wrong", "right")];
        let (plain, coloured) = (render("x.toml", text, &found), styled("x.toml", text, &found, ThemeStyles::ansi()));
        assert!(!plain.contains('\u{1b}') && coloured.contains('\u{1b}'));
        let mut bare = String::new();
        for (index, part) in coloured.split('\u{1b}').enumerate() {
            bare.push_str(if index == 0 { part } else { part.split_once('m').map_or(part, |(_, rest)| rest) });
        }
        assert_eq!(bare, plain);
    }
}
