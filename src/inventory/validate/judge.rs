//! All rules together.

use crate::inventory::model::Inventory;
use crate::inventory::tree::{Finding, Path};

use super::{
    backup, certificates, charts, cluster, endpoint, hosts, kubernetes, network, packages, registry, secrets, sources,
    trust, upgrade, upstream,
};

/// Every problem of `inventory`, in no particular order. `json` is the same inventory as it was written, without
/// defaults: the search for secrets reads that.
pub(in crate::inventory) fn validate(inventory: &Inventory, json: &serde_json::Value) -> Vec<Finding> {
    let mut found = Vec::new();
    cluster::check(inventory, &mut found);
    kubernetes::check(inventory, &mut found);
    endpoint::check(inventory, &mut found);
    network::check(inventory, &mut found);
    hosts::check(inventory, &mut found);
    sources::check(inventory, &mut found);
    registry::check(inventory, &mut found);
    charts::check(inventory, &mut found);
    packages::check(inventory, &mut found);
    trust::check(inventory, json, &mut found);
    upstream::check(inventory, &mut found);
    upgrade::check(inventory, &mut found);
    backup::check(inventory, &mut found);
    certificates::check(inventory, &mut found);
    secrets::check(json, &mut found);
    found
}

/// A path from its parts.
pub(super) fn at<const N: usize>(parts: [&str; N]) -> Path {
    parts.iter().map(|p| (*p).to_owned()).collect()
}

/// `path` and one more part.
pub(super) fn under(path: &Path, part: impl ToString) -> Path {
    let mut longer = path.clone();
    longer.push(part.to_string());
    longer
}
