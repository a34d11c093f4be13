//! Places in an inventory: a path of keys and indices, and where in the text it leads.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Diagnostic, Severity};

/// Keys and list indices from the root on, like `["hosts", "2", "name"]`.
pub(super) type Path = Vec<String>;

/// A problem at a path; [`Tree::place`] makes a [`Diagnostic`] of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub severity: Severity,
    pub path: Path,
    pub message: String,
    pub help: String,
    /// The caret points at the key rather than at its value.
    pub on_key: bool,
    /// The value is a secret and must not be shown.
    pub secret: bool,
}

impl Finding {
    pub fn error(path: Path, message: impl Into<String>, help: impl Into<String>) -> Self {
        let (message, help) = (message.into(), help.into());
        Self { severity: Severity::Error, path, message, help, on_key: false, secret: false }
    }
    pub fn warning(path: Path, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(path, message, help) }
    }
}

/// The parsed text.
pub(super) struct Tree<'i> {
    pub text: &'i str,
    pub root: Spanned<DeTable<'i>>,
}

impl Tree<'_> {
    /// The finding with its place in the text. A path that does not exist (a default, a key that is missing) is placed
    /// at the nearest table around it that does.
    pub fn place(&self, finding: Finding) -> Diagnostic {
        let (key, value) = self.spans(&finding.path);
        // A value of many lines (a table, a list) is pointed at by its key.
        let long = self.text.get(value.clone()).is_none_or(|v| v.contains('\n'));
        let span = if (finding.on_key || long) && !key.is_empty() { key } else { value.clone() };
        let mut diagnostic = Diagnostic::new(finding.severity, self.text, span, finding.message, finding.help);
        diagnostic.secret = finding.secret.then_some(value);
        diagnostic
    }

    // The spans of the key and of the value at the deepest part of `path` that exists.
    fn spans(&self, path: &[String]) -> (Range<usize>, Range<usize>) {
        let mut key_span = 0..0;
        let mut value_span = 0..0;
        let mut table = Some(self.root.get_ref());
        let mut list: Option<&[Spanned<DeValue<'_>>]> = None;
        for part in path {
            let next = if let Some(here) = table {
                here.get_key_value(part.as_str()).map(|(key, value)| (key.span(), value))
            } else {
                let item = part.parse::<usize>().ok().and_then(|index| list?.get(index));
                item.map(|value| (0..0, value))
            };
            let Some((key, value)) = next else { break };
            (key_span, value_span) = (key, value.span());
            table = value.get_ref().as_table();
            list = value.get_ref().as_array().map(|a| &a[..]);
        }
        (key_span, value_span)
    }
}
