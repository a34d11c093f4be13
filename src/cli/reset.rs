//! `provision reset`

use std::path::Path;
use std::process::ExitCode;

use super::apply::carry_out;
use super::args::Global;
use super::confirm;
use super::survey::{connect, connect_some, load};
use crate::error::{Error, Result};
use crate::exec::Lease;
use crate::facts::{Facts, gather};
use crate::inventory::{Inventory, Node};
use crate::plan::reset_plan;
use crate::resource::Membership;

pub(super) async fn reset(
    path: &Path,
    names: Vec<String>,
    all: bool,
    confirmation: Option<String>,
    global: &Global,
) -> Result<ExitCode> {
    let inv = load(path)?;
    let names = if all { inv.hosts.iter().map(|h| h.name.clone()).collect() } else { names };
    if let Some(unknown) = names.iter().find(|n| !inv.hosts.iter().any(|h| h.name == **n)) {
        return Err(Error::new(crate::error::Kind::Usage, format!("host {unknown} is not in the inventory")));
    }
    let expected = if all { inv.cluster.name.clone() } else { names.join(",") };
    let warning = format!("This removes Kubernetes and everything of provision from {}.", names.join(", "));
    confirm::typed(&expected, confirmation.as_deref(), &warning)?;
    let _lease = Lease::acquire(&inv.cluster.name, "reset")?;
    let wanted: Vec<_> = inv.machines().into_iter().filter(|n| names.contains(&n.name)).collect();
    let mut hosts = connect(&wanted, global).await?;
    let facts = gather(&inv, &hosts, global.concurrency).await?;
    refuse_foreign(&inv, &facts, &wanted)?;
    if !all {
        // Those that stay are told; one that does not answer cannot be.
        let staying: Vec<_> = inv.control_planes().into_iter().filter(|n| !names.contains(&n.name)).collect();
        hosts.extend(connect_some(&staying, global).await.0);
    }
    let plan = reset_plan(&inv, &names);
    for warning in &plan.warnings {
        eprintln!("Warning: {warning}");
    }
    let rest = inventory_for_leaving(inv, &names, all);
    carry_out(&plan, "reset", rest, hosts, None, global).await?;
    println!("{} bare", names.join(", "));
    Ok(ExitCode::SUCCESS)
}

/// Another cluster's node needs another cluster's inventory: here we would not know whom to tell.
pub(super) fn refuse_foreign(inv: &Inventory, facts: &Facts, nodes: &[Node]) -> Result<()> {
    for node in nodes {
        if let Membership::Foreign(why) = facts.membership(inv, node)
            && facts.hosts.get(&node.name).is_some_and(|h| h.state.claim.is_some())
        {
            return Err(Error::refused(format!("it is not reset: {why}"))
                .on(&node.name)
                .hint("use that cluster's inventory"));
        }
    }
    Ok(())
}

/// With --all nobody stays who could be told of the leaving, so nobody is asked.
fn inventory_for_leaving(mut inv: Inventory, names: &[String], all: bool) -> Inventory {
    if all {
        inv.hosts.retain(|h| names.first() == Some(&h.name));
    }
    inv
}
