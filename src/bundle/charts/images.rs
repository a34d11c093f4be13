//! The images that Kubernetes objects name. Pure; property-tested.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess as _, Visitor};

use crate::error::{Error, Result};
use crate::image::full_name;

/// Deeper than any object is nested; beyond it is an attack on the stack.
const MAX_DEPTH: usize = 100;
/// The lists of a pod's containers.
const LISTS: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];

/// The full names of all images in YAML documents: those of every container of every pod template, whatever kind it
/// is inside of. What an operator reads from elsewhere is not seen: `images = [...]` names it.
///
/// Errors (`Invalid`): broken YAML, or an image that is none.
pub fn images_in(yaml: &str) -> Result<BTreeSet<String>> {
    let mut named = BTreeSet::new();
    for document in serde_yaml_ng::Deserializer::from_str(yaml) {
        let node = Node::deserialize(document).map_err(|e| Error::invalid("failed to read the objects").source(e))?;
        walk(&node, &mut named, 0)?;
    }
    let mut full = BTreeSet::new();
    for image in named {
        // An empty image is one that a controller fills in.
        if !image.is_empty() {
            let name = full_name(&image).ok_or_else(|| Error::invalid(format!("`{image}` is not an image")))?;
            full.insert(name);
        }
    }
    Ok(full)
}

/// YAML as it is written. serde_yaml's own value refuses a key that stands twice; kubectl and helm do not.
enum Node {
    Map(Vec<(Node, Node)>),
    List(Vec<Node>),
    Text(String),
    Other,
}

impl Node {
    fn is(&self, words: &[&str]) -> bool {
        matches!(self, Self::Text(text) if words.contains(&text.as_str()))
    }
}

fn walk(node: &Node, named: &mut BTreeSet<String>, depth: usize) -> Result<()> {
    if depth > MAX_DEPTH {
        return Err(Error::invalid(format!("the objects are nested more than {MAX_DEPTH} deep")));
    }
    match node {
        Node::Map(entries) => {
            for (key, value) in entries {
                if let (true, Node::List(containers)) = (key.is(&LISTS), value) {
                    containers.iter().for_each(|c| image_of(c, named, depth));
                }
                walk(value, named, depth + 1)?;
            }
        }
        Node::List(items) => {
            for item in items {
                walk(item, named, depth + 1)?;
            }
        }
        Node::Text(_) | Node::Other => {}
    }
    Ok(())
}

fn image_of(container: &Node, named: &mut BTreeSet<String>, depth: usize) {
    let Node::Map(entries) = container else { return };
    for (key, value) in entries {
        match value {
            Node::Text(image) if key.is(&["image"]) => {
                named.insert(image.trim().to_owned());
            }
            // `<<: *anchor` merges another map into this one.
            Node::Map(_) if key.is(&["<<"]) && depth <= MAX_DEPTH => image_of(value, named, depth + 1),
            _ => {}
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML")
    }
    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Text(text.to_owned()))
    }
    fn visit_bool<E>(self, _: bool) -> Result<Node, E> {
        Ok(Node::Other)
    }
    fn visit_i64<E>(self, _: i64) -> Result<Node, E> {
        Ok(Node::Other)
    }
    fn visit_i128<E>(self, _: i128) -> Result<Node, E> {
        Ok(Node::Other)
    }
    fn visit_u64<E>(self, _: u64) -> Result<Node, E> {
        Ok(Node::Other)
    }
    fn visit_u128<E>(self, _: u128) -> Result<Node, E> {
        Ok(Node::Other)
    }
    fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
        Ok(Node::Other)
    }
    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Other)
    }
    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Other)
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Node::Map(entries))
    }
    // A value with a tag of its own, like `!!binary`.
    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<Node, A::Error> {
        let (_, variant) = data.variant::<Node>()?;
        variant.newtype_variant()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(yaml: &str) -> Vec<String> {
        images_in(yaml).unwrap_or_else(|e| panic!("{}", e.report())).into_iter().collect()
    }

    #[test]
    fn containers_of_any_kind_are_seen() {
        let yaml = "
apiVersion: apps/v1
kind: Deployment
spec:
  template:
    spec:
      initContainers: [{name: a, image: busybox:1.36}]
      containers:
        - {name: b, image: 'quay.io/b/b:v1', image: quay.io/b/b:v2}
        - {name: c, image: \"\"}
        - {name: d}
---
# nothing but a comment
---
kind: List
items:
  - kind: CronJob
    spec: {jobTemplate: {spec: {template: {spec: {containers: [{image: cron}]}}}}}
  - kind: Widget
    spec: {podTemplate: {spec: {ephemeralContainers: [{image: r.example/e:1}]}}}
  - kind: CustomResourceDefinition
    spec: {properties: {containers: {type: array, image: no}}, image: not/me}
---
base: &base {image: r.example/merged:1}
spec: {containers: [{<<: *base, name: x}]}
1: {true: [2]}
tagged: !Thing {containers: [{image: r.example/tagged:1}]}
";
        assert_eq!(
            found(yaml),
            [
                "docker.io/library/busybox:1.36",
                "docker.io/library/cron:latest",
                "quay.io/b/b:v1",
                "quay.io/b/b:v2",
                "r.example/e:1",
                "r.example/merged:1",
                "r.example/tagged:1",
            ]
        );
        assert!(found("").is_empty());
    }

    #[test]
    fn what_is_no_yaml_and_no_image_is_named() {
        assert!(images_in("a: [").is_err());
        let error = images_in("containers: [{image: 'a b'}]").map_err(|e| e.to_string());
        assert_eq!(error, Err("`a b` is not an image".into()));
        assert!(images_in(&"[".repeat(100_000)).is_err());
        assert!(images_in(&format!("{}{}", "{a: ".repeat(110), "}".repeat(110))).is_err());
        // Aliases of aliases of aliases.
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for n in 1..12 {
            let before = format!("*a{}, ", n - 1).repeat(10);
            bomb += &format!("a{n}: &a{n} [{before}]\n");
        }
        assert!(images_in(&bomb).is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(\\PC|\n){0,200}") {
            let _ = images_in(&text);
        }

        #[test]
        fn nothing_like_yaml_makes_it_panic(
            parts in prop::collection::vec(prop::sample::select(vec![
                "containers:", "image: ", "- ", "\n", "  ", "{", "}", "[", "]", "&a ", "*a", "<<: ", "!t ", "---\n", "\"", "x", ": ", ",", "? ", "| ", "1", "~", "!!binary ",
            ]), 0..40),
        ) {
            let _ = images_in(&parts.concat());
        }

        #[test]
        fn every_image_that_was_put_in_comes_out(
            images in prop::collection::btree_set("[a-z]{1,8}\\.example/[a-z]{1,8}:[a-z0-9]{1,8}", 0..6),
        ) {
            let pods: Vec<_> = images
                .iter()
                .map(|i| serde_json::json!({"kind": "Pod", "spec": {"containers": [{"image": i}]}}).to_string())
                .collect();
            prop_assert_eq!(images_in(&pods.join("\n---\n")).ok(), Some(images));
        }
    }
}
