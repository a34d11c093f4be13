//! `provision node replace`

use std::process::ExitCode;

use super::args::Global;
use super::args_node::Replace;
use super::confirm;
use super::node::Leaving;
use super::node_remove::warning;
use crate::error::Result;
use crate::plan::{Order, Stage, may_replace, nobody_answers, order, removal};

pub(super) async fn replace(args: &Replace, global: &Global) -> Result<ExitCode> {
    let (old, new) = (&args.old, args.new.as_str());
    let leaving = Leaving::begin("node replace", &args.inputs, vec![old.clone()], Some(new), global).await?;
    let (inv, rest) = (&leaving.inv, leaving.rest()?);
    // The only control plane speaks for the cluster until its successor is in.
    let standing = match leaving.standing(&rest).await? {
        Some(standing) => standing,
        None => leaving.standing(inv).await?.ok_or_else(|| nobody_answers(false))?,
    };
    may_replace(inv, &standing, old, new)?;
    let join_first = order(inv, &standing, old) == Order::JoinFirst;
    // What is refused is refused now, where that can be told without the new one.
    let stages = if join_first { Vec::new() } else { leave(&leaving).await? };
    if join_first && let Ok(mut later) = removal(inv, &standing, &leaving.names) {
        // Refused before the new one joins.
        leaving.drains(&mut later).await?;
    }
    leaving.foresee(if join_first { inv } else { &rest }).await?;
    let mut text = if join_first { format!("{new} joins first. Then ") } else { String::new() };
    text += &warning(&leaving, &stages);
    confirm::typed(old, args.confirm.as_deref(), &text)?;
    if join_first {
        leaving.settle(&[]).await?;
        leaving.carry_out(leave(&leaving).await?).await?;
    } else {
        leaving.carry_out(stages).await?;
    }
    leaving.tell(&args.inputs.inventory.inventory)?;
    Ok(ExitCode::SUCCESS)
}

/// How the old one leaves; when it has left before, the new one and all others are what is left to do.
async fn leave(leaving: &Leaving<'_>) -> Result<Vec<Stage>> {
    let standing = leaving.standing_without().await?;
    let old = &leaving.names[0];
    if !standing.knows(&leaving.inv, old) {
        return Ok(vec![Stage::Settle { without: leaving.names.clone() }]);
    }
    let mut stages = removal(&leaving.inv, &standing, &leaving.names)?;
    leaving.drains(&mut stages).await?;
    Ok(stages)
}
