//! Judging an inventory: every rule that its types cannot hold. Pure.

use super::diagnostic::Severity;
use super::model::Inventory;
use super::tree::Seg;
use super::{validate_cluster, validate_hosts};

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// Where.
    pub path: Vec<Seg>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: String,
}

/// Collects problems.
pub(super) struct Problems(Vec<Problem>);

impl Problems {
    pub(super) fn error(&mut self, path: Vec<Seg>, message: impl Into<String>, help: impl Into<String>) {
        self.0.push(Problem { severity: Severity::Error, path, message: message.into(), help: help.into() });
    }
    pub(super) fn warning(&mut self, path: Vec<Seg>, message: impl Into<String>, help: impl Into<String>) {
        self.0.push(Problem { severity: Severity::Warning, path, message: message.into(), help: help.into() });
    }
}

/// `at!["hosts", 2, "name"]`
macro_rules! at {
    ($($seg:expr),* $(,)?) => { vec![$($crate::inventory::tree::Seg::from($seg)),*] };
}
pub(super) use at;

/// Every broken rule.
pub(super) fn validate(inv: &Inventory) -> Vec<Problem> {
    let mut problems = Problems(Vec::new());
    validate_cluster::cluster(inv, &mut problems);
    validate_cluster::network(inv, &mut problems);
    validate_cluster::endpoint(inv, &mut problems);
    validate_cluster::etcd(inv, &mut problems);
    validate_hosts::hosts(inv, &mut problems);
    validate_hosts::pools(inv, &mut problems);
    problems.0
}

/// Whether `text` is a DNS label (RFC 1123).
pub(super) fn is_dns_label(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=63).contains(&text.len()) && text.chars().all(plain) && !text.starts_with('-') && !text.ends_with('-')
}

/// Whether `text` is a DNS name (RFC 1123).
pub(super) fn is_dns_name(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_dns_label)
}
