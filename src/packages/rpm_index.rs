//! An rpm repository's metadata: `repomd.xml` and `primary.xml`. Pure. On quick-xml: a pull parser that expands no
//! entities but XML's own five, so a document cannot grow on being read.

use std::collections::BTreeMap;
use std::io::BufRead;

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use super::catalog::{Candidate, Catalog};
use super::relation::{Op, parse_rpm};
use super::rpm_local::RELATIONS;
use super::stanza::render;
use crate::bundle::Digest;
use crate::error::{Error, Result};

/// Where the primary index is, and what it has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Primary {
    /// Its path beside the repository's base URL.
    pub path: String,
    /// Its digest.
    pub sha256: Digest,
    /// Its size in bytes when unpacked.
    pub unpacked: Option<u64>,
}

/// An element with its attributes and, once it ended, its text.
#[derive(Debug, Default)]
struct Element {
    name: String,
    attributes: BTreeMap<String, String>,
    text: String,
}

impl Element {
    fn get(&self, attribute: &str) -> &str {
        self.attributes.get(attribute).map(String::as_str).unwrap_or_default()
    }
}

/// Calls `each` at the end of every element, with the elements around it from the root on.
fn each_element(
    what: &str,
    reader: &mut dyn BufRead,
    each: &mut dyn FnMut(&[Element], Element) -> Result<()>,
) -> Result<()> {
    /// Deeper than any such document is.
    const MAX_DEPTH: usize = 32;
    let broken = |e: &dyn std::fmt::Display| Error::invalid(format!("{what} is broken XML")).source(e.to_string());
    let mut reader = Reader::from_reader(reader);
    let (mut open, mut buffer): (Vec<Element>, Vec<u8>) = (Vec::new(), Vec::new());
    loop {
        buffer.clear();
        match reader.read_event_into(&mut buffer).map_err(|e| broken(&e))? {
            Event::Eof if open.is_empty() => return Ok(()),
            Event::Eof => return Err(broken(&"it ends too early")),
            Event::Start(start) => {
                open.push(element(&start).map_err(|e| broken(&e))?);
                if open.len() > MAX_DEPTH {
                    return Err(broken(&format!("its elements are more than {MAX_DEPTH} deep")));
                }
            }
            Event::Empty(start) => each(&open, element(&start).map_err(|e| broken(&e))?)?,
            Event::End(_) => {
                let ended = open.pop().ok_or_else(|| broken(&"an element ends that did not begin"))?;
                each(&open, ended)?;
            }
            Event::Text(text) => {
                if let Some(last) = open.last_mut() {
                    last.text.push_str(&text);
                }
            }
            Event::GeneralRef(name) => {
                let text = quick_xml::escape::unescape(&format!("&{};", &*name)).map_err(|e| broken(&e))?.into_owned();
                if let Some(last) = open.last_mut() {
                    last.text.push_str(&text);
                }
            }
            _ => {}
        }
    }
}

fn element(start: &BytesStart<'_>) -> quick_xml::Result<Element> {
    let mut attributes = BTreeMap::new();
    for attribute in start.attributes() {
        let attribute = attribute?;
        let value = attribute.normalized_value(XmlVersion::Implicit1_0)?.into_owned();
        attributes.insert(attribute.key.as_ref().to_owned(), value);
    }
    Ok(Element { name: start.name().as_ref().to_owned(), attributes, text: String::new() })
}

fn inside(what: &str, path: &str) -> Result<String> {
    if path.is_empty() || path.starts_with('/') || path.split('/').any(|p| p == "..") || path.contains("://") {
        return Err(Error::invalid(format!("{what} names `{path}`, which is outside of the repository")));
    }
    Ok(path.trim_start_matches("./").to_owned())
}

/// Reads `repomd.xml`.
///
/// Errors (`Invalid`): broken XML; no primary index, or none with a sha256.
pub fn parse_repomd(what: &str, bytes: &[u8]) -> Result<Primary> {
    let (mut path, mut sha256, mut unpacked) = (None, None, None);
    each_element(what, &mut &bytes[..], &mut |around, ended| {
        if !around.last().is_some_and(|data| data.name == "data" && data.get("type") == "primary") {
            return Ok(());
        }
        match ended.name.as_str() {
            "location" => path = Some(inside(what, ended.get("href"))?),
            "checksum" if ended.get("type") == "sha256" => sha256 = Some(ended.text.trim().parse()?),
            "open-size" => unpacked = ended.text.trim().parse().ok(),
            _ => {}
        }
        Ok(())
    })?;
    match (path, sha256) {
        (Some(path), Some(sha256)) => Ok(Primary { path, sha256, unpacked }),
        (None, _) => Err(Error::invalid(format!("{what} names no primary index"))),
        (Some(_), None) => Err(Error::invalid(format!("{what} has no sha256 of the primary index"))
            .hint("older digests prove nothing any more; ask the repository's owner to publish SHA256")),
    }
}

/// Adds the packages of a `primary.xml` to the catalog. `arch` is the architecture as rpm names it.
pub fn read_primary(
    what: &str,
    reader: &mut dyn BufRead,
    repository: usize,
    arch: &str,
    catalog: &mut Catalog,
) -> Result<()> {
    let mut package = Gathered::default();
    each_element(what, reader, &mut |around, ended| {
        if ended.name == "package" {
            let gathered = std::mem::take(&mut package);
            let own = gathered.fields.get("Arch").map(String::as_str).unwrap_or_default();
            return if own == arch || own == "noarch" {
                catalog.add(gathered.candidate(what, repository)?)
            } else {
                Ok(())
            };
        }
        if around.iter().any(|e| e.name == "package") {
            package.take(what, around.last().map(|e| e.name.as_str()).unwrap_or_default(), &ended)?;
        }
        Ok(())
    })
}

/// What the elements of one package say.
#[derive(Default)]
struct Gathered {
    version: String,
    path: String,
    size: Option<u64>,
    sha256: Option<Digest>,
    fields: BTreeMap<String, String>,
}

impl Gathered {
    fn take(&mut self, what: &str, parent: &str, ended: &Element) -> Result<()> {
        let mut line = |field: &str, text: &str| {
            let value = self.fields.entry(field.to_owned()).or_default();
            if !value.is_empty() {
                value.push('\n');
            }
            value.push_str(text);
        };
        // One word or one relation: nothing may pass for the start of another line.
        let clean = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        match (parent, ended.name.as_str()) {
            ("package", "name") => line("Name", &clean(&ended.text)),
            ("package", "arch") => line("Arch", &clean(&ended.text)),
            ("package", "version") => {
                let epoch = Some(ended.get("epoch")).filter(|e| !e.is_empty() && *e != "0");
                self.version = clean(&format!(
                    "{}{}-{}",
                    epoch.map(|e| format!("{e}:")).unwrap_or_default(),
                    ended.get("ver"),
                    ended.get("rel")
                ));
            }
            ("package", "checksum") if ended.get("type") == "sha256" => {
                self.sha256 = Some(ended.text.trim().parse()?);
            }
            ("package", "size") => self.size = ended.get("package").parse().ok(),
            ("package", "location") => self.path = inside(what, ended.get("href"))?,
            ("format", "file") => line("Files", &clean(&ended.text)),
            (_, "rpm:entry") => {
                if let Some((_, field)) = RELATIONS.iter().find(|(element, _)| *element == parent) {
                    line(field, &clean(&entry(ended)));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn candidate(self, what: &str, repository: usize) -> Result<Candidate> {
        let name = self.fields.get("Name").cloned().unwrap_or_default();
        let lacks = |thing: &str| Error::invalid(format!("{what}, package `{name}`, has no {thing}"));
        if name.is_empty() || self.version.is_empty() || self.path.is_empty() {
            return Err(lacks("name, version or location"));
        }
        let mut provides = Vec::new();
        for text in self.fields.get("Provides").into_iter().flat_map(|p| p.lines()) {
            for relation in parse_rpm(text)?.into_iter().flat_map(|r| r.any) {
                let version = relation.constraint.filter(|(op, _)| *op == Op::Equal).map(|(_, version)| version);
                provides.push((relation.name, version));
            }
        }
        provides.extend(self.fields.get("Files").into_iter().flat_map(|f| f.lines()).map(|f| (f.to_owned(), None)));
        Ok(Candidate {
            repository,
            base: false,
            rank: 0,
            size: self.size.ok_or_else(|| lacks("size"))?,
            sha256: self.sha256.clone().ok_or_else(|| lacks("sha256"))?,
            provides,
            fields: render(&self.fields, &["Name", "Arch"]),
            path: self.path.clone(),
            version: self.version.clone(),
            name: name.clone(),
        })
    }
}

fn entry(element: &Element) -> String {
    let op = match element.get("flags") {
        "LT" => "<",
        "LE" => "<=",
        "EQ" => "=",
        "GE" => ">=",
        "GT" => ">",
        _ => return element.get("name").to_owned(),
    };
    let part = |name: &str, before: &str, after: &str| match element.get(name) {
        "" => String::new(),
        value => format!("{before}{value}{after}"),
    };
    let epoch = if element.get("epoch") == "0" { String::new() } else { part("epoch", "", ":") };
    format!("{} {op} {epoch}{}{}", element.get("name"), element.get("ver"), part("rel", "-", ""))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::local::{LocalPackage, local_index, local_release, pool_path};
    use super::super::resolve::resolve;
    use super::*;
    use crate::inventory::{Arch, PackageKind};

    const PRIMARY: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<metadata xmlns="http://linux.duke.edu/metadata/common" xmlns:rpm="http://linux.duke.edu/metadata/rpm" packages="3">
<package type="rpm"><name>app</name><arch>x86_64</arch><version epoch="0" ver="1.0" rel="2"/>
<checksum type="sha256" pkgid="YES">SUM</checksum><size package="7"/><location href="Packages/app.rpm"/>
<format><rpm:provides><rpm:entry name="app" flags="EQ" epoch="0" ver="1.0" rel="2"/></rpm:provides>
<rpm:requires><rpm:entry name="/bin/tool"/><rpm:entry name="(none or lib &gt;= 2)"/><rpm:entry name="rpmlib(X)" flags="LE" ver="1"/><rpm:entry name="(extra if lib)"/></rpm:requires></format></package>
<package type="rpm"><name>lib</name><arch>noarch</arch><version epoch="1" ver="2" rel="1"/>
<checksum type="sha256" pkgid="YES">SUM</checksum><size package="7"/><location href="lib.rpm"/>
<format><file>/bin/tool</file><rpm:provides><rpm:entry name="lib" flags="EQ" epoch="1" ver="2" rel="1"/></rpm:provides></format></package>
<package type="rpm"><name>extra</name><arch>x86_64</arch><version epoch="0" ver="1" rel="1"/>
<checksum type="sha256" pkgid="YES">SUM</checksum><size package="7"/><location href="extra.rpm"/><format/></package>
</metadata>"#;

    fn catalog(xml: &str) -> Result<Catalog> {
        let mut catalog = Catalog::new(PackageKind::Rpm, "amd64");
        read_primary("the test", &mut xml.replace("SUM", &"0".repeat(64)).as_bytes(), 0, "x86_64", &mut catalog)?;
        Ok(catalog)
    }

    #[test]
    fn a_set_is_closed_and_its_own_metadata_say_the_same() -> Result<()> {
        let read = catalog(PRIMARY)?;
        let set = resolve(&read, &["app"], true)?;
        let shown: Vec<String> =
            set.iter().map(|i| format!("{} {}", read.get(*i).name, read.get(*i).version)).collect();
        assert_eq!(shown, ["app 1.0-2", "extra 1-1", "lib 1:2-1"]);
        let controls: Vec<_> = set.iter().map(|i| read.get(*i).control()).collect();
        let local: Vec<LocalPackage<'_>> = set
            .iter()
            .zip(&controls)
            .map(|(i, control)| {
                let own = read.get(*i);
                LocalPackage { name: &own.name, version: &own.version, sha256: &own.sha256, size: own.size, control }
            })
            .collect();
        let xml = local_index(PackageKind::Rpm, Arch::Amd64, &local);
        let again = catalog(&xml)?;
        for index in again.places() {
            let (new, old) = (again.get(index), read.get(set[index]));
            assert_eq!((&new.name, &new.version, new.control()), (&old.name, &old.version, old.control()));
            assert_eq!(new.path, pool_path(PackageKind::Rpm, &old.name, &old.version, Arch::Amd64));
        }
        let digest = Digest::of(xml.as_bytes());
        let (_, repomd) = local_release(PackageKind::Rpm, Arch::Amd64, &digest, xml.len() as u64);
        assert_eq!(parse_repomd("the test", repomd.as_bytes())?.sha256, digest);
        Ok(())
    }

    #[test]
    fn what_is_not_understood_is_named() {
        let odd = PRIMARY.replace("(none or lib &gt;= 2)", "(a unless b)");
        let said =
            catalog(&odd).and_then(|c| resolve(&c, &["app"], true)).err().map(|e| e.report()).unwrap_or_default();
        assert!(said.contains("(a unless b)") && said.contains("app 1.0-2"), "{said}");
    }

    proptest! {
        #[test]
        fn no_bytes_make_them_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), at in 0usize..1500, put in "\\PC{0,6}") {
            let mut empty = Catalog::new(PackageKind::Rpm, "amd64");
            let _ = read_primary("the test", &mut &bytes[..], 0, "x86_64", &mut empty);
            let _ = parse_repomd("the test", &bytes);
            let mut edited = PRIMARY.to_owned();
            edited.insert_str(at % PRIMARY.len(), &put);
            if let Ok(read) = catalog(&edited) {
                let _ = resolve(&read, &["app"], true);
            }
            let _ = parse_repomd("the test", edited.as_bytes());
        }
    }
}
