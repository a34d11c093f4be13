//! The JSON Schema of the inventory, from its types.

use schemars::schema_for;

use super::model::Inventory;

/// The schema as a JSON value.
#[must_use]
pub fn json_schema() -> serde_json::Value {
    schema_for!(Inventory).to_value()
}
