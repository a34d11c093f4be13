//! The answers for a terminal.

use std::fmt::Write as _;

use super::contents::{Contents, Group, human, kind_name};
use crate::bundle::manifest::arch_name;

/// Which columns hold numbers, and stand to the right.
const RIGHT: &[&str] = &["SIZE", "STORED", "COUNT"];

/// Aligned tables: the artifacts, then the totals by kind and architecture.
#[must_use]
pub fn text(c: &Contents) -> String {
    let mut out = format!("Kubernetes {}\nbundle.json {}\nlock        {}\n\n", plain(&c.kubernetes), c.bundle, c.lock);
    let artifacts = c.artifacts.iter().map(|a| {
        vec![
            kind_name(a.kind),
            plain(&a.name),
            plain(&a.version),
            arch_name(a.arch).into(),
            human(a.size),
            a.licence.clone(),
            a.verified_how.clone(),
            plain(&a.source),
        ]
    });
    let head = ["KIND", "NAME", "VERSION", "ARCH", "SIZE", "LICENCE", "VERIFIED", "SOURCE"];
    table(&mut out, &head, artifacts.collect());
    for (title, groups) in [("KIND", &c.by_kind), ("ARCH", &c.by_arch)] {
        out.push('\n');
        table(&mut out, &[title, "COUNT", "SIZE", "STORED"], groups.iter().map(sums).collect());
    }
    let t = &c.totals;
    let _ = writeln!(
        out,
        "\n{} artifacts of {} blobs: {}, of which {} are stored (a blob that several need is there once)",
        t.artifacts,
        t.blobs,
        human(t.size),
        human(t.stored)
    );
    out
}

fn sums(group: &Group) -> Vec<String> {
    let t = &group.totals;
    vec![group.name.clone(), t.artifacts.to_string(), human(t.size), human(t.stored)]
}

/// Names come from foreign registries: what would move a terminal's cursor or colour is shown as a box.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn table(out: &mut String, head: &[&str], rows: Vec<Vec<String>>) {
    let head_row: Vec<String> = head.iter().map(|h| (*h).to_owned()).collect();
    let all: Vec<&Vec<String>> = std::iter::once(&head_row).chain(&rows).collect();
    let width = |column: usize| all.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    for row in all {
        let mut line = String::new();
        for ((cell, width), title) in row.iter().zip(&widths).zip(head) {
            let (cell, width) = (cell.as_str(), *width);
            let _ =
                if RIGHT.contains(title) { write!(line, "{cell:>width$}  ") } else { write!(line, "{cell:<width$}  ") };
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::inspect::contents;
    use crate::bundle::licences::Labels;
    use crate::bundle::sample::manifest;

    #[test]
    fn columns_are_aligned_and_nothing_moves_the_cursor() {
        let mut manifest = manifest();
        manifest.artifacts[6].name = "notes\u{1b}[2J\n".into();
        let shown = text(&contents(&manifest, &Labels::new()));
        assert!(!shown.contains('\u{1b}'));
        assert!(shown.contains("notes\u{fffd}[2J\u{fffd}"));
        let lines: Vec<&str> = shown.lines().collect();
        let at = |line: &str, word: &str| line.find(word).map(|byte| line[..byte].chars().count());
        let head = lines.iter().position(|l| l.starts_with("KIND")).unwrap_or(0);
        assert_eq!(at(lines[head], "ARCH"), at(lines[head + 1], "amd64"), "{shown}");
        assert_eq!(at(lines[head], "ARCH"), at(lines[head + 7], "amd64"), "{shown}");
        assert!(shown.contains("7 artifacts of 7 blobs: 7.0 kB"), "{shown}");
    }
}
