//! What packages ask of one another: `libc6 (>= 2.36) | libc6.1`, and RPM's way of saying it. Pure.

use std::cmp::Ordering;
use std::fmt;

use crate::error::{Error, Result};
use crate::inventory::PackageKind;

/// How a version is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Op {
    /// Older.
    Less,
    /// Older or the same.
    LessEqual,
    /// The same.
    Equal,
    /// Newer or the same.
    GreaterEqual,
    /// Newer.
    Greater,
}

impl Op {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "<<" | "<" => Self::Less,
            "<=" => Self::LessEqual,
            "=" => Self::Equal,
            ">=" => Self::GreaterEqual,
            ">>" | ">" => Self::Greater,
            _ => return None,
        })
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::LessEqual => "<=",
            Self::Equal => "=",
            Self::GreaterEqual => ">=",
            Self::Greater => ">",
        }
    }

    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Less => order.is_lt(),
            Self::LessEqual => order.is_le(),
            Self::Equal => order.is_eq(),
            Self::GreaterEqual => order.is_ge(),
            Self::Greater => order.is_gt(),
        }
    }
}

/// Compares two versions as packages of this type do.
#[must_use]
pub fn compare(kind: PackageKind, a: &str, b: &str) -> Ordering {
    match kind {
        PackageKind::Deb => super::deb_version::compare(a, b),
        PackageKind::Rpm => super::rpm_version::compare(a, b),
    }
}

/// A package, or what packages provide, perhaps in certain versions only.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Relation {
    /// The name.
    pub name: String,
    /// The versions.
    pub constraint: Option<(Op, String)>,
}

impl Relation {
    /// Any version of this name.
    #[must_use]
    pub fn any(name: &str) -> Self {
        Self { name: name.to_owned(), constraint: None }
    }

    /// Whether a package of this version is meant.
    #[must_use]
    pub fn takes(&self, kind: PackageKind, version: &str) -> bool {
        self.constraint.as_ref().is_none_or(|(op, wanted)| op.holds(compare(kind, version, wanted)))
    }

    /// Whether something that provides the name, in this version or in none, is meant: without a version it is only
    /// when no version is asked for.
    #[must_use]
    pub fn takes_provided(&self, kind: PackageKind, version: Option<&str>) -> bool {
        version.map_or(self.constraint.is_none(), |v| self.takes(kind, v))
    }
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.constraint {
            None => f.write_str(&self.name),
            Some((op, version)) => write!(f, "{} ({} {version})", self.name, op.as_str()),
        }
    }
}

/// Something that has to be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// Any of these.
    pub any: Vec<Relation>,
    /// Only when this is there (RPM's `if`).
    pub when: Option<Relation>,
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<String> = self.any.iter().map(ToString::to_string).collect();
        f.write_str(&all.join(" | "))
    }
}

/// Reads a field like Depends for packages of the (Debian) architecture `arch`.
pub fn parse_deb(field: &str, arch: &str) -> Result<Vec<Requirement>> {
    let mut all = Vec::new();
    for group in field.split(',').map(str::trim).filter(|g| !g.is_empty()) {
        let mut any = Vec::new();
        for one in group.split('|').map(str::trim) {
            let bad = || Error::invalid(format!("the dependency `{one}` cannot be read"));
            let (rest, arches) = match one.split_once('[') {
                Some((rest, list)) => (rest.trim(), Some(list.split_once(']').ok_or_else(bad)?.0)),
                None => (one, None),
            };
            if arches.is_some_and(|list| !for_arch(list, arch)) {
                continue;
            }
            let (name, constraint) = match rest.split_once('(') {
                Some((name, inner)) => {
                    let inner = inner.split_once(')').ok_or_else(bad)?.0.trim();
                    let at = inner.find(|c: char| !matches!(c, '<' | '>' | '=')).ok_or_else(bad)?;
                    let (op, version) = inner.split_at(at);
                    // A single `<` or `>` of old control files means `<=` and `>=`.
                    let op = match op {
                        "<" => "<=",
                        ">" => ">=",
                        other => other,
                    };
                    (name.trim(), Some((Op::parse(op).ok_or_else(bad)?, version.trim().to_owned())))
                }
                None => (rest, None),
            };
            // `name:any` and `name:amd64`: there is one architecture in a set.
            let name = name.split(':').next().unwrap_or_default().trim();
            if name.is_empty() || name.contains(char::is_whitespace) {
                return Err(bad());
            }
            any.push(Relation { name: name.to_owned(), constraint });
        }
        if !any.is_empty() {
            all.push(Requirement { any, when: None });
        }
    }
    Ok(all)
}

fn for_arch(list: &str, arch: &str) -> bool {
    let mut words = list.split_whitespace().peekable();
    let is = |w: &str| w == arch || w == "any" || w == format!("linux-{arch}") || w == "linux-any";
    if words.peek().is_some_and(|w| w.starts_with('!')) {
        !words.any(|w| is(w.trim_start_matches('!')))
    } else {
        words.any(is)
    }
}

/// Reads one of RPM's: `name`, `name >= 1.2-3`, `(a or b)`, `(a if b)`, `(a and b)`.
///
/// Errors (`Invalid`): a rich dependency with anything else in it (`unless`, `with`, `without`, `else`, nesting).
pub fn parse_rpm(text: &str) -> Result<Vec<Requirement>> {
    let text = text.trim();
    let not_understood = || {
        Error::invalid(format!("the rich dependency `{text}` is not understood"))
            .hint("`or`, `and` and `if` between plain names are; leave the package out, or take it from a repository whose packages ask for less")
    };
    let Some(inner) = text.strip_prefix('(') else {
        return Ok(vec![Requirement { any: vec![plain(text).ok_or_else(not_understood)?], when: None }]);
    };
    let inner = inner.strip_suffix(')').ok_or_else(not_understood)?;
    let words: Vec<&str> = inner.split_whitespace().collect();
    if ["unless", "with", "without", "else"].iter().any(|w| words.contains(w)) || nested(inner) {
        return Err(not_understood());
    }
    let parts = |word: &str| -> Option<Vec<Relation>> {
        words.split(|w| *w == word).map(|part| plain(&part.join(" "))).collect()
    };
    let (or, and, when) = (words.contains(&"or"), words.contains(&"and"), words.contains(&"if"));
    match (or, and, when) {
        (_, false, false) => Ok(vec![Requirement { any: parts("or").ok_or_else(not_understood)?, when: None }]),
        (false, true, false) => Ok(parts("and")
            .ok_or_else(not_understood)?
            .into_iter()
            .map(|one| Requirement { any: vec![one], when: None })
            .collect()),
        (false, false, true) => match parts("if").ok_or_else(not_understood)?.as_slice() {
            [one, condition] => Ok(vec![Requirement { any: vec![one.clone()], when: Some(condition.clone()) }]),
            _ => Err(not_understood()),
        },
        _ => Err(not_understood()),
    }
}

/// Parentheses that begin a word are those of an expression, others are part of a name like `config(setup)`.
fn nested(text: &str) -> bool {
    text.split_whitespace().any(|w| w.starts_with('('))
}

fn plain(text: &str) -> Option<Relation> {
    match text.split_whitespace().collect::<Vec<_>>().as_slice() {
        [name] => Some(Relation::any(name)),
        [name, op, version] => {
            Some(Relation { name: (*name).to_owned(), constraint: Some((Op::parse(op)?, (*version).to_owned())) })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn deb(field: &str) -> String {
        let all = parse_deb(field, "amd64").unwrap_or_default();
        all.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn debian_relations_are_read() {
        assert_eq!(
            deb("libc6 (>= 2.36), a:any | b (<< 1:2~), c [i386], d [!i386] | e"),
            "libc6 (>= 2.36); a | b (< 1:2~); d | e"
        );
        for bad in ["a (>= 1", "a (~ 1)", "a b", "a [i386"] {
            assert!(parse_deb(bad, "amd64").is_err(), "{bad}");
        }
    }

    #[test]
    fn rpm_relations_are_read() {
        let said = |text: &str| {
            parse_rpm(text).map(|all| {
                all.iter()
                    .map(|r| format!("{r}{}", r.when.as_ref().map_or(String::new(), |w| format!(" if {w}"))))
                    .collect::<Vec<_>>()
                    .join("; ")
            })
        };
        assert_eq!(said("libc.so.6(GLIBC_2.34)(64bit)").ok().as_deref(), Some("libc.so.6(GLIBC_2.34)(64bit)"));
        assert_eq!(said("bash >= 0:5-1").ok().as_deref(), Some("bash (>= 0:5-1)"));
        assert_eq!(said("(a or b > 1)").ok().as_deref(), Some("a | b (> 1)"));
        assert_eq!(said("(a and b)").ok().as_deref(), Some("a; b"));
        assert_eq!(said("(a = 1 if config(b))").ok().as_deref(), Some("a (= 1) if config(b)"));
        for bad in ["(a unless b)", "((a or b) if c)", "(a with b)", "(a if b else c)", "(a", "a b"] {
            assert!(said(bad).is_err_and(|e| e.to_string().contains("not understood")), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_them_panic(text in "\\PC{0,60}", near in "[a(|)<>=, \\[\\]!]{0,30}", rich in "\\(?[abor if]{0,20}\\)?") {
            for text in [&text, &near, &rich] {
                let _ = parse_deb(text, "amd64");
                let _ = parse_rpm(text);
            }
        }
    }
}
