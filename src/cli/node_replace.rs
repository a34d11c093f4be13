//! `provision node replace`

use std::process::ExitCode;

use super::args::Global;
use super::args_node::Replace;
use super::confirm;
use super::node::Leaving;
use super::node_remove::warning;
use crate::error::Result;
use crate::plan::{Order, Stage, has_joined, may_replace, nobody_answers, order, removal, without};

pub(super) async fn replace(args: &Replace, global: &Global) -> Result<ExitCode> {
    let (old, new) = (&args.old, args.new.as_str());
    let leaving = Leaving::begin("node replace", &args.inputs, vec![old.clone()], Some(new), global).await?;
    let inv = &leaving.inv;
    // The only control plane speaks for the cluster until its successor is in.
    let standing = match leaving.standing(&leaving.rest()?).await? {
        Some(standing) => standing,
        None => leaving.standing(inv).await?.ok_or_else(|| nobody_answers(false))?,
    };
    may_replace(inv, &standing, old, new)?;
    match order(inv, &standing, old) {
        Order::JoinFirst { without: gone, first } => {
            if let Ok(mut later) = removal(inv, &standing, &leaving.names) {
                // Refused before the new one joins.
                leaving.drains(&mut later).await?;
            }
            leaving.foresee(&without(inv, &gone)?).await?;
            let first = Stage::Steps(first);
            let text = warning(&leaving, std::slice::from_ref(&first));
            let text = format!("{text}\n  {new}: joins the cluster\n  {old}: leaves the cluster once {new} is healthy");
            confirm::typed(old, args.confirm.as_deref(), &text)?;
            leaving.carry_out(vec![first, Stage::Settle { without: gone }]).await?;
            has_joined(inv, &leaving.standing_without().await?, old, new)?;
            leaving.carry_out(leave(&leaving).await?).await?;
        }
        Order::LeaveFirst => {
            // What is refused is refused now, as far as that is known without the new node.
            let stages = leave(&leaving).await?;
            leaving.foresee(&leaving.rest()?).await?;
            confirm::typed(old, args.confirm.as_deref(), &warning(&leaving, &stages))?;
            leaving.carry_out(stages).await?;
        }
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
