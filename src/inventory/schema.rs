//! The JSON Schema of the inventory, generated from its types.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::model::Inventory;

/// The format of an IP address in the schema.
pub(super) const FORMAT_IP: &str = "ip";
/// The format of a network, `address/prefix`, in the schema.
pub(super) const FORMAT_CIDR: &str = "cidr";

/// How an IP address appears in the schema.
pub(super) struct IpText;

impl JsonSchema for IpText {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "IpText".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": FORMAT_IP })
    }
}

/// How a network appears in the schema.
pub(super) struct CidrText;

impl JsonSchema for CidrText {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "CidrText".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": FORMAT_CIDR })
    }
}

/// The JSON Schema (draft 2020-12) of an inventory.
#[must_use]
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Inventory).to_value()
}
