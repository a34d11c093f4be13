//! All packages of the repositories of one type, and who provides what. Pure.

use std::collections::BTreeMap;

use super::relation::{Relation, Requirement, compare, parse_deb, parse_rpm};
use super::stanza::Stanza;
use crate::bundle::Digest;
use crate::error::{Error, Result};
use crate::inventory::PackageKind;

/// More packages than any set of repositories has; beyond it something is made up.
const MAX_PACKAGES: usize = 1_000_000;

/// A package of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its name.
    pub name: String,
    /// Its version, with epoch where it has one.
    pub version: String,
    /// Its place in the inventory's list of repositories.
    pub repository: usize,
    /// Every host has it (Debian's Essential and Priority required).
    pub base: bool,
    /// How near to the distribution's core it is, least first: which of several providers is taken.
    pub rank: u8,
    /// Where it is, beside the repository's base URL.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// The digest of the file.
    pub sha256: Digest,
    /// What it provides beside its name, with the version where one is given.
    pub provides: Vec<(String, Option<String>)>,
    /// The fields that a package manager reads, as a stanza. Relations are parsed when they are asked for: of tens of
    /// thousands of packages a few dozen are looked at.
    pub fields: String,
}

impl Candidate {
    /// The fields by name.
    #[must_use]
    pub fn control(&self) -> BTreeMap<String, String> {
        Stanza(&self.fields).fields().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// Packages by name and by what they provide.
pub struct Catalog {
    kind: PackageKind,
    arch: &'static str,
    all: Vec<Candidate>,
    named: BTreeMap<String, Vec<usize>>,
    provided: BTreeMap<String, Vec<(usize, Option<String>)>>,
}

impl Catalog {
    /// An empty one for packages of this type and (Debian) architecture.
    #[must_use]
    pub fn new(kind: PackageKind, arch: &'static str) -> Self {
        Self { kind, arch, all: Vec::new(), named: BTreeMap::new(), provided: BTreeMap::new() }
    }

    /// Its type of packages.
    #[must_use]
    pub fn kind(&self) -> PackageKind {
        self.kind
    }

    /// Adds a package.
    pub fn add(&mut self, mut candidate: Candidate) -> Result<()> {
        if self.all.len() >= MAX_PACKAGES {
            return Err(Error::invalid(format!("the repositories have more than {MAX_PACKAGES} packages")));
        }
        let index = self.all.len();
        self.named.entry(candidate.name.clone()).or_default().push(index);
        for (name, version) in std::mem::take(&mut candidate.provides) {
            self.provided.entry(name).or_default().push((index, version));
        }
        self.all.push(candidate);
        Ok(())
    }

    /// The package at this place.
    #[must_use]
    pub fn get(&self, index: usize) -> &Candidate {
        &self.all[index]
    }

    /// The places of all packages.
    pub fn places(&self) -> std::ops::Range<usize> {
        0..self.all.len()
    }

    /// The packages of this very name, the newest first; of two with one version that of the first repository.
    #[must_use]
    pub fn named(&self, name: &str) -> Vec<usize> {
        let mut found = self.named.get(name).cloned().unwrap_or_default();
        found.sort_by(|a, b| {
            let (a, b) = (self.get(*a), self.get(*b));
            compare(self.kind, &b.version, &a.version).then(a.repository.cmp(&b.repository))
        });
        found
    }

    /// Whether the package is what the relation means.
    #[must_use]
    pub fn is(&self, index: usize, relation: &Relation) -> bool {
        let own = self.get(index);
        (own.name == relation.name && relation.takes(self.kind, &own.version))
            || self
                .provided
                .get(&relation.name)
                .is_some_and(|p| p.iter().any(|(i, v)| *i == index && relation.takes_provided(self.kind, v.as_deref())))
    }

    /// The packages that a relation means, the best first: those of the name itself, then those that provide it, of
    /// which the distribution's core goes first and then the name decides. The same every time.
    #[must_use]
    pub fn matching(&self, relation: &Relation) -> Vec<usize> {
        let mut found = self.named(&relation.name);
        found.retain(|i| relation.takes(self.kind, &self.get(*i).version));
        let mut others: Vec<usize> = self
            .provided
            .get(&relation.name)
            .into_iter()
            .flatten()
            .filter(|(i, v)| relation.takes_provided(self.kind, v.as_deref()) && !found.contains(i))
            .map(|(i, _)| *i)
            .collect();
        others.sort_by(|a, b| {
            let (a, b) = (self.get(*a), self.get(*b));
            (a.rank, &a.name)
                .cmp(&(b.rank, &b.name))
                .then_with(|| compare(self.kind, &b.version, &a.version))
                .then(a.repository.cmp(&b.repository))
        });
        others.dedup();
        found.extend(others);
        found
    }

    /// What the package needs to be there.
    pub fn requirements(&self, index: usize) -> Result<Vec<Requirement>> {
        self.relations(index, &["Pre-Depends", "Depends"], &["Requires"])
    }

    /// What must not be beside it.
    pub fn conflicts(&self, index: usize) -> Result<Vec<Relation>> {
        let all = self.relations(index, &["Conflicts", "Breaks"], &["Conflicts", "Obsoletes"])?;
        Ok(all.into_iter().flat_map(|r| r.any).collect())
    }

    fn relations(&self, index: usize, deb: &[&str], rpm: &[&str]) -> Result<Vec<Requirement>> {
        let own = self.get(index);
        let stanza = Stanza(&own.fields);
        let of = || format!("failed to read the dependencies of {} {}", own.name, own.version);
        let mut all = Vec::new();
        match self.kind {
            PackageKind::Deb => {
                for field in deb.iter().filter_map(|f| stanza.get(f)) {
                    all.extend(parse_deb(&field, self.arch).map_err(|e| wrapped(of(), e))?);
                }
            }
            PackageKind::Rpm => {
                for field in rpm.iter().filter_map(|f| stanza.get(f)) {
                    for line in field.lines() {
                        all.extend(parse_rpm(line).map_err(|e| wrapped(of(), e))?);
                    }
                }
            }
        }
        Ok(all)
    }
}

fn wrapped(attempted: String, cause: Error) -> Error {
    Error::invalid(attempted).source(cause)
}
