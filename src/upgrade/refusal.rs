//! Why an upgrade must not begin.

use std::fmt;

/// One reason why an upgrade must not begin, and what can be done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What is in the way, in lower case, no full stop.
    pub reason: String,
    /// What to do about it.
    pub way_out: String,
}

impl Refusal {
    pub(super) fn new(reason: impl Into<String>, way_out: impl Into<String>) -> Self {
        Self { reason: reason.into(), way_out: way_out.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.way_out)
    }
}

/// Names in a sentence; of many the first ones and how many more there are.
pub(super) fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 5;
    let names: Vec<&str> = names.into_iter().collect();
    let (first, rest) = names.split_at(names.len().min(SHOWN));
    match rest.len() {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_names_are_cut_short() {
        assert_eq!(listed(["a", "b"]), "a, b");
        let names: Vec<String> = (0..9).map(|n| format!("n{n}")).collect();
        assert_eq!(listed(names.iter().map(String::as_str)), "n0, n1, n2, n3, n4 and 4 more");
    }
}
