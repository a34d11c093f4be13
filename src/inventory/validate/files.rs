//! Key files that the inventory names.

use std::path::Path as FilePath;

use super::judge::{at, under};
use crate::inventory::structure::shown;
use crate::inventory::tree::{Finding, Path};
use crate::inventory::{Inventory, Jump};

/// A warning for each private key file that `there` denies. Not an error: an inventory may be checked on a machine that
/// the hosts are never reached from.
pub(in crate::inventory) fn missing_key_files(
    inventory: &Inventory,
    there: &dyn Fn(&FilePath) -> bool,
) -> Vec<Finding> {
    let hosts = inventory.hosts.iter().enumerate();
    let hosts = hosts.map(|(index, h)| (under(&at(["hosts"]), index), h.key_file.as_deref(), h.jump.as_ref()));
    let pools = inventory.pools.iter();
    let pools = pools.map(|(name, p)| (under(&at(["pools"]), name), p.key_file.as_deref(), p.jump.as_ref()));
    let defaults = &inventory.defaults;
    let all: Vec<(Path, Option<&FilePath>, Option<&Jump>)> =
        [(at(["defaults"]), defaults.key_file.as_deref(), defaults.jump.as_ref())]
            .into_iter()
            .chain(pools)
            .chain(hosts)
            .collect();
    let mut found = Vec::new();
    for (path, own, jump) in all {
        let jump_file = jump.and_then(|j| j.key_file.as_deref());
        for (path, file) in [(under(&path, "key_file"), own), (under(&under(&path, "jump"), "key_file"), jump_file)] {
            if let Some(file) = file.filter(|f| !there(f)) {
                found.push(Finding::warning(
                    path,
                    format!("there is no key file {}", shown(&file.display().to_string())),
                    "hosts that use it cannot be reached from this machine: put it there, or leave the key out to ask \
                     the SSH agent",
                ));
            }
        }
    }
    found
}
