//! The status as one page that needs nothing else: no network, no other file, no script.

use std::sync::LazyLock;

use serde_json::json;
use tera::{Context, Tera};

use super::hosts::Health;
use super::model::{Status, short_time};
use super::picture::picture;
use crate::error::{Context as _, Error, Result};

// A constant of the program: a test renders it. Its name ends in .html, for which tera escapes every value.
static TERA: LazyLock<std::result::Result<Tera, tera::Error>> = LazyLock::new(|| {
    let mut tera = Tera::default();
    tera.add_raw_template("status.html", include_str!("../../templates/status.html.tera"))?;
    Ok(tera)
});

/// The page.
///
/// Errors: never on input; the template is a constant.
pub fn html(status: &Status) -> Result<String> {
    let tera = TERA.as_ref().map_err(|e| Error::failed(format!("failed to read the page's template: {e}")))?;
    let hosts: Vec<_> = status
        .hosts
        .iter()
        .map(|h| {
            json!({
                "name": h.name, "address": h.address, "role": h.role_name(), "pool": h.pool, "health": h.health.word(),
                "ready": h.ready, "kubelet": h.kubelet, "skew": h.skew, "days": h.certificate_days,
                "etcd": if h.etcd_leader { Some("leader") } else { h.etcd },
                "state": h.state, "notes": h.notes(),
            })
        })
        .collect();
    let (health, words) = match status.health() {
        Health::Well => (Health::Well, "The cluster is well"),
        Health::Attention => (Health::Attention, "The cluster works; something wants a look"),
        Health::Bare | Health::Bad => (Health::Bad, "The cluster is not well"),
    };
    let context = json!({
        "cluster": status.cluster, "checked_at": short_time(&status.checked_at), "inventory": status.inventory,
        "health": health.word(), "words": words,
        "facts": [
            ["API", status.api_words()], ["Kubernetes", status.version_words()], ["etcd", status.etcd_words()],
            ["Certificates", status.certificate_words()], ["Last operation", status.last_words()],
        ],
        "picture": picture(status), "hosts": hosts, "drift": status.drift, "errors": status.errors,
        "tool": env!("CARGO_PKG_VERSION"),
    });
    let context = Context::from_value(context).context(|| "failed to prepare the page".into())?;
    tera.render("status.html", &context).context(|| "failed to render the page".into())
}
