//! `provision apply`

use std::io::IsTerminal as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use super::args::{Global, Inputs};
use super::confirm;
use super::survey::{Hosts, bundle_of, connect, load, open_bundle, survey};
use crate::bundle::Bundle;
use crate::error::{Error, Result};
use crate::exec::{self, Cancel, Context, HostRunner, Journal, Lease, Options, RetryPolicy, Sink, new_operation_id};
use crate::inventory::Inventory;
use crate::plan::{PLAN_FORMAT, Plan, render, render_drift};
use crate::report::{Format, Tee, reporter};

pub(super) async fn apply(inputs: &Inputs, saved: Option<&Path>, yes: bool, global: &Global) -> Result<ExitCode> {
    applied(inputs, saved, Shown { plan: true, asks: !yes && saved.is_none() }, global).await
}

/// The same without the plan and without a question, for hosts that were made for it.
pub(super) async fn apply_to_new_hosts(inputs: &Inputs, global: &Global) -> Result<ExitCode> {
    applied(inputs, None, Shown { plan: global.verbose, asks: false }, global).await
}

/// What people see before anything is carried out.
struct Shown {
    plan: bool,
    asks: bool,
}

async fn applied(inputs: &Inputs, saved: Option<&Path>, shown: Shown, global: &Global) -> Result<ExitCode> {
    let inv = load(&inputs.inventory.inventory)?;
    let bundle = open_bundle(&bundle_of(inputs)?, &inv)?;
    let saved = saved.map(read_plan).transpose()?;
    let _lease = Lease::acquire(&inv.cluster.name, "apply")?;
    let hosts = connect(&inv.machines(), global).await?;
    let plan = survey(&inv, &bundle, &hosts, global.concurrency).await?;
    if let Some(saved) = &saved {
        refuse_stale(saved, &plan)?;
    }
    if plan.steps.is_empty() {
        if !plan.drift.is_empty() {
            // Nothing is done, but what was seen is kept.
            print_text(global, &render_drift(&plan.drift));
            carry_out(&plan, "apply", inv, hosts, Some(bundle), global).await?;
        }
        print_text(global, "no changes\n");
        return Ok(ExitCode::SUCCESS);
    }
    if shown.plan {
        print_text(global, &render(&plan, global.verbose));
    }
    if shown.asks {
        confirm(&plan)?;
    }
    carry_out(&plan, "apply", inv, hosts, Some(bundle), global).await?;
    Ok(ExitCode::SUCCESS)
}

fn print_text(global: &Global, text: &str) {
    if global.format == Format::Text {
        print!("{text}");
    } else {
        eprint!("{text}");
    }
}

/// Runs a plan with journal, report and signals.
pub(super) async fn carry_out(
    plan: &Plan,
    command: &str,
    inv: Inventory,
    hosts: Hosts,
    bundle: Option<Bundle>,
    global: &Global,
) -> Result<exec::Summary> {
    let operation = new_operation_id();
    let journal = Arc::new(Journal::create(&inv.cluster.name, &operation, command)?);
    let shown = reporter(global.format, global.verbose, std::io::stderr().is_terminal());
    let sink: Arc<dyn Sink> = Arc::new(Tee(vec![shown, Arc::clone(&journal) as Arc<dyn Sink>]));
    let context = Context {
        hosts,
        blob: Box::new(move |digest| match &bundle {
            Some(bundle) => bundle.blob(digest),
            None => Err(Error::failed(format!("the step needs the blob {digest}, and there is no bundle"))),
        }),
        inventory: Arc::new(inv),
        sink: Arc::clone(&sink),
    };
    let cancel = Cancel::new();
    cancel.on_signals()?;
    let options =
        Options { operation, command: command.into(), concurrency: global.concurrency, retry: RetryPolicy::default() };
    let result = exec::run(plan, Arc::new(HostRunner::new(context, &plan.steps)), &options, sink, cancel).await;
    let kept = journal.finish();
    let summary = result?;
    kept?;
    eprintln!("journal: {}", journal.path().display());
    Ok(summary)
}

fn confirm(plan: &Plan) -> Result<()> {
    let question = format!("\nCarry out these steps on cluster {}?", plan.cluster);
    confirm::yes("apply", "changes anything", "the plan above", &question)
}

fn read_plan(path: &Path) -> Result<Plan> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| Error::invalid(format!("failed to read the plan {}", path.display())).source(e))?;
    let plan: Plan = serde_json::from_str(&text)
        .map_err(|e| Error::invalid(format!("the plan {} is broken", path.display())).source(e))?;
    if plan.format_version != PLAN_FORMAT {
        return Err(Error::invalid(format!("the plan {} has format {}", path.display(), plan.format_version))
            .hint("make it again with this provision"));
    }
    Ok(plan)
}

/// A saved plan binds: what was approved is carried out, or nothing.
fn refuse_stale(saved: &Plan, now: &Plan) -> Result<()> {
    let (a, b) = (&saved.inputs, &now.inputs);
    let mut changed: Vec<String> = Vec::new();
    if a.tool != b.tool {
        changed.push(format!("provision itself ({} then, {} now)", a.tool, b.tool));
    }
    if a.inventory != b.inventory {
        changed.push("the inventory".into());
    }
    if a.bundle != b.bundle {
        changed.push("the bundle".into());
    }
    for name in a.hosts.keys().chain(b.hosts.keys().filter(|h| !a.hosts.contains_key(*h))) {
        if a.hosts.get(name) != b.hosts.get(name) {
            changed.push(format!("host {name}"));
        }
    }
    if changed.is_empty() && saved.steps == now.steps {
        return Ok(());
    }
    if changed.is_empty() {
        changed.push("the steps in the plan file".into());
    }
    Err(Error::refused(format!("the plan is stale: {} changed since it was made", changed.join(", ")))
        .hint("make and approve a new one: `provision plan --out FILE`"))
}
