//! From a file to a judged inventory.

use std::path::Path;

use toml::de::DeTable;

use super::diagnostic::{Diagnostic, Severity, render};
use super::model::Inventory;
use super::schema::json_schema;
use super::tree::{locate, misfits};
use super::validate::{Problem, validate};
use crate::error::{Error, Result};

/// An inventory without errors.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The inventory.
    pub inventory: Inventory,
    /// What is worth knowing.
    pub warnings: Vec<Diagnostic>,
    /// The warnings for a terminal; empty when there are none.
    pub rendered_warnings: String,
}

/// Reads and judges a file. Every problem is told at once; the error is of kind `Invalid`.
pub fn load(path: &Path) -> Result<Loaded> {
    let name = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|e| {
        Error::invalid(format!("failed to read the inventory {name}"))
            .source(e)
            .hint("`provision init` writes a sample; -i names another file")
    })?;
    let text = String::from_utf8(bytes)
        .map_err(|e| Error::invalid(format!("the inventory {name} is not UTF-8 text")).source(e.utf8_error()))?;
    match parse(&text) {
        Ok((inventory, warnings)) => {
            let mut warnings = warnings;
            warnings.extend(missing_files(&inventory, &text));
            let rendered_warnings = render(&name, &text, &warnings);
            Ok(Loaded { inventory, warnings, rendered_warnings })
        }
        Err(all) => {
            let errors = all.iter().filter(|d| d.severity == Severity::Error).count();
            Err(Error::invalid(format!(
                "the inventory {name} has {errors} {}",
                if errors == 1 { "error" } else { "errors" }
            ))
            .diagnostics(render(&name, &text, &all)))
        }
    }
}

/// Reads and judges text. Pure. `Err` holds every finding, warnings too, in the order of the text.
pub fn parse(text: &str) -> std::result::Result<(Inventory, Vec<Diagnostic>), Vec<Diagnostic>> {
    let (tree, broken) = DeTable::parse_recoverable(text);
    if !broken.is_empty() {
        return Err(broken.iter().map(|e| syntax(text, e)).collect());
    }
    let mut found: Vec<Diagnostic> = misfits(&tree, &json_schema())
        .into_iter()
        .map(|m| Diagnostic::new(Severity::Error, text, m.span, m.message, m.help))
        .collect();
    let inventory = match toml::from_str::<Inventory>(text) {
        Ok(inventory) => inventory,
        Err(e) => {
            // What the schema already named is not named twice.
            let own = syntax(text, &e);
            if !found.iter().any(|f| f.line == own.line) {
                found.push(own);
            }
            found.sort_by_key(|d| d.span.start);
            return Err(found);
        }
    };
    for Problem { severity, path, message, help } in validate(&inventory) {
        found.push(Diagnostic::new(severity, text, locate(&tree, &path), message, help));
    }
    found.sort_by_key(|d| d.span.start);
    if found.iter().any(|d| d.severity == Severity::Error) { Err(found) } else { Ok((inventory, found)) }
}

fn syntax(text: &str, error: &toml::de::Error) -> Diagnostic {
    let message = error.message().lines().next().unwrap_or("broken TOML").to_owned();
    Diagnostic::new(Severity::Error, text, error.span().unwrap_or(0..0), message, String::new())
}

/// Files the inventory names that are not there: a warning, for the inventory may be checked on another machine.
fn missing_files(inventory: &Inventory, text: &str) -> Vec<Diagnostic> {
    let mut all = Vec::new();
    let mut files: Vec<std::path::PathBuf> = inventory.nodes().into_iter().filter_map(|n| n.ssh.key_file).collect();
    files.dedup();
    for file in files {
        let path = match (file.strip_prefix("~"), std::env::home_dir()) {
            (Ok(rest), Some(home)) => home.join(rest),
            _ => file.clone(),
        };
        if !path.exists() {
            let shown = file.display().to_string();
            let at = text.find(&shown).unwrap_or(0);
            let message = format!("the key file {shown} is not there");
            all.push(Diagnostic::new(
                Severity::Warning,
                text,
                at..at + shown.len(),
                message,
                "hosts that use it cannot be reached from here".into(),
            ));
        }
    }
    all
}
