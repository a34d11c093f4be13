//! Diagnostics that point into the inventory's text.

use std::fmt;
use std::ops::Range;

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource};
use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing is done while it stands.
    Error,
    /// Worth knowing.
    Warning,
}

/// One finding, with its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: String,
    /// The bytes it points at.
    #[serde(skip)]
    pub span: Range<usize>,
}

impl Diagnostic {
    /// A finding at `span` of `text`; a span beyond the text is pulled back into it.
    pub(super) fn new(severity: Severity, text: &str, span: Range<usize>, message: String, help: String) -> Self {
        let floor = |mut at: usize| {
            at = at.min(text.len());
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let (start, end) = (floor(span.start), floor(span.end.max(span.start)));
        // A whole table is no place to put a caret: its first line is.
        let end = text[start..end].find('\n').map_or(end, |at| start + at);
        let before = &text[..start];
        Self {
            severity,
            line: before.matches('\n').count() + 1,
            column: before.rsplit('\n').next().unwrap_or_default().chars().count() + 1,
            message,
            help,
            span: start..end,
        }
    }
}

/// All findings for a terminal, with the lines they point at.
pub(super) fn render(name: &str, text: &str, all: &[Diagnostic]) -> String {
    let handler =
        GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor()).with_width(110).with_links(false);
    let mut out = String::new();
    for one in all {
        let report = Report { one, source: NamedSource::new(name, text.to_owned()) };
        if handler.render_report(&mut out, &report).is_err() {
            out.push_str(&one.message);
        }
        out.push('\n');
    }
    out
}

struct Report<'a> {
    one: &'a Diagnostic,
    source: NamedSource<String>,
}

impl fmt::Debug for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.one.message)
    }
}
impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.one.message)
    }
}
impl std::error::Error for Report<'_> {}
impl miette::Diagnostic for Report<'_> {
    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.one.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }
    fn help(&self) -> Option<Box<dyn fmt::Display + '_>> {
        (!self.one.help.is_empty()).then(|| Box::new(&self.one.help) as Box<dyn fmt::Display>)
    }
    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        Some(&self.source)
    }
    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(std::iter::once(LabeledSpan::new_with_span(None, self.one.span.clone()))))
    }
}
