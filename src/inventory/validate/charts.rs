//! Charts, raw manifests and the helm that installs them.

use std::collections::BTreeSet;
use std::path::Path as FilePath;

use super::judge::{at, under};
use super::syntax::{is_base_url, is_dns_label, is_release};
use crate::image::full_name;
use crate::inventory::model::Inventory;
use crate::inventory::structure::shown;
use crate::inventory::tree::{Finding, Path};
use crate::inventory::{Chart, ChartFrom, RawManifest};

/// helm cuts names of releases here, so that names made of them fit into 63 characters.
const MAX_RELEASE: usize = 53;
/// The first helm that labels its releases.
const OLDEST_HELM: (u32, u32) = (3, 13);

pub(super) fn check(inventory: &Inventory, found: &mut Vec<Finding>) {
    let helm = inventory.tools.helm_version.as_deref();
    if helm.is_some_and(|v| !is_release(v) || too_old(v)) {
        found.push(Finding::error(
            at(["tools", "helm_version"]),
            format!("\"{}\" is not a version of helm that can be used", shown(helm.unwrap_or_default())),
            "write it like \"4.2.3\", without a `v`; 3.13.0 is the oldest",
        ));
    }
    let mut names = BTreeSet::new();
    for (index, chart) in inventory.charts.iter().enumerate() {
        let path = under(&at(["charts"]), index);
        if !names.insert((&chart.namespace, &chart.name)) {
            found.push(twice(&path, &format!("release \"{}\" in this namespace", shown(&chart.name))));
        }
        check_chart(chart, &path, found);
    }
    let mut names = BTreeSet::new();
    for (index, manifest) in inventory.manifests.iter().enumerate() {
        let path = under(&at(["manifests"]), index);
        if !names.insert(&manifest.name) {
            found.push(twice(&path, &format!("manifest \"{}\"", shown(&manifest.name))));
        }
        check_manifest(manifest, &path, found);
    }
}

fn too_old(version: &str) -> bool {
    let mut parts = version.split('.').map(|p| p.parse::<u32>().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) < OLDEST_HELM
}

fn twice(path: &Path, what: &str) -> Finding {
    Finding::error(under(path, "name"), format!("there is a second {what}"), "rename or remove one of the two")
}

fn check_chart(chart: &Chart, path: &Path, found: &mut Vec<Finding>) {
    name(&under(path, "name"), &chart.name, MAX_RELEASE, found);
    name(&under(path, "namespace"), &chart.namespace, 63, found);
    let source = under(path, "source");
    let form = chart.source.form();
    match form {
        None => found.push(Finding::error(
            source.clone(),
            "this names no one place of a chart",
            "write { repo = \"https://...\", chart = \"NAME\" }, { oci = \"oci://REGISTRY/PATH/NAME\" } or { path = \
             \"charts/NAME\" }",
        )),
        Some(ChartFrom::Repo { url, chart }) => {
            if !is_base_url(url) {
                found.push(Finding::error(
                    under(&source, "repo"),
                    format!("\"{}\" is not a base URL", shown(url)),
                    "write it like \"https://charts.example/stable\", without /index.yaml",
                ));
            }
            if chart.is_empty() || chart.contains('/') {
                found.push(Finding::error(
                    under(&source, "chart"),
                    format!("\"{}\" is not the name of a chart", shown(chart)),
                    "name it as the repository's index does, like \"ingress-nginx\"",
                ));
            }
        }
        Some(ChartFrom::Oci(reference)) => {
            let named = full_name(reference).is_some_and(|f| f.strip_suffix(":latest") == Some(reference));
            if !named {
                found.push(Finding::error(
                    under(&source, "oci"),
                    format!("\"oci://{}\" is not the place of a chart", shown(reference)),
                    "write registry, path and name without a tag, like \"oci://ghcr.io/org/charts/NAME\"; the tag is \
                     `version`",
                ));
            }
        }
        Some(ChartFrom::Path(_)) => {}
    }
    let exact = |v: &str| {
        v.starts_with(|c: char| c.is_ascii_alphanumeric())
            && v.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'+'))
    };
    match &chart.version {
        None if !matches!(form, None | Some(ChartFrom::Path(_))) => found.push(Finding::error(
            source,
            "the version of this chart is missing",
            "add version = \"...\" to the chart: the exact one, as nothing is chosen by itself",
        )),
        Some(version) if !exact(version) => found.push(Finding::error(
            under(path, "version"),
            format!("\"{}\" is not an exact version", shown(version)),
            "write the one version, like \"1.2.3\"; ranges have no place here",
        )),
        _ => {}
    }
    if chart.timeout_s == 0 {
        found.push(Finding::error(under(path, "timeout_s"), "nothing is ready at once", "allow some seconds"));
    }
    images(&under(path, "images"), &chart.images, found);
}

fn check_manifest(manifest: &RawManifest, path: &Path, found: &mut Vec<Finding>) {
    name(&under(path, "name"), &manifest.name, 63, found);
    match (&manifest.path, &manifest.url) {
        (Some(_), None) => {}
        (None, Some(url)) if is_base_url(url) => {}
        (None, Some(url)) => found.push(Finding::error(
            under(path, "url"),
            format!("\"{}\" is not a URL of a file", shown(url)),
            "write it like \"https://example.com/release/v1/objects.yaml\"",
        )),
        (None, None) | (Some(_), Some(_)) => found.push(Finding::error(
            under(path, "name"),
            "a manifest comes from one place",
            "add path = \"FILE\" (beside the inventory) or url = \"https://...\"",
        )),
    }
    let hex = |s: &str| s.len() == 64 && s.bytes().all(|b| b.is_ascii_hexdigit());
    if manifest.sha256.as_deref().is_some_and(|s| !hex(s)) {
        found.push(Finding::error(under(path, "sha256"), "this is not a sha256", "write its 64 hexadecimal digits"));
    }
    images(&under(path, "images"), &manifest.images, found);
}

fn name(path: &Path, name: &str, most: usize, found: &mut Vec<Finding>) {
    if !is_dns_label(name) || name.len() > most {
        found.push(Finding::error(
            path.clone(),
            format!("\"{}\" is not a DNS label of at most {most} characters", shown(name)),
            "use lower-case letters, digits and dashes, like \"ingress\"",
        ));
    }
}

fn images(path: &Path, images: &[String], found: &mut Vec<Finding>) {
    for (index, image) in images.iter().enumerate().filter(|(_, image)| full_name(image).is_none()) {
        found.push(Finding::error(
            under(path, index),
            format!("\"{}\" is not the name of an image", shown(image)),
            "write it as in a pod, like \"quay.io/org/name:v1.2.3\"",
        ));
    }
}

/// Files that the inventory names and `there`, which is asked for paths relative to the inventory, denies. Values are
/// needed by every command; charts and manifests only where the bundle is made, so those are warnings.
pub(in crate::inventory) fn missing_files(inventory: &Inventory, there: &dyn Fn(&FilePath) -> bool) -> Vec<Finding> {
    let mut found = Vec::new();
    let gone = |file: &FilePath| format!("there is no {} beside the inventory", shown(&file.display().to_string()));
    for (index, chart) in inventory.charts.iter().enumerate() {
        let path = under(&at(["charts"]), index);
        for (nth, file) in chart.values_files.iter().enumerate().filter(|(_, f)| !there(f)) {
            let path = under(&under(&path, "values_files"), nth);
            found.push(Finding::error(path, gone(file), "the file goes wherever the inventory goes: put it there"));
        }
        if let Some(file) = chart.source.path.as_deref().filter(|f| !there(f)) {
            let path = under(&under(&path, "source"), "path");
            found.push(Finding::warning(path, gone(file), "`bundle lock` and `bundle build` cannot do without it"));
        }
    }
    for (index, manifest) in inventory.manifests.iter().enumerate() {
        if let Some(file) = manifest.path.as_deref().filter(|f| !there(f)) {
            let path = under(&under(&at(["manifests"]), index), "path");
            found.push(Finding::warning(path, gone(file), "`bundle lock` and `bundle build` cannot do without it"));
        }
    }
    found
}
