//! `provision node remove`

use std::process::ExitCode;

use super::args::Global;
use super::args_node::Remove;
use super::confirm;
use super::node::Leaving;
use crate::error::Result;
use crate::plan::{Stage, removal};

pub(super) async fn remove(args: &Remove, global: &Global) -> Result<ExitCode> {
    let mut names: Vec<String> = Vec::new();
    for name in &args.names {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    let leaving = Leaving::begin("node remove", &args.inputs, names, None, global).await?;
    let standing = leaving.standing_without().await?;
    let mut stages = removal(&leaving.inv, &standing, &leaving.names)?;
    leaving.drains(&mut stages).await?;
    leaving.foresee(&leaving.rest()?).await?;
    let names = leaving.names.join(",");
    confirm::typed(&names, args.confirm.as_deref(), &warning(&leaving, &stages))?;
    leaving.carry_out(stages).await?;
    leaving.tell(&args.inputs.inventory.inventory)?;
    Ok(ExitCode::SUCCESS)
}

/// What would be done, for whoever is asked.
pub(super) fn warning(leaving: &Leaving<'_>, stages: &[Stage]) -> String {
    let mut text = format!("{} will leave cluster {}:", leaving.names.join(", "), leaving.inv.cluster.name);
    for stage in stages {
        match stage {
            Stage::Steps(steps) => steps.iter().for_each(|s| text += &format!("\n  {}: {}", s.host, s.title())),
            Stage::Settle { without } => {
                text += &format!("\n  all others: follow the inventory without {}", without.join(", "));
            }
        }
    }
    text
}
