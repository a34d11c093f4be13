//! Secrets have no place in an inventory: it is committed, copied and printed.

use std::ops::Range;

use serde_json::Value;

use super::judge::under;
use crate::inventory::structure::shown;
use crate::inventory::tree::{Finding, Path};

/// Ends of keys (lower case, letters only) whose values are secrets. Keys that name a place of one, like
/// `password_env`, do not end so.
const ENDS: [&str; 8] =
    ["password", "passwd", "passphrase", "secret", "token", "privatekey", "clientkeydata", "authorization"];

pub(super) fn check(json: &Value, found: &mut Vec<Finding>) {
    walk(&mut Vec::new(), json, found);
}

/// Whether a value under `key` would be a secret.
pub(in crate::inventory) fn is_secret_key(key: &str) -> bool {
    let letters: String = key.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    ENDS.iter().any(|end| letters.ends_with(end))
}

/// Charts ask for the names of Secret objects under keys like `existingSecret`; those are no secrets themselves.
fn names_a_secret(path: &[String], key: &str) -> bool {
    let values = matches!(path, [first, _, third, ..] if first == "charts" && third == "values");
    values && key.to_ascii_lowercase().ends_with("secret")
}

/// The finding for a secret at `path`.
pub(in crate::inventory) fn secret(path: Path) -> Finding {
    let key = path.last().map(|k| shown(k)).unwrap_or_default();
    let values = path.first().is_some_and(|p| p == "charts");
    let mut finding = Finding::error(
        path,
        format!("`{key}` looks like a secret, and an inventory holds none"),
        if values {
            "put it into a file of its own that is kept out of git, and name that in `values_files`"
        } else {
            "name an environment variable or a file that holds it (`password_env`, `password_file`, `sudo = { method = \
         \"env\", env = \"NAME\" }`), and change the secret if this file was ever shared"
        },
    );
    finding.secret = true;
    finding.on_key = true;
    finding
}

fn walk(path: &mut Path, json: &Value, found: &mut Vec<Finding>) {
    match json {
        Value::Object(table) => {
            for (key, value) in table {
                // Names of labels are the user's own, and labels are public anyway.
                if path.last().is_some_and(|p| p == "labels") {
                    continue;
                }
                if is_secret_key(key) && !names_a_secret(path, key) && (value.is_string() || value.is_number()) {
                    found.push(secret(under(path, key)));
                    continue;
                }
                path.push(key.clone());
                walk(path, value, found);
                path.pop();
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                path.push(index.to_string());
                walk(path, item, found);
                path.pop();
            }
        }
        Value::String(text) if text.contains("PRIVATE KEY-----") => found.push(secret(path.clone())),
        Value::String(text) if !userinfo(text).is_empty() => {
            let mut finding = secret(path.clone());
            finding.message = "the URL holds a password, and an inventory holds none".into();
            found.push(finding);
        }
        _ => {}
    }
}

/// Where `text` holds the `user:password` of a `scheme://user:password@host`.
pub(in crate::inventory) fn userinfo(text: &str) -> Vec<Range<usize>> {
    let starts = text.match_indices("://").map(|(at, mark)| at + mark.len());
    starts
        .filter_map(|start| {
            let rest = text.get(start..)?;
            let authority = rest.split(['/', '?', '#', '"', '\'', '\n']).next().unwrap_or_default();
            let (user, _) = authority.rsplit_once('@')?;
            user.contains(':').then_some(start..start + user.len())
        })
        .collect()
}
