//! From the text of an inventory to its types, with every problem of the file found in one go.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::de::DeTable;

use super::diagnostic::{Diagnostic, Severity, render_for_stderr};
use super::model::Inventory;
use super::registry::RegistryMode;
use super::schema::schema;
use super::tree::{Finding, Tree};
use super::{structure, validate};
use crate::error::{Error, Result};

/// An inventory that may be used.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The inventory.
    pub inventory: Inventory,
    /// What is allowed and may be regretted.
    pub warnings: Vec<Diagnostic>,
    /// The text it was read from.
    pub text: String,
}

/// Reads the inventory file at `path`.
///
/// # Errors
/// [`crate::error::Kind::Invalid`] when the file cannot be read or is wrong; every problem of it is in the report.
pub fn load(path: &Path) -> Result<Loaded> {
    let text = read(path)?;
    let file = path.display().to_string();
    let dir = path.parent().unwrap_or(Path::new("")).to_owned();
    let there = |path: &Path| expand_home(path).exists();
    let content = |beside: &Path| Some(std::fs::read_to_string(dir.join(beside)));
    let mut loaded = judge(&text, &there, &|beside| dir.join(beside).exists(), &content).map_err(|diagnostics| {
        let errors = diagnostics.iter().filter(|d| d.severity == Severity::Error).count();
        let problems = if errors == 1 { "1 problem".into() } else { format!("{errors} problems") };
        Error::invalid(format!("the inventory {file} has {problems}")).diagnostics(render_for_stderr(
            &file,
            &text,
            &diagnostics,
        ))
    })?;
    for chart in &mut loaded.inventory.charts {
        for values in &chart.values_files {
            let values = dir.join(values);
            let text = std::fs::read_to_string(&values)
                .map_err(|e| Error::invalid(format!("failed to read the values {}", values.display())).source(e))?;
            chart.file_texts.0.push(text);
        }
    }
    loaded.inventory.dir = dir;
    with_registry_ca(loaded, path)
}

/// Reads the CA of the registry, so that a plan holds what is put onto the nodes. Beside the inventory when its path is
/// relative.
fn with_registry_ca(mut loaded: Loaded, inventory: &Path) -> Result<Loaded> {
    let registry = &mut loaded.inventory.registry;
    if let Some(file) = registry.ca_file.as_ref().filter(|_| registry.mode == RegistryMode::External) {
        let path = inventory.parent().unwrap_or(Path::new("")).join(expand_home(file));
        let hint = "registry.ca_file is a PEM file of certificates, and of nothing else";
        let reading = || format!("failed to read the registry's CA {}", path.display());
        let text = std::fs::read_to_string(&path).map_err(|e| Error::invalid(reading()).source(e).hint(hint))?;
        // It goes to every node and into plans: a key in the same file must not.
        if !text.contains("-----BEGIN CERTIFICATE-----") || text.contains("PRIVATE KEY") {
            return Err(Error::invalid(reading()).hint(hint));
        }
        registry.ca = Some(text);
    }
    Ok(loaded)
}

/// The text of the inventory file at `path`.
///
/// # Errors
/// [`crate::error::Kind::Invalid`] when there is no such file, it cannot be read, or it is not UTF-8.
pub fn read(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).map_err(|e| {
        let hint = match e.kind() {
            ErrorKind::NotFound => "name the file with -i, or make a first one with `provision init`",
            ErrorKind::PermissionDenied => "the file must be readable by the user who runs provision",
            _ => "the inventory is a TOML file, like the ones `provision init` writes",
        };
        Error::invalid(format!("failed to read the inventory {}", path.display())).source(e).hint(hint)
    })?;
    String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        let line = e.as_bytes().iter().take(at).filter(|b| **b == b'\n').count() + 1;
        Error::invalid(format!("the inventory {} is not UTF-8 text (line {line})", path.display()))
            .hint("save the file as UTF-8")
    })
}

/// Reads an inventory. Pure.
///
/// # Errors
/// All problems of the text, warnings among them, in the order of their places.
pub fn parse(text: &str) -> Result<Loaded, Vec<Diagnostic>> {
    judge(text, &|_| true, &|_| true, &|_| None)
}

// `there` tells whether a key file exists, `beside` whether a file relative to the inventory does; `content` reads such a
// file, or does not look.
fn judge(
    text: &str,
    there: &dyn Fn(&Path) -> bool,
    beside: &dyn Fn(&Path) -> bool,
    content: &dyn Fn(&Path) -> Option<std::io::Result<String>>,
) -> Result<Loaded, Vec<Diagnostic>> {
    let (root, broken) = DeTable::parse_recoverable(text);
    if !broken.is_empty() {
        // What the parser skipped to recover would be reported as missing, so nothing more is judged.
        return Err(broken.iter().map(|e| syntax(text, e)).collect());
    }
    let tree = Tree { text, root };
    let shape = structure::check(&schema(), tree.root.get_ref());
    let mut findings = shape.findings;
    let mut inventory = match Inventory::deserialize(&shape.json) {
        Ok(inventory) => Some(inventory),
        Err(e) => {
            if findings.is_empty() {
                findings.push(Finding::error(Vec::new(), e.to_string(), "see inventories/inventory.schema.json"));
            }
            None
        }
    };
    if let Some(inventory) = &mut inventory {
        let authorities = validate::read_authorities(inventory, content);
        let inventory = &*inventory;
        let spoken_of = |f: &Finding| shape.poisoned.iter().any(|p| p.starts_with(&f.path) || f.path.starts_with(p));
        let all = validate::validate(inventory, &shape.json).into_iter();
        let all = all.chain(validate::missing_key_files(inventory, there));
        let all = all.chain(validate::missing_files(inventory, beside));
        let all = all.chain(validate::missing_upstream_keys(inventory, beside)).chain(authorities);
        findings.extend(all.filter(|f| !spoken_of(f)));
    }
    let mut diagnostics: Vec<Diagnostic> = findings.into_iter().map(|f| tree.place(f)).collect();
    diagnostics.sort_by_key(|d| (d.line, d.column));
    match inventory {
        Some(inventory) if diagnostics.iter().all(|d| d.severity == Severity::Warning) => {
            Ok(Loaded { inventory, warnings: diagnostics, text: text.to_owned() })
        }
        _ => Err(diagnostics),
    }
}

/// `~/x` as the shell reads it.
#[must_use]
pub fn expand_home(path: &Path) -> PathBuf {
    match (path.strip_prefix("~"), std::env::home_dir()) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path.to_owned(),
    }
}

fn syntax(text: &str, error: &toml::de::Error) -> Diagnostic {
    let help = if error.message().contains("duplicate key") {
        "a key or table may be set once only; lists of hosts are written [[hosts]]"
    } else {
        "the file is not valid TOML here: look for a missing quote, bracket or `=`"
    };
    let span = error.span().unwrap_or(0..0);
    Diagnostic::new(Severity::Error, text, span, error.message().trim_end(), help)
}
