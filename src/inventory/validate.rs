//! What is wrong with an inventory that has the right shape.

use super::model::Inventory;
use super::tree::Finding;

/// Every problem of `inventory`, in no particular order. Pure.
pub(super) fn validate(_inventory: &Inventory) -> Vec<Finding> {
    Vec::new()
}
