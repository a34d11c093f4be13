//! What `provision node remove` and `provision node replace` have in common.

use std::path::Path;

use serde::Serialize;

use super::apply::carry_out;
use super::args::{Global, Inputs};
use super::reset::refuse_foreign;
use super::survey::{Hosts, bundle_of, connect, connect_some, drains, load, open_bundle, refuse, survey};
use crate::bundle::Bundle;
use crate::error::{Context as _, Result};
use crate::exec::Lease;
use crate::facts::{Finding, Standing, gather, observe, preflight, standing};
use crate::inventory::{Inventory, Node};
use crate::plan::{Plan, Stage, assemble, beyond, desired, nobody_answers, questions, without};
use crate::report::Format;

/// A cluster that nodes leave.
pub(super) struct Leaving<'a> {
    pub(super) command: &'static str,
    pub(super) inv: Inventory,
    pub(super) bundle: Bundle,
    /// All that answer; those that stay all do.
    pub(super) hosts: Hosts,
    pub(super) names: Vec<String>,
    /// The host that takes their place.
    pub(super) joins: Option<&'a str>,
    pub(super) global: &'a Global,
    _lease: Lease,
}

impl<'a> Leaving<'a> {
    /// Connects to all hosts; of those that leave, to those that answer.
    pub(super) async fn begin(
        command: &'static str,
        inputs: &Inputs,
        names: Vec<String>,
        joins: Option<&'a str>,
        global: &'a Global,
    ) -> Result<Self> {
        let inv = load(&inputs.inventory.inventory)?;
        let rest = without(&inv, &names)?;
        let bundle = open_bundle(&bundle_of(inputs)?, &inv)?;
        let lease = Lease::acquire(&inv.cluster.name, command)?;
        let leaving: Vec<Node> = inv.nodes().into_iter().filter(|n| names.contains(&n.name)).collect();
        let mut hosts = connect(&rest.machines(), global).await.map_err(|e| {
            e.hint(
                "all hosts that stay must answer; take out those that are gone for good in one `provision node remove`",
            )
        })?;
        let (answering, errors) = connect_some(&leaving, global).await;
        for error in errors {
            eprintln!("Warning: {error}; it counts as dead");
        }
        hosts.extend(answering);
        refuse_foreign(&inv, &gather(&inv, &hosts, global.concurrency).await?, &leaving)?;
        Ok(Self { command, inv, bundle, hosts, names, joins, global, _lease: lease })
    }

    /// The inventory without those that leave.
    pub(super) fn rest(&self) -> Result<Inventory> {
        without(&self.inv, &self.names)
    }

    /// What the control planes of `stay` say of the cluster.
    pub(super) async fn standing(&self, stay: &Inventory) -> Result<Option<Standing>> {
        standing(stay, &self.hosts, &self.names, self.global.concurrency).await
    }

    /// As before, of those that stay for good.
    ///
    /// Errors (`Refused`): none of them answers.
    pub(super) async fn standing_without(&self) -> Result<Standing> {
        match self.standing(&self.rest()?).await? {
            Some(standing) => Ok(standing),
            None => Err(nobody_answers(self.standing(&self.inv).await?.is_some())),
        }
    }

    /// Looks ahead, before anything is changed: whether the others can follow, and whether the inventory asks them for
    /// no more than that.
    pub(super) async fn foresee(&self, stay: &Inventory) -> Result<()> {
        let facts = gather(stay, &self.hosts, self.global.concurrency).await?;
        // What is said of those that leave is what this is about.
        let about = |f: &Finding| !self.names.contains(&f.host);
        refuse(&preflight(stay, &facts).into_iter().filter(about).collect::<Vec<_>>())?;
        let wanted = desired(stay, self.bundle.manifest(), &facts)?;
        let answers = observe(&self.hosts, &questions(&wanted), self.global.concurrency).await?;
        let mut steps = assemble(&wanted, &answers);
        drains(stay, &self.hosts, &mut steps, self.global.concurrency).await?;
        beyond(&steps, self.joins)
    }

    /// Says in the reasons of the steps what is lost with the pods of those that leave.
    ///
    /// Errors (`Refused`): the inventory does not allow to lose that.
    pub(super) async fn drains(&self, stages: &mut [Stage]) -> Result<()> {
        for stage in stages {
            if let Stage::Steps(steps) = stage {
                drains(&self.inv, &self.hosts, steps, self.global.concurrency).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn carry_out(&self, stages: Vec<Stage>) -> Result<()> {
        for stage in stages {
            match stage {
                Stage::Steps(steps) => self.run(&Plan::of(&self.inv.cluster.name, steps), self.inv.clone()).await?,
                Stage::Settle { without } => self.settle(&without).await?,
            }
        }
        Ok(())
    }

    /// Makes all others what the inventory says without these.
    pub(super) async fn settle(&self, gone: &[String]) -> Result<()> {
        let rest = without(&self.inv, gone)?;
        let own = |name: &String| rest.hosts.iter().any(|h| h.name == *name);
        let hosts: Hosts = self.hosts.iter().filter(|(n, _)| own(n)).map(|(n, h)| (n.clone(), h.clone())).collect();
        let plan = survey(&rest, &self.bundle, &hosts, self.global.concurrency).await?;
        beyond(&plan.steps, self.joins)?;
        self.run(&plan, rest).await
    }

    async fn run(&self, plan: &Plan, inv: Inventory) -> Result<()> {
        if plan.steps.is_empty() {
            return Ok(());
        }
        let (hosts, bundle) = (self.hosts.clone(), Some(self.bundle.clone()));
        carry_out(plan, self.command, inv, hosts, bundle, self.global).await.map(drop)
    }

    /// Says what is left for people to do.
    pub(super) fn tell(&self, path: &Path) -> Result<()> {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let gone: Vec<Gone<'_>> = self.names.iter().map(|name| self.gone(name, &text)).collect();
        if self.global.format == Format::Json {
            let report = Report { cluster: &self.inv.cluster.name, removed: &gone, joined: self.joins };
            let text = serde_json::to_string_pretty(&report).context(|| "failed to write the report".into())?;
            println!("{text}");
            return Ok(());
        }
        for one in &gone {
            println!("{} is out of cluster {}; {}", one.name, self.inv.cluster.name, one.host.words());
            if one.host != Fate::NotInInventory {
                let line = one.line.map(|n| format!(":{n}")).unwrap_or_default();
                let registry =
                    if self.inv.registry.hosts.contains(one.name) { ", and out of [registry] hosts" } else { "" };
                println!(
                    "  take its [[hosts]] out of {}{line}{registry}: `provision apply` would join it again",
                    path.display()
                );
            }
        }
        Ok(())
    }

    fn gone<'n>(&self, name: &'n String, text: &str) -> Gone<'n> {
        let host = match (self.inv.hosts.iter().any(|h| h.name == *name), self.hosts.contains_key(name)) {
            (true, true) => Fate::Bare,
            (true, false) => Fate::Unreachable,
            _ => Fate::NotInInventory,
        };
        Gone { name, host, line: line_of(text, name) }
    }
}

#[derive(Serialize)]
struct Report<'a> {
    cluster: &'a str,
    removed: &'a [Gone<'a>],
    joined: Option<&'a str>,
}

/// A node that left.
#[derive(Serialize)]
struct Gone<'a> {
    name: &'a String,
    host: Fate,
    /// Where its `[[hosts]]` begins in the inventory.
    line: Option<usize>,
}

/// What became of its host.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Fate {
    Bare,
    Unreachable,
    NotInInventory,
}

impl Fate {
    fn words(self) -> &'static str {
        match self {
            Self::Bare => "its host is bare",
            Self::Unreachable => {
                "its host does not answer and keeps what it had: wipe it before it is started again, or its kubelet comes back"
            }
            Self::NotInInventory => {
                "its host is not in the inventory and keeps what it had: wipe it, or its kubelet comes back"
            }
        }
    }
}

/// The line, from 1, on which the `[[hosts]]` of this name begins.
fn line_of(text: &str, name: &str) -> Option<usize> {
    let wanted = format!("\"{name}\"");
    let mut begins = None;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('[') {
            begins = (line == "[[hosts]]").then_some(number + 1);
        }
        if let (Some(begins), Some((key, value))) = (begins, line.split_once('='))
            && key.trim() == "name"
            && value.trim().starts_with(&wanted)
        {
            return Some(begins);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::line_of;

    #[test]
    fn the_lines_of_a_host_are_found() {
        let text = "[cluster]\nname = \"w1\"\n[[hosts]]\nname = \"w10\"\n\n[[hosts]]\n  role = \"worker\"\nname=\"w1\" # old\n";
        assert_eq!((line_of(text, "w1"), line_of(text, "w10"), line_of(text, "w2")), (Some(6), Some(3), None));
    }
}
