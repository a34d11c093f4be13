//! Connecting to the hosts and making a plan of what is found: shared by plan, apply, status and the rest.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::StreamExt as _;

use super::args::{Global, Inputs};
use super::bundle_verify::trusted;
use crate::bundle::{Bundle, Digest, addon_gaps, closure, known_addons};
use crate::error::{Context as _, Error, Result};
use crate::facts::{Finding, Severity, gather, observe, preflight};
use crate::host::ssh::{SshConnector, SshOptions};
use crate::host::{Connector, Host};
use crate::inventory::{self, Inventory, Node};
use crate::plan::{
    Fingerprints, PLAN_FORMAT, Plan, Step, assemble, check_drains, desired, drain_questions, drift, questions,
};
use crate::resource::{left_over_releases, releases_probe};

/// Connected hosts by name.
pub(super) type Hosts = BTreeMap<String, Arc<dyn Host>>;

/// Loads an inventory; its warnings go to stderr.
pub(super) fn load(path: &Path) -> Result<Inventory> {
    let loaded = inventory::load(path)?;
    if !loaded.warnings.is_empty() {
        eprintln!("{}", inventory::render_for_stderr(&path.display().to_string(), &loaded.text, &loaded.warnings));
    }
    Ok(loaded.inventory)
}

/// The bundle that is named, or the directory `bundle` beside the inventory.
pub(super) fn bundle_of(inputs: &Inputs) -> Result<PathBuf> {
    if let Some(named) = &inputs.bundle {
        return Ok(named.clone());
    }
    let beside = inputs.inventory.inventory.with_file_name("bundle");
    if beside.is_dir() {
        return Ok(beside);
    }
    let error = Error::invalid(format!("no bundle is named, and there is no directory {}", beside.display()));
    Err(error.hint(
        "name the bundle with -b PATH, or make it there with `provision bundle lock` and `provision bundle build`",
    ))
}

/// Opens a bundle and proves that it is signed as the inventory wants and holds all it will ask for, before any host is
/// touched.
pub(super) fn open_bundle(path: &Path, inv: &Inventory) -> Result<Bundle> {
    let bundle = Bundle::open(path)?;
    trusted(&bundle, path, inv)?;
    closed(&bundle, path, inv)?;
    Ok(bundle)
}

/// Opens a bundle; with an inventory, only one that it would take.
pub(super) fn open_for(path: &Path, inventory: Option<&Path>) -> Result<Bundle> {
    inventory.map_or_else(|| Bundle::open(path), |inventory| open_bundle(path, &load(inventory)?))
}

/// Proves that a bundle holds all the inventory will ask for.
pub(super) fn closed(bundle: &Bundle, path: &Path, inv: &Inventory) -> Result<()> {
    let mut missing = closure(inv, bundle.manifest());
    missing.extend(addon_gaps(inv, bundle.manifest(), &known_addons(inv, bundle)?));
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "the bundle {} lacks what the inventory asks for:\n  {}",
        path.display(),
        missing.join("\n  ")
    ))
    .hint("`provision bundle lock` and `provision bundle build` with this inventory make one that has it"))
}

/// Connects to these nodes, all at once. When some cannot be reached the error names each.
pub(super) async fn connect(nodes: &[Node], global: &Global) -> Result<Hosts> {
    let (hosts, mut errors) = connect_some(nodes, global).await;
    match errors.len() {
        0 => Ok(hosts),
        1 => Err(errors.remove(0)),
        n => {
            let all = errors.iter().map(|e| format!("\n  {e}")).collect::<String>();
            let first = errors.remove(0);
            let mut error = Error::new(first.kind(), format!("{n} of {} hosts cannot be used:{all}", nodes.len()));
            for hint in first.hints() {
                error = error.hint(hint.clone());
            }
            Err(error)
        }
    }
}

/// Connects to those of the nodes that can be reached.
pub(super) async fn connect_some(nodes: &[Node], global: &Global) -> (Hosts, Vec<Error>) {
    let mut options = SshOptions::default();
    if let Some(path) = &global.known_hosts {
        options.known_hosts.clone_from(path);
    }
    let connector = SshConnector::new(options);
    let connecting = nodes.iter().map(|node| {
        let connector = &connector;
        async move { (node.name.clone(), connector.connect(node).await) }
    });
    let results: Vec<_> = futures::stream::iter(connecting).buffer_unordered(global.concurrency.max(1)).collect().await;
    let (mut hosts, mut errors) = (Hosts::new(), Vec::new());
    for (name, result) in results {
        match result {
            Ok(host) => {
                hosts.insert(name, host);
            }
            Err(error) => errors.push(error),
        }
    }
    (hosts, errors)
}

/// Looks at all hosts and plans. Two round trips a host: facts, then the answers the plan depends on. Refused when a
/// preflight check fails: nothing is planned for a host that cannot take it.
pub(super) async fn survey(inv: &Inventory, bundle: &Bundle, hosts: &Hosts, concurrency: usize) -> Result<Plan> {
    let facts = gather(inv, hosts, concurrency).await?;
    let findings = preflight(inv, &facts);
    refuse(&findings)?;
    let wanted = desired(inv, bundle.manifest(), &facts)?;
    let mut asked = questions(&wanted);
    if let Some(voice) = &facts.voice {
        asked.entry(voice.clone()).or_default().push(releases_probe());
    }
    let answers = observe(hosts, &asked, concurrency).await?;
    let mut steps = assemble(&wanted, &answers);
    drains(inv, hosts, &mut steps, concurrency).await?;
    let mut digests = BTreeMap::new();
    for (host, seen) in &answers {
        // Only whether each wanted thing holds counts: clocks, counters and logs in the answers change by themselves.
        let left: Vec<(&str, &crate::plan::Action)> =
            steps.iter().filter(|s| s.host == *host).map(|s| (s.id.as_str(), &s.action)).collect();
        let state = facts.hosts.get(host).map(|h| &h.state);
        let text =
            serde_json::to_vec(&(state, left, seen.len())).context(|| "failed to fingerprint the hosts".into())?;
        digests.insert(host.clone(), Digest::of(&text));
    }
    let mut warnings: Vec<String> =
        findings.iter().map(|f| format!("{}: {}: {}", f.host, f.check, f.message)).collect();
    let releases = facts.voice.as_ref().and_then(|v| answers.get(v)?.get(&releases_probe()));
    for left in releases.into_iter().flat_map(|answer| left_over_releases(answer, inv)) {
        warnings.push(format!("release {left} was installed by provision and left the inventory; it is left alone"));
    }
    Ok(Plan {
        format_version: PLAN_FORMAT,
        cluster: inv.cluster.name.clone(),
        inputs: Fingerprints {
            tool: env!("CARGO_PKG_VERSION").into(),
            inventory: inventory_digest(inv)?,
            bundle: bundle.digest(),
            hosts: digests,
        },
        steps,
        warnings,
        drift: drift(inv, &facts),
    })
}

/// Asks which pods the steps would drain, and says in their reasons what is lost with them.
///
/// Errors (`Refused`): the inventory does not allow to lose that.
pub(super) async fn drains(inv: &Inventory, hosts: &Hosts, steps: &mut [Step], concurrency: usize) -> Result<()> {
    let asked = drain_questions(steps);
    if asked.is_empty() {
        return Ok(());
    }
    let answers = observe(hosts, &asked, concurrency).await?;
    check_drains(inv, steps, &answers)
}

/// The digest of an inventory as resolved, by which a plan knows what it was made from.
pub(super) fn inventory_digest(inv: &Inventory) -> Result<Digest> {
    let text = serde_json::to_vec(inv).context(|| "failed to fingerprint the inventory".into())?;
    Ok(Digest::of(&text))
}

/// An error when a finding forbids to go on.
pub(super) fn refuse(findings: &[Finding]) -> Result<()> {
    let bad: Vec<&Finding> = findings.iter().filter(|f| f.severity == Severity::Error).collect();
    let Some(first) = bad.first() else {
        return Ok(());
    };
    let lines: String =
        bad.iter().map(|f| format!("\n  {}: {}: {} ({})", f.host, f.check, f.message, f.remedy)).collect();
    Err(Error::refused(format!("{} preflight checks failed; nothing was changed:{lines}", bad.len()))
        .hint(first.remedy.clone()))
}

#[cfg(test)]
mod tests {
    use super::super::args::InventoryArg;
    use super::*;

    #[test]
    fn a_bundle_that_is_not_named_is_looked_for_beside_the_inventory() {
        let dir = tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"));
        let inventory = InventoryArg { inventory: dir.path().join("inventory.toml") };
        let beside = dir.path().join("bundle");
        let mut inputs = Inputs { inventory, bundle: None };
        let error = bundle_of(&inputs).err().map(|e| (e.kind().exit_code(), e.report())).unwrap_or_default();
        assert!(error.0 == 3 && error.1.contains(&beside.display().to_string()), "{error:?}");
        assert!(error.1.contains("-b PATH"), "{error:?}");
        std::fs::create_dir(&beside).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(bundle_of(&inputs).ok(), Some(beside));
        inputs.bundle = Some("other.tar".into());
        assert_eq!(bundle_of(&inputs).ok(), Some("other.tar".into()));
        // An inventory of the working directory.
        let inputs = Inputs { inventory: InventoryArg { inventory: "inventory.toml".into() }, bundle: None };
        let said = bundle_of(&inputs).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(said.ends_with("there is no directory bundle"), "{said}");
    }
}
