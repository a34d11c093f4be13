//! From a few names to a closed set of packages. Pure and deterministic: no backtracking over choices, so what is chosen
//! can be followed by hand; a version that a later package rules out is chosen anew with that known.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::catalog::Catalog;
use super::relation::{Relation, Requirement};
use crate::error::{Error, Result};
use crate::inventory::PackageKind;

/// How often a choice may be made anew; each time one more package's versions are narrowed down.
const MAX_ROUNDS: usize = 200;

/// The places in `catalog` of `names` and all they need, by name. With `base` what every minimal host has is taken as
/// present: it is left out unless named.
///
/// Errors (`Invalid`): a name nobody has; a dependency nobody has, with the chain that needs it; versions that cannot
/// all be met; two packages that exclude each other, both named.
pub fn resolve(catalog: &Catalog, names: &[&str], base: bool) -> Result<Vec<usize>> {
    let present = if base { base_of(catalog)? } else { BTreeSet::new() };
    let mut roots = Vec::new();
    for name in names {
        if catalog.named(name).is_empty() {
            let provided = catalog.matching(&Relation::any(name));
            let error = Error::invalid(format!("no {} repository has the package {name}", catalog.kind().as_str()));
            return Err(match provided.first() {
                Some(other) => error.hint(format!("{} provides it: name that instead", catalog.get(*other).name)),
                None => error.hint("is the name right, and is the component it is in among those of the repository?"),
            });
        }
        roots.push((*name).to_owned());
    }
    let chosen = closed(catalog, &roots, &present, true)?;
    refuse_conflicts(catalog, &chosen)?;
    Ok(chosen.into_values().collect())
}

/// What every minimal host has: our own needs (systemd, and the package manager itself) and the distribution's core.
fn base_of(catalog: &Catalog) -> Result<BTreeSet<usize>> {
    let own: &[&str] = match catalog.kind() {
        PackageKind::Deb => &["apt", "systemd"],
        PackageKind::Rpm => &["dnf", "systemd"],
    };
    let mut roots: BTreeSet<String> =
        catalog.places().map(|i| catalog.get(i)).filter(|c| c.base).map(|c| c.name.clone()).collect();
    roots.extend(own.iter().filter(|n| !catalog.named(n).is_empty()).map(|n| (*n).to_owned()));
    let roots: Vec<String> = roots.into_iter().collect();
    Ok(closed(catalog, &roots, &BTreeSet::new(), false)?.into_values().collect())
}

/// A relation that a package has to fit, and who says so.
type Pins = BTreeMap<String, Vec<(Relation, String)>>;

enum Round {
    Done(BTreeMap<String, usize>),
    /// The versions of this package are narrower than was known.
    Again(String, Relation, String),
}

fn closed(
    catalog: &Catalog,
    roots: &[String],
    present: &BTreeSet<usize>,
    strict: bool,
) -> Result<BTreeMap<String, usize>> {
    let mut pins = Pins::new();
    for _ in 0..MAX_ROUNDS {
        match Walk::new(catalog, present, &pins, strict).run(roots)? {
            Round::Done(chosen) => return Ok(chosen),
            Round::Again(name, relation, by) => {
                let known = pins.entry(name.clone()).or_default();
                if known.iter().any(|(r, _)| *r == relation) {
                    return Err(no_version(&name, known));
                }
                known.push((relation, by));
            }
        }
    }
    Err(Error::invalid("the packages' dependencies do not come to an end")
        .hint("take names out of [packages] until it does, and tell us which one it was"))
}

fn no_version(name: &str, pins: &[(Relation, String)]) -> Error {
    let all: Vec<String> = pins.iter().map(|(r, by)| format!("{by} needs {r}")).collect();
    Error::invalid(format!("no version of {name} fits all that need it: {}", all.join("; ")))
        .hint("the repositories do not belong together, or one of them is half updated")
}

struct Walk<'a> {
    catalog: &'a Catalog,
    present: &'a BTreeSet<usize>,
    pins: &'a Pins,
    strict: bool,
    chosen: BTreeMap<String, usize>,
    /// Who brought a package in; none for the names of the inventory.
    because: BTreeMap<usize, usize>,
    open: VecDeque<usize>,
    /// Requirements that hold only when something else is there.
    conditional: Vec<(usize, Requirement)>,
}

impl<'a> Walk<'a> {
    fn new(catalog: &'a Catalog, present: &'a BTreeSet<usize>, pins: &'a Pins, strict: bool) -> Self {
        Self {
            catalog,
            present,
            pins,
            strict,
            chosen: BTreeMap::new(),
            because: BTreeMap::new(),
            open: VecDeque::new(),
            conditional: Vec::new(),
        }
    }

    fn run(mut self, roots: &[String]) -> Result<Round> {
        for name in roots {
            let Some(index) = self.catalog.named(name).into_iter().find(|i| self.fits_pins(*i)) else {
                return Err(no_version(name, self.pins.get(name).map(Vec::as_slice).unwrap_or_default()));
            };
            self.choose(index, None);
        }
        loop {
            while let Some(index) = self.open.pop_front() {
                for requirement in self.catalog.requirements(index)? {
                    if requirement.when.is_some() {
                        self.conditional.push((index, requirement));
                    } else if let Some(again) = self.meet(index, &requirement)? {
                        return Ok(again);
                    }
                }
            }
            let due = |(_, r): &(usize, Requirement)| r.when.as_ref().is_some_and(|w| self.is_there(w));
            let Some(at) = self.conditional.iter().position(due) else { return Ok(Round::Done(self.chosen)) };
            let (index, requirement) = self.conditional.remove(at);
            if let Some(again) = self.meet(index, &requirement)? {
                return Ok(again);
            }
        }
    }

    fn choose(&mut self, index: usize, because: Option<usize>) {
        if self.chosen.insert(self.catalog.get(index).name.clone(), index).is_none() {
            if let Some(because) = because {
                self.because.insert(index, because);
            }
            self.open.push_back(index);
        }
    }

    fn is_there(&self, relation: &Relation) -> bool {
        self.chosen.values().chain(self.present).any(|i| self.catalog.is(*i, relation))
    }

    fn fits_pins(&self, index: usize) -> bool {
        let own = self.catalog.get(index);
        let pins = self.pins.get(&own.name);
        pins.is_none_or(|all| all.iter().all(|(r, _)| r.takes(self.catalog.kind(), &own.version)))
    }

    /// Sees to it that one of the alternatives is there.
    fn meet(&mut self, by: usize, requirement: &Requirement) -> Result<Option<Round>> {
        if requirement.any.iter().any(|r| self.is_there(r) || is_of_rpm(r, self.catalog.kind())) {
            return Ok(None);
        }
        let mut narrower = None;
        for relation in &requirement.any {
            for index in self.catalog.matching(relation) {
                let own = self.catalog.get(index);
                if self.chosen.contains_key(&own.name) {
                    // Another version of it was chosen before this was known.
                    if own.name == relation.name && narrower.is_none() {
                        let who = self.catalog.get(by);
                        let who = format!("{} {}", who.name, who.version);
                        narrower = Some(Round::Again(own.name.clone(), relation.clone(), who));
                    }
                } else if self.fits_pins(index) {
                    self.choose(index, Some(by));
                    return Ok(None);
                }
            }
        }
        match narrower {
            Some(again) => Ok(Some(again)),
            None if !self.strict => Ok(None),
            None => Err(self.unmet(by, requirement)),
        }
    }

    fn unmet(&self, by: usize, requirement: &Requirement) -> Error {
        let mut chain = Vec::new();
        let mut at = Some(by);
        while let Some(index) = at.filter(|_| chain.len() < 50) {
            let own = self.catalog.get(index);
            chain.push(format!("{} {}", own.name, own.version));
            at = self.because.get(&index).copied();
        }
        for relation in &requirement.any {
            if let Some(pins) = self.pins.get(&relation.name) {
                let own = self.catalog.get(by);
                let own = (relation.clone(), format!("{} {}", own.name, own.version));
                return no_version(&relation.name, &[&[own], pins.as_slice()].concat());
            }
        }
        let there: Vec<String> = requirement
            .any
            .iter()
            .flat_map(|r| self.catalog.named(&r.name))
            .map(|i| format!("{} {}", self.catalog.get(i).name, self.catalog.get(i).version))
            .collect();
        let error = Error::invalid(format!(
            "no {} repository has {requirement}, which {} needs",
            self.catalog.kind().as_str(),
            chain.join(", which is needed by ")
        ));
        if self.catalog.kind() == PackageKind::Rpm && requirement.any.iter().any(|r| r.name.starts_with('/')) {
            error.hint("of files a repository's primary index lists those in bin directories and /etc, and only it is read: name the package that has this one too")
        } else if there.is_empty() {
            error.hint("add the repository or component that has it to [packages]")
        } else {
            error.hint(format!("there is only {}: the repositories do not belong together", there.join(", ")))
        }
    }
}

/// What rpm itself provides: its own abilities.
fn is_of_rpm(relation: &Relation, kind: PackageKind) -> bool {
    kind == PackageKind::Rpm && relation.name.starts_with("rpmlib(")
}

fn refuse_conflicts(catalog: &Catalog, chosen: &BTreeMap<String, usize>) -> Result<()> {
    for index in chosen.values() {
        for relation in catalog.conflicts(*index)? {
            if let Some(other) = chosen.values().find(|o| *o != index && catalog.is(**o, &relation)) {
                let (a, b) = (catalog.get(*index), catalog.get(*other));
                return Err(Error::invalid(format!(
                    "{} {} and {} {} exclude each other: {} is in conflict with {relation}",
                    a.name, a.version, b.name, b.version, a.name
                ))
                .hint("take one of the names that bring them in out of [packages]"));
            }
        }
    }
    Ok(())
}
