//! More of an inventory laid over a lab's own.

use std::path::Path;

use crate::error::{Context as _, Error, Result};

/// `base` with the keys of `more` (read from `shown`) laid over it: tables key by key, anything else replaced.
pub(super) fn overlay(base: &str, more: &str, shown: &Path) -> Result<String> {
    let mut table: toml::Table = base.parse().context(|| "failed to read the lab's inventory back".into())?;
    let more: toml::Table =
        more.parse().map_err(|e| Error::invalid(format!("failed to read {}", shown.display())).source(e))?;
    lay(&mut table, more);
    let text = toml::to_string(&table).context(|| "failed to write the lab's inventory".into())?;
    Ok(format!("# A lab's inventory with {} laid over it.\n\n{text}", shown.display()))
}

fn lay(base: &mut toml::Table, more: toml::Table) {
    for (key, value) in more {
        match (base.get_mut(&key), value) {
            (Some(toml::Value::Table(inner)), toml::Value::Table(more)) => lay(inner, more),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_merged_and_the_rest_replaced() {
        let text = overlay("[a]\nx = 1\ny = 2\n[[h]]\nn = 1\n", "[a]\ny = 3\n[[c]]\nz = 1\n", Path::new("f"));
        let table: toml::Table = text.unwrap_or_default().parse().unwrap_or_default();
        let wanted: toml::Table = "a = { x = 1, y = 3 }\nh = [{ n = 1 }]\nc = [{ z = 1 }]".parse().unwrap_or_default();
        assert_eq!(table, wanted);
        assert_eq!(overlay("", "[", Path::new("f")).map_err(|e| e.to_string()), Err("failed to read f".into()));
    }
}
