//! Which signatures of upstream's are asked for.

use std::path::Path as FilePath;

use super::judge::{at, under};
use crate::inventory::model::Inventory;
use crate::inventory::structure::shown;
use crate::inventory::tree::{Finding, Path};

pub(super) fn check(inventory: &Inventory, found: &mut Vec<Finding>) {
    for (index, signer) in inventory.trust.upstream.iter().enumerate() {
        let path = entry(index);
        if signer.pattern.is_empty() || signer.pattern.len() > 300 || signer.pattern.chars().any(char::is_control) {
            found.push(Finding::error(
                under(&path, "match"),
                format!("\"{}\" matches nothing", shown(&signer.pattern)),
                "write the name of a file, like \"runc\", or of images, like \"registry.example/team/*\"",
            ));
        }
        if signer.keys().len() != 1 {
            found.push(Finding::error(
                under(&path, "match"),
                "signatures are checked with one key",
                "add one of cosign_key (images), minisign_key or gpg_key (files), with the path of the public key",
            ));
        }
    }
}

/// A warning for each public key file that `there`, which is asked for paths relative to the inventory, denies: it is
/// needed where bundles are locked and verified, and not where they are used.
pub(in crate::inventory) fn missing_upstream_keys(
    inventory: &Inventory,
    there: &dyn Fn(&FilePath) -> bool,
) -> Vec<Finding> {
    let mut found = Vec::new();
    for (index, signer) in inventory.trust.upstream.iter().enumerate() {
        for (_, setting, file) in signer.keys().into_iter().filter(|(_, _, file)| !there(file)) {
            found.push(Finding::warning(
                under(&entry(index), setting),
                format!("there is no {} beside the inventory", shown(&file.display().to_string())),
                "`bundle lock` and `bundle verify -i` cannot do without it: take it from where upstream publishes it",
            ));
        }
    }
    found
}

fn entry(index: usize) -> Path {
    under(&at(["trust", "upstream"]), index)
}
