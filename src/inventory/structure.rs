//! The shape of an inventory: its TOML tree held against the JSON Schema.
//!
//! serde stops at the first problem; this walk finds all of them. What is wrong is left out or replaced by a stand-in,
//! so that the rest can still be judged; the paths of the stand-ins are kept, and nothing is said about those twice.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Map, Value as Json, json};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::schema::{FORMAT_CIDR, FORMAT_IP, FORMAT_SHARE};
use super::tree::{Finding, Path};
use super::upgrade::Share;
use super::validate::{is_secret_key, secret, userinfo};
pub(crate) use crate::nearest::nearest;

/// What the walk found.
pub(super) struct Shape {
    /// The inventory as JSON that fits the schema.
    pub json: Json,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// The paths that hold a stand-in.
    pub poisoned: Vec<Path>,
}

/// Holds `root` against `schema`.
pub(super) fn check(schema: &Json, root: &DeTable<'_>) -> Shape {
    let mut walk = Walk { schema, path: Vec::new(), findings: Vec::new(), poisoned: Vec::new() };
    let json = walk.table(schema, root);
    Shape { json, findings: walk.findings, poisoned: walk.poisoned }
}

struct Walk<'s> {
    schema: &'s Json,
    path: Path,
    findings: Vec<Finding>,
    poisoned: Vec<Path>,
}

impl<'s> Walk<'s> {
    fn say(&mut self, message: impl Into<String>, help: impl Into<String>) {
        self.findings.push(Finding::error(self.path.clone(), message, help));
    }

    // Follows `$ref` and takes the part of an `anyOf` that is not null.
    fn resolve(&self, schema: &'s Json) -> &'s Json {
        if let Some(name) = schema.get("$ref").and_then(Json::as_str)
            && let Some(target) = name.strip_prefix('#').and_then(|pointer| self.schema.pointer(pointer))
        {
            return self.resolve(target);
        }
        let some = |s: &&Json| s.get("type").and_then(Json::as_str) != Some("null");
        match schema.get("anyOf").and_then(Json::as_array).and_then(|any| any.iter().find(some)) {
            Some(inner) => self.resolve(inner),
            None => schema,
        }
    }

    // None when the value is no good; that has been said.
    fn value(&mut self, schema: &'s Json, value: &Spanned<DeValue<'_>>) -> Option<Json> {
        let schema = self.resolve(schema);
        let value = value.get_ref();
        if let Some(choices) = choices(schema) {
            return self.choice(&choices, value);
        }
        if schema.get("format").and_then(Json::as_str) == Some(FORMAT_SHARE) {
            return self.share(value);
        }
        let Some(kind) = kind(schema) else { return self.free(value) };
        match (kind, value) {
            ("object", DeValue::Table(table)) => Some(self.table(schema, table)),
            ("array", DeValue::Array(items)) => {
                let item_schema = schema.get("items").unwrap_or(&Json::Bool(true));
                let mut out = Vec::new();
                for (index, item) in items.iter().enumerate() {
                    self.path.push(index.to_string());
                    // An item that is no good keeps its place: later findings name items by their index.
                    let json = self.value(item_schema, item).unwrap_or_else(|| self.stand_in(item_schema));
                    out.push(json);
                    self.path.pop();
                }
                Some(Json::Array(out))
            }
            ("string", DeValue::String(text)) => {
                self.format(schema.get("format").and_then(Json::as_str), text).then(|| json!(text))
            }
            ("boolean", DeValue::Boolean(flag)) => Some(json!(flag)),
            ("integer", DeValue::Integer(_)) => self.integer(schema, value),
            _ => {
                let (want, like) = in_words(kind);
                self.say(format!("expected {want}, found {}", value_in_words(value)), format!("write it like {like}"));
                None
            }
        }
    }

    fn table(&mut self, schema: &'s Json, table: &DeTable<'_>) -> Json {
        let schema = self.resolve(schema);
        let mut out = Map::new();
        let Some(properties) = schema.get("properties").and_then(Json::as_object) else {
            let inner = schema.get("additionalProperties").unwrap_or(&Json::Bool(true));
            for (key, value) in table {
                self.path.push(key.get_ref().to_string());
                if let Some(json) = self.value(inner, value) {
                    out.insert(key.get_ref().to_string(), json);
                }
                self.path.pop();
            }
            return Json::Object(out);
        };
        let required: Vec<&str> =
            schema.get("required").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str).collect();
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            self.path.push(name.to_owned());
            match properties.get(name) {
                Some(inner) => match self.value(inner, value) {
                    Some(json) => {
                        out.insert(name.to_owned(), json);
                    }
                    None if required.contains(&name) => {
                        let json = self.stand_in(inner);
                        out.insert(name.to_owned(), json);
                    }
                    None => self.poisoned.push(self.path.clone()),
                },
                None => self.unknown(name, properties, table),
            }
            self.path.pop();
        }
        for name in required {
            let (false, Some(inner)) = (table.contains_key(name), properties.get(name)) else { continue };
            let like = in_words(kind(self.resolve(inner)).unwrap_or("string")).1;
            let help = match (choices(self.resolve(inner)), kind(self.resolve(inner))) {
                (Some(all), _) => format!("add `{name} = \"...\"`: one of {}", quoted(&all)),
                (None, Some("object")) => format!("add a table `[{name}]`"),
                (None, _) => format!("add `{name} = {like}`"),
            };
            self.say(format!("`{name}` is missing"), help);
            self.path.push(name.to_owned());
            let json = self.stand_in(inner);
            out.insert(name.to_owned(), json);
            self.path.pop();
        }
        Json::Object(out)
    }

    fn unknown(&mut self, name: &str, properties: &Map<String, Json>, table: &DeTable<'_>) {
        if is_secret_key(name) {
            self.findings.push(secret(self.path.clone()));
            return;
        }
        let free: Vec<&str> = properties.keys().map(String::as_str).filter(|k| !table.contains_key(*k)).collect();
        let all: Vec<&str> = properties.keys().map(String::as_str).collect();
        let help = match nearest(name, &free) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("keys known here: {}", all.join(", ")),
        };
        let mut finding = Finding::error(self.path.clone(), format!("unknown key `{}`", shown(name)), help);
        finding.on_key = true;
        self.findings.push(finding);
    }

    fn choice(&mut self, choices: &[&str], value: &DeValue<'_>) -> Option<Json> {
        let DeValue::String(text) = value else {
            self.say(
                format!("expected a string, found {}", value_in_words(value)),
                format!("one of {}", quoted(choices)),
            );
            return None;
        };
        if choices.contains(&text.as_ref()) {
            return Some(json!(text));
        }
        let near = nearest(text, choices).map_or(String::new(), |n| format!("did you mean \"{n}\"? "));
        self.say(
            format!("\"{}\" is not one of the choices here", shown(text)),
            format!("{near}one of {}", quoted(choices)),
        );
        None
    }

    fn format(&mut self, format: Option<&str>, text: &str) -> bool {
        let fits = match format {
            Some(FORMAT_IP) => text.parse::<IpAddr>().is_ok(),
            Some(FORMAT_CIDR) => text.parse::<IpNet>().is_ok(),
            _ => return true,
        };
        if !fits {
            let (what, like) = match format {
                Some(FORMAT_IP) => ("an IP address", "\"192.168.10.11\" or \"fd00::11\"; names have no place here"),
                _ => ("a network", "\"10.244.0.0/16\" or \"fd00:10:244::/56\""),
            };
            self.say(format!("\"{}\" is not {what}", shown(text)), format!("write it like {like}"));
        }
        fits
    }

    fn integer(&mut self, schema: &Json, value: &DeValue<'_>) -> Option<Json> {
        let number = number(value);
        let least = schema.get("minimum").and_then(Json::as_i64).unwrap_or(i64::MIN);
        let most = schema.get("maximum").and_then(Json::as_i64).unwrap_or(i64::MAX);
        match number {
            Some(n) if (least..=most).contains(&n) => Some(json!(n)),
            _ => {
                let help = if most == i64::MAX {
                    format!("a whole number, {least} or more")
                } else {
                    format!("a whole number from {least} to {most}")
                };
                self.say("the number is out of range", help);
                None
            }
        }
    }

    // A number of things, or a percentage of them.
    fn share(&mut self, value: &DeValue<'_>) -> Option<Json> {
        let json = match value {
            DeValue::String(text) => json!(text),
            _ => json!(number(value)),
        };
        if serde_json::from_value::<Share>(json.clone()).is_ok() {
            return Some(json);
        }
        let message = match value {
            DeValue::String(text) => format!("\"{}\" is not a share", shown(text)),
            DeValue::Integer(_) => "the number is out of range".into(),
            _ => format!("expected a whole number or a percentage, found {}", value_in_words(value)),
        };
        self.say(message, "write a number, 1 or more, or a percentage from \"1%\" to \"100%\"");
        None
    }

    // A value that the schema leaves open: passed on to Kubernetes or containerd.
    fn free(&mut self, value: &DeValue<'_>) -> Option<Json> {
        let json = match value {
            DeValue::String(text) => json!(text),
            DeValue::Boolean(flag) => json!(flag),
            DeValue::Integer(_) => match number(value) {
                Some(n) => json!(n),
                None => return self.too_large(),
            },
            DeValue::Float(float) => match float.as_str().parse::<f64>() {
                Ok(f) if f.is_finite() => json!(f),
                _ => return self.too_large(),
            },
            DeValue::Datetime(when) => json!(when.to_string()),
            DeValue::Array(items) => items.iter().filter_map(|item| self.free(item.get_ref())).collect(),
            DeValue::Table(table) => table
                .iter()
                .filter_map(|(key, value)| Some((key.get_ref().to_string(), self.free(value.get_ref())?)))
                .collect::<Map<_, _>>()
                .into(),
        };
        Some(json)
    }

    fn too_large(&mut self) -> Option<Json> {
        self.say("the number cannot be passed on", "use a finite number of at most 64 bits, or a string");
        None
    }

    // Something that fits the schema, in the place of something that does not.
    fn stand_in(&mut self, schema: &'s Json) -> Json {
        self.poisoned.push(self.path.clone());
        let schema = self.resolve(schema);
        if let Some(choices) = choices(schema) {
            return json!(choices.first());
        }
        match kind(schema) {
            Some("object") => {
                let mut out = Map::new();
                let required = schema.get("required").and_then(Json::as_array);
                for name in required.into_iter().flatten().filter_map(Json::as_str) {
                    if let Some(inner) = schema.get("properties").and_then(|p| p.get(name)) {
                        out.insert(name.to_owned(), self.stand_in(inner));
                    }
                }
                Json::Object(out)
            }
            Some("array") => json!([]),
            Some("integer") => json!(schema.get("minimum").and_then(Json::as_i64).unwrap_or(0)),
            Some("boolean") => json!(false),
            _ => match schema.get("format").and_then(Json::as_str) {
                Some(FORMAT_IP) => json!("192.0.2.1"),
                Some(FORMAT_CIDR) => json!("192.0.2.0/24"),
                _ => json!(""),
            },
        }
    }
}

fn number(value: &DeValue<'_>) -> Option<i64> {
    let integer = value.as_integer()?;
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

// The type of a schema, apart from null.
fn kind(schema: &Json) -> Option<&str> {
    match schema.get("type")? {
        Json::Array(kinds) => kinds.iter().filter_map(Json::as_str).find(|k| *k != "null"),
        one => one.as_str(),
    }
}

// The strings that an enumeration allows.
fn choices(schema: &Json) -> Option<Vec<&str>> {
    if let Some(all) = schema.get("enum").and_then(Json::as_array) {
        return Some(all.iter().filter_map(Json::as_str).collect());
    }
    let one_of = schema.get("oneOf")?.as_array()?;
    Some(
        one_of
            .iter()
            .flat_map(|s| match (s.get("const"), s.get("enum").and_then(Json::as_array)) {
                (Some(one), _) => one.as_str().into_iter().collect(),
                (None, Some(some)) => some.iter().filter_map(Json::as_str).collect(),
                (None, None) => Vec::new(),
            })
            .collect(),
    )
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|w| format!("\"{w}\"")).collect::<Vec<_>>().join(", ")
}

/// Text of the file as part of a message: short, without control characters, and without a password in a URL.
pub(super) fn shown(text: &str) -> String {
    let mut open = text.to_owned();
    for range in userinfo(text).into_iter().rev() {
        open.replace_range(range, "***");
    }
    open.chars().filter(|c| !c.is_control()).take(80).collect()
}

fn in_words(kind: &str) -> (&'static str, &'static str) {
    match kind {
        "object" => ("a table", "`[name]` or `{ key = ... }`"),
        "array" => ("a list", "[\"...\", \"...\"]"),
        "integer" => ("a whole number", "6443"),
        "boolean" => ("true or false", "true"),
        _ => ("a string", "\"...\""),
    }
}

fn value_in_words(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
