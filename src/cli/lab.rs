//! `provision lab`

use std::process::ExitCode;
use std::time::Instant;

use super::apply::apply;
use super::args::{Global, Inputs, InventoryArg, LabCommand, LabUp};
use super::bundle::sink;
use super::survey::load;
use crate::bundle::{self, Bundle, Form, Maker, Output};
use crate::error::{Context as _, Result};
use crate::inventory::Inventory;
use crate::lab::{self, LabFiles, LabOptions, LabState};

pub(super) async fn lab(command: LabCommand, global: &Global) -> Result<ExitCode> {
    match command {
        LabCommand::Up(up) => lab_up(&up, global).await,
        LabCommand::Down { name } => {
            // First, because it refuses names that are not a lab's.
            let dir = lab::lab_dir(&name)?;
            lab::remove(&name).await?;
            if dir.exists() {
                std::fs::remove_dir_all(&dir).context(|| format!("failed to remove {}", dir.display()))?;
            }
            println!("lab {name} is gone");
            Ok(ExitCode::SUCCESS)
        }
        LabCommand::List => {
            for (name, node, status) in lab::list().await? {
                println!("{name}\t{node}\t{status}");
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Lock, build, verify and sign, into `to`; `signer` has the key.
async fn make_bundle(inv: &Inventory, to: &LabState, signer: &LabState, global: &Global) -> Result<()> {
    let lock = bundle::lock(inv, sink(global)).await?;
    std::fs::write(to.lock(), lock.to_toml()?).context(|| "failed to write the lab's lock".into())?;
    let maker = Maker { sources: &inv.sources, builder: "lab" };
    let out = Output { place: to.bundle(), form: Form::Directory };
    bundle::build(&lock, &maker, &out, global.concurrency, sink(global)).await?;
    Bundle::open(&to.bundle())?.verify(sink(global).as_ref()).await?;
    lab::sign(signer, &to.bundle())
}

/// Lock, build, verify and apply by the same code as any user's.
async fn lab_up(up: &LabUp, global: &Global) -> Result<ExitCode> {
    let options = LabOptions {
        name: up.name.clone(),
        control_planes: up.control_planes,
        workers: up.workers,
        source: up.source.clone(),
        endpoint: up.endpoint.clone(),
        with: up.with.clone(),
    };
    let begun = Instant::now();
    let LabFiles { made, state, upstream } = lab::prepare(&options).await?;
    eprintln!("lab: hosts and upstream ready after {:.0} s", begun.elapsed().as_secs_f64());
    let inv = load(&state.inventory())?;
    make_bundle(&inv, &state, &state, global).await?;
    let ports = upstream.as_ref().map(|u| u.ports);
    // From here on nothing is fetched: the upstream is gone before the first node is touched.
    if let Some(upstream) = upstream {
        upstream.stop().await?;
    }
    if let Some(version) = &up.also {
        let (other, upstream) = lab::another(&options, &state, &made, version, ports).await?;
        make_bundle(&load(&other.inventory())?, &other, &state, global).await?;
        if let Some(upstream) = upstream {
            upstream.stop().await?;
        }
    }
    eprintln!("lab: bundle built, verified and signed after {:.0} s", begun.elapsed().as_secs_f64());
    let (inventory, bundle, dir) = (state.inventory(), state.bundle(), state.dir.display());
    if !up.no_apply {
        let inputs = Inputs { inventory: InventoryArg { inventory: inventory.clone() }, bundle: Some(bundle.clone()) };
        apply(&inputs, None, true, global).await?;
        let text = super::kubeconfig::fetch(&inv, global).await?;
        crate::exec::write_private(&state.kubeconfig(), text.as_bytes())?;
    }
    let first = inv.nodes().first().map(|n| n.address.to_string()).unwrap_or_default();
    println!("lab {} is up after {:.0} s. Next:", up.name, begun.elapsed().as_secs_f64());
    println!("  provision status -i {}", inventory.display());
    println!("  provision plan -i {} -b {}", inventory.display(), bundle.display());
    println!("  kubectl --kubeconfig {dir}/kubeconfig get nodes");
    println!("  ssh -i {dir}/id_ed25519 admin@{first}");
    println!("  provision lab down --name {}", up.name);
    Ok(ExitCode::SUCCESS)
}
