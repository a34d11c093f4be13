//! Where things are fetched from, and how registries are logged in to.

use super::judge::{at, under};
use super::syntax::{is_base_url, is_env_name, is_registry};
use crate::inventory::model::{Inventory, RegistryAuth};
use crate::inventory::structure::shown;
use crate::inventory::tree::{Finding, Path};

pub(super) fn check(inventory: &Inventory, found: &mut Vec<Finding>) {
    let sources = &inventory.sources;
    for (key, base) in [
        ("kubernetes", &sources.kubernetes),
        ("containerd", &sources.containerd),
        ("runc", &sources.runc),
        ("cni_plugins", &sources.cni_plugins),
        ("crictl", &sources.crictl),
        ("etcd", &sources.etcd),
        ("helm", &sources.helm),
    ] {
        url(at(["sources", key]), base, found);
    }
    if let Some(base) = &sources.provision {
        url(at(["sources", "provision"]), base, found);
    }
    for (name, base) in &sources.registries {
        let path = at(["sources", "registries", name]);
        registry(&path, name, found);
        url(path, base, found);
    }
    for (name, login) in &sources.auth {
        let path = at(["sources", "auth", name]);
        registry(&path, name, found);
        auth(&path, login, found);
    }
    for (name, mirrors) in &inventory.runtime.mirrors {
        let path = at(["runtime", "mirrors", name]);
        registry(&path, name, found);
        for (index, mirror) in mirrors.iter().enumerate() {
            url(under(&path, index), mirror, found);
        }
    }
}

fn url(path: Path, base: &str, found: &mut Vec<Finding>) {
    if !is_base_url(base) {
        found.push(Finding::error(
            path,
            format!("\"{}\" is not a base URL", shown(base)),
            "write it like \"https://mirror.example.internal/path\", without a query",
        ));
    }
}

// The name becomes part of a path on every node and of URLs.
fn registry(path: &Path, name: &str, found: &mut Vec<Finding>) {
    if !is_registry(name) {
        let mut finding = Finding::error(
            path.clone(),
            format!("\"{}\" is not the name of a registry", shown(name)),
            "write its host, and its port when it has one, like \"registry.k8s.io\" or \"registry.example:5000\"",
        );
        finding.on_key = true;
        found.push(finding);
    }
}

fn auth(path: &Path, login: &RegistryAuth, found: &mut Vec<Finding>) {
    match (&login.password_env, &login.password_file) {
        (None, None) => found.push(Finding::error(
            path.clone(),
            "the password of this registry is nowhere to be found",
            "add password_env = \"NAME\" or password_file = \"/path\": where the password is, not the password",
        )),
        (Some(_), Some(_)) => found.push(Finding::warning(
            under(path, "password_file"),
            "`password_file` has no effect beside `password_env`",
            "remove one of the two",
        )),
        _ => {}
    }
    if login.password_env.as_deref().is_some_and(|name| !is_env_name(name)) {
        // It may be the password itself, so it is neither repeated nor shown.
        let mut finding = Finding::error(
            under(path, "password_env"),
            "this is not a name of an environment variable",
            "name the variable, like \"REGISTRY_PASSWORD\"; what it holds stays out of the inventory",
        );
        finding.secret = true;
        finding.on_key = true;
        found.push(finding);
    }
}
