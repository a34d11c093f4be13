//! The JSON Schema of the inventory, generated from its types.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::model::Inventory;

/// The format of an IP address in the schema.
pub(super) const FORMAT_IP: &str = "ip";
/// The format of a network, `address/prefix`, in the schema.
pub(super) const FORMAT_CIDR: &str = "cidr";
/// The format of a number or a percentage, in the schema.
pub(super) const FORMAT_SHARE: &str = "share";

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

/// How a [`super::Share`] appears in the schema: a number, or a string of the format.
pub(super) struct ShareText;

impl JsonSchema for ShareText {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "ShareText".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["integer", "string"],
            "format": FORMAT_SHARE,
            "minimum": 1,
            "maximum": u32::MAX,
            "pattern": "^([1-9][0-9]?|100)%$"
        })
    }
}

/// The JSON Schema (draft 2020-12) of an inventory.
#[must_use]
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Inventory).to_value()
}
