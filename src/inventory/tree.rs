//! The inventory's text as a tree with spans, walked against the schema: unknown keys and wrong types, all at once.

use std::ops::Range;

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A step of a path into the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seg {
    /// A key.
    Key(String),
    /// A place in an array.
    At(usize),
}

impl From<&str> for Seg {
    fn from(key: &str) -> Self {
        Self::Key(key.into())
    }
}
impl From<usize> for Seg {
    fn from(at: usize) -> Self {
        Self::At(at)
    }
}

/// Something the schema does not allow.
pub(super) struct Misfit {
    pub(super) span: Range<usize>,
    pub(super) message: String,
    pub(super) help: String,
}

/// The place of a path: of the value, or of the nearest thing above it that is there.
pub(super) fn locate(root: &Spanned<DeTable<'_>>, path: &[Seg]) -> Range<usize> {
    let Some((Seg::Key(first), rest)) = path.split_first() else {
        return 0..0;
    };
    let Some((key, mut value)) = root.get_ref().iter().find(|(k, _)| k.get_ref().as_ref() == first) else {
        return 0..0;
    };
    let mut span = if rest.is_empty() { value.span() } else { key.span() };
    for seg in rest {
        let next = match (seg, value.get_ref()) {
            (Seg::Key(name), DeValue::Table(table)) => {
                table.iter().find(|(k, _)| k.get_ref().as_ref() == name).map(|(_, v)| v)
            }
            (Seg::At(at), DeValue::Array(array)) => array.get(*at),
            _ => None,
        };
        match next {
            Some(next) => {
                value = next;
                span = value.span();
            }
            None => break,
        }
    }
    span
}

/// Everything in the tree that the schema does not allow.
pub(super) fn misfits(root: &Spanned<DeTable<'_>>, schema: &Value) -> Vec<Misfit> {
    let mut found = Vec::new();
    table(root.get_ref(), schema, schema, &mut found);
    found
}

fn resolve<'a>(schema: &'a Value, whole: &'a Value) -> &'a Value {
    let Some(reference) = schema.get("$ref").and_then(Value::as_str) else {
        return schema;
    };
    reference.strip_prefix('#').and_then(|pointer| whole.pointer(pointer)).unwrap_or(schema)
}

fn table(found: &DeTable<'_>, schema: &Value, whole: &Value, out: &mut Vec<Misfit>) {
    let properties = schema.get("properties").and_then(Value::as_object);
    let additional = schema.get("additionalProperties");
    for (key, value) in found {
        let name = key.get_ref().as_ref();
        if let Some(inner) = properties.and_then(|p| p.get(name)) {
            check(value, inner, whole, out);
        } else if let Some(inner @ Value::Object(_)) = additional {
            check(value, inner, whole, out);
        } else if additional == Some(&Value::Bool(false)) {
            let known: Vec<&str> = properties.map(|p| p.keys().map(String::as_str).collect()).unwrap_or_default();
            out.push(unknown(name, key.span(), &known));
        }
    }
}

fn unknown(name: &str, span: Range<usize>, known: &[&str]) -> Misfit {
    let lower = name.to_ascii_lowercase();
    let secret = ["password", "passphrase", "secret", "token"].iter().any(|w| lower.contains(w));
    let (message, help) = if secret {
        (
            format!("a secret (`{name}`) does not belong in the inventory"),
            "name where it is instead: an environment variable (`env`, `password_env`) or a file (`file`, `password_file`)".into(),
        )
    } else {
        let nearest = known.iter().map(|k| (distance(name, k), *k)).min().filter(|(d, k)| *d <= 2.max(k.len() / 3));
        let help = match nearest {
            Some((_, key)) => format!("did you mean `{key}`?"),
            None => format!("known here: {}", known.join(", ")),
        };
        (format!("unknown key `{name}`"), help)
    };
    Misfit { span, message, help }
}

fn check(value: &Spanned<DeValue<'_>>, schema: &Value, whole: &Value, out: &mut Vec<Misfit>) {
    let schema = resolve(schema, whole);
    // An optional setting is "this or null"; TOML has no null.
    if let Some(options) = schema.get("anyOf").and_then(Value::as_array) {
        if let Some(inner) = options.iter().find(|o| o.get("type").and_then(Value::as_str) != Some("null")) {
            check(value, inner, whole, out);
        }
        return;
    }
    let choices = choices(schema);
    if !choices.is_empty() {
        let given = match value.get_ref() {
            DeValue::String(text) => Some(text.as_ref()),
            _ => None,
        };
        if !given.is_some_and(|g| choices.contains(&g)) {
            out.push(Misfit {
                span: value.span(),
                message: match given {
                    Some(given) => format!("`{given}` is not one of the values this setting takes"),
                    None => "this setting takes a word".into(),
                },
                help: format!("it takes: {}", choices.join(", ")),
            });
        }
        return;
    }
    let types: Vec<&str> = match schema.get("type") {
        Some(Value::String(one)) => vec![one.as_str()],
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).filter(|t| *t != "null").collect(),
        _ => return,
    };
    let is = match value.get_ref() {
        DeValue::String(_) | DeValue::Datetime(_) => "string",
        DeValue::Integer(_) => "integer",
        DeValue::Float(_) => "number",
        DeValue::Boolean(_) => "boolean",
        DeValue::Array(_) => "array",
        DeValue::Table(_) => "object",
    };
    if !types.contains(&is) && !(is == "integer" && types.contains(&"number")) {
        let name = |t: &str| if t == "object" { "table".to_owned() } else { t.to_owned() };
        out.push(Misfit {
            span: value.span(),
            message: format!(
                "this is a {}, the setting takes a {}",
                name(is),
                types.iter().map(|t| name(t)).collect::<Vec<_>>().join(" or a ")
            ),
            help: String::new(),
        });
        return;
    }
    match value.get_ref() {
        DeValue::Table(inner) => table(inner, schema, whole, out),
        DeValue::Array(items) => {
            if let Some(inner) = schema.get("items") {
                for item in items {
                    check(item, inner, whole, out);
                }
            }
        }
        _ => {}
    }
}

fn choices(schema: &Value) -> Vec<&str> {
    let listed = schema.get("enum").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let consts = schema
        .get("oneOf")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .flat_map(|o| o.get("const").and_then(Value::as_str).into_iter().chain(choices_of(o)));
    listed.chain(consts).collect()
}

fn choices_of(option: &Value) -> impl Iterator<Item = &str> {
    option.get("enum").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}
