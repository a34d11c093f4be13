//! The answers as one page that needs nothing else: no network, no other file.

use std::sync::LazyLock;

use serde_json::json;
use tera::{Context, Tera};

use super::contents::{Contents, Group, Totals, human, kind_name};
use crate::bundle::licences::NO_ASSERTION;
use crate::bundle::manifest::{Verified, arch_name};
use crate::error::{Context as _, Error, Result};

// A constant of the program: a test renders it. Its name ends in .html, for which tera escapes every value.
static TERA: LazyLock<std::result::Result<Tera, tera::Error>> = LazyLock::new(|| {
    let mut tera = Tera::default();
    tera.add_raw_template("inspect.html", include_str!("../../../templates/inspect.html.tera"))?;
    Ok(tera)
});

/// The page.
pub fn html(c: &Contents) -> Result<String> {
    let tera = TERA.as_ref().map_err(|e| Error::failed(format!("failed to read the page's template: {e}")))?;
    let largest = c.artifacts.iter().map(|a| a.size).max().unwrap_or(0);
    let artifacts: Vec<_> = c
        .artifacts
        .iter()
        .map(|a| {
            let link = a.source.starts_with("https://") || a.source.starts_with("http://");
            json!({
                "kind": kind_name(a.kind), "name": a.name, "version": a.version, "arch": arch_name(a.arch),
                "size": a.size, "human": human(a.size), "bar": percent(a.size, largest),
                "licence": a.licence, "licence_known": a.licence != NO_ASSERTION, "licence_said": a.licence_said,
                "verified": a.verified_how, "weak": a.verified == Verified::LockOnly,
                "source": a.source, "link": link, "digest": a.digest.to_string(), "short": a.digest.short(),
                "members": a.members,
            })
        })
        .collect();
    let weak = c.artifacts.iter().filter(|a| a.verified == Verified::LockOnly).count();
    let unknown = c.artifacts.iter().filter(|a| a.licence == NO_ASSERTION).count();
    let context = json!({
        "kubernetes": c.kubernetes, "bundle": c.bundle.to_string(), "lock": c.lock.to_string(),
        "totals": sums(&c.totals, 0), "weak": weak, "unknown": unknown,
        "groups": [
            { "title": "By kind", "rows": rows(&c.by_kind) },
            { "title": "By architecture", "rows": rows(&c.by_arch) },
        ],
        "artifacts": artifacts,
    });
    let context = Context::from_value(context).context(|| "failed to prepare the page".into())?;
    tera.render("inspect.html", &context).context(|| "failed to render the page".into())
}

fn rows(groups: &[Group]) -> Vec<serde_json::Value> {
    let largest = groups.iter().map(|g| g.totals.stored).max().unwrap_or(0);
    let row = |g: &Group| {
        let mut row = sums(&g.totals, largest);
        row["name"] = json!(g.name);
        row
    };
    groups.iter().map(row).collect()
}

fn sums(t: &Totals, largest: u64) -> serde_json::Value {
    json!({
        "artifacts": t.artifacts, "blobs": t.blobs, "size": human(t.size), "stored": human(t.stored),
        "bar": percent(t.stored, largest),
    })
}

/// How long a bar is, of a hundred; what is not nothing is seen.
fn percent(size: u64, largest: u64) -> u64 {
    let part = u128::from(size) * 100 / u128::from(largest.max(1));
    u64::try_from(part).unwrap_or(100).max(u64::from(size > 0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::bundle::inspect::contents;
    use crate::bundle::licences::Labels;
    use crate::bundle::sample::manifest;

    fn page(name: &str, source: &str) -> String {
        let mut manifest = manifest();
        manifest.kubernetes = name.into();
        let artifact = &mut manifest.artifacts[6];
        (artifact.name, artifact.version, artifact.source) = (name.into(), name.into(), source.into());
        html(&contents(&manifest, &Labels::new())).unwrap_or_else(|e| panic!("{}", e.report()))
    }

    #[test]
    fn a_hostile_name_stays_text() {
        let name = "</td><script>alert(1)</script>\"' onmouseover=\"alert(2)<img src=x>&amp;";
        let page = page(name, "javascript:alert(3)");
        assert_eq!(page.matches("<script").count(), 1, "our own");
        assert!(!page.contains("<img") && !page.contains("\" onmouseover"), "{page}");
        assert!(page.contains("&lt;script&gt;alert(1)"));
        assert!(!page.contains("href=\"javascript:") && page.contains("javascript:alert(3)"));
    }

    #[test]
    fn it_needs_no_other_file() {
        let page = page("a", "https://upstream.example/a");
        assert!(page.contains("<a href=\"https:&#x2F;&#x2F;upstream.example&#x2F;a\""), "{page}");
        for word in ["src=", "<link", "@import", "url(", "fetch("] {
            assert!(!page.contains(word), "{word}");
        }
        assert!(page.contains("default-src 'none'"));
    }

    proptest! {
        #[test]
        fn no_name_adds_an_element(name in "\\PC{0,40}|[<>\"'&/a-z= ]{0,40}") {
            let tags = |page: &str| page.matches('<').count();
            prop_assert_eq!(tags(&page(&name, &name)), tags(&page("a", "a")));
        }
    }
}
