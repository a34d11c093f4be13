//! `provision lab`

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use super::apply::apply_to_new_hosts;
use super::args::{Global, Inputs, InventoryArg, LabCommand, LabUp};
use super::bundle::sink;
use super::survey::load;
use crate::bundle::{self, ArtifactKind, Bundle, Form, Maker, Output};
use crate::error::{Context as _, Error, Result};
use crate::host::shell_quote;
use crate::inventory::{Arch, Inventory};
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
        os: up.os,
    };
    let begun = Instant::now();
    let LabFiles { made, state, upstream } = lab::prepare(&options, sink(global).as_ref()).await?;
    eprintln!("lab: hosts and upstream ready after {:.0} s", begun.elapsed().as_secs_f64());
    let inv = load(&state.inventory())?;
    make_bundle(&inv, &state, &state, global).await?;
    let ports = upstream.as_ref().map(|u| u.ports);
    // From here on nothing is fetched: the upstream is gone before the first node is touched.
    if let Some(upstream) = upstream {
        upstream.stop().await?;
    }
    if let Some(version) = &up.also {
        let (other, upstream) = lab::another(&options, &state, &made, version, ports, sink(global).as_ref()).await?;
        make_bundle(&load(&other.inventory())?, &other, &state, global).await?;
        if let Some(upstream) = upstream {
            upstream.stop().await?;
        }
    }
    keep_kubectl(&state)?;
    eprintln!("lab: bundle built, verified and signed after {:.0} s", begun.elapsed().as_secs_f64());
    if !up.no_apply {
        let inventory = InventoryArg { inventory: state.inventory() };
        apply_to_new_hosts(&Inputs { inventory, bundle: Some(state.bundle()) }, global).await?;
        let text = super::kubeconfig::fetch(&inv, global).await?;
        crate::exec::write_private(&state.kubeconfig(), text.as_bytes())?;
    }
    let first = inv.nodes().first().map(|n| n.address.to_string()).unwrap_or_default();
    println!("lab {} is up after {:.0} s. Next:", up.name, begun.elapsed().as_secs_f64());
    for command in next(&state, &up.name, &first, !up.no_apply) {
        let words: Vec<String> = command.iter().map(|word| shell_quote(word)).collect();
        println!("  {}", words.join(" "));
    }
    Ok(ExitCode::SUCCESS)
}

/// Commands to go on with, as they work when they are typed.
fn next(state: &LabState, name: &str, first: &str, applied: bool) -> Vec<Vec<String>> {
    let path = |path: PathBuf| path.display().to_string();
    let program = this_program();
    let own = |words: &[&str]| -> Vec<String> {
        std::iter::once(program.as_str()).chain(words.iter().copied()).map(str::to_owned).collect()
    };
    let (inventory, bundle) = (path(state.inventory()), path(state.bundle()));
    let both = ["-i", &inventory, "-b", &bundle];
    let mut all = vec![own(&["status", "-i", &inventory]), own(&[&["plan"][..], &both].concat())];
    if applied {
        let [kubectl, kubeconfig] = [state.kubectl(), state.kubeconfig()].map(path);
        all.push([&kubectl, "--kubeconfig", &kubeconfig, "get", "nodes"].map(str::to_owned).into());
    } else {
        all = vec![own(&[&["plan"][..], &both].concat()), own(&[&["apply"][..], &both].concat())];
    }
    let known = format!("UserKnownHostsFile={}", path(state.known_hosts()));
    let (key, user) = (path(state.key()), format!("admin@{first}"));
    all.push(["ssh", "-i", &key, "-o", &known, &user].map(str::to_owned).into());
    all.push(own(&["lab", "down", "--name", name]));
    all
}

/// How this program is called: by its name where a shell finds it by that, else by its path.
fn this_program() -> String {
    let own = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("provision"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join("provision")).find(|file| file.is_file());
    let same = found.and_then(|f| f.canonicalize().ok()).is_some_and(|f| own.canonicalize().is_ok_and(|own| own == f));
    if same { "provision".into() } else { own.display().to_string() }
}

/// Puts the kubectl of the lab's bundle beside its inventory.
fn keep_kubectl(state: &LabState) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let bundle = Bundle::open(&state.bundle())?;
    let arch = Arch::from_uname(std::env::consts::ARCH);
    let Some(kubectl) = arch.and_then(|arch| bundle.manifest().find(ArtifactKind::Binary, "kubectl", arch)) else {
        return Err(Error::failed("the lab's bundle holds no kubectl for this machine"));
    };
    let to = state.kubectl();
    let writing = || format!("failed to write {}", to.display());
    let mut from = bundle.blob(&kubectl.digest)?.reader();
    let mut file = std::fs::File::create(&to).context(writing)?;
    std::io::copy(&mut from, &mut file).context(writing)?;
    file.set_permissions(std::fs::Permissions::from_mode(0o755)).context(writing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_at_the_end_name_files_of_the_lab_by_their_paths() {
        let state = LabState { dir: PathBuf::from("/labs/my lab") };
        let typed = |applied| -> Vec<String> {
            let quoted = |c: Vec<String>| c.iter().map(|w| shell_quote(w)).collect::<Vec<_>>().join(" ");
            next(&state, "lab", "10.89.77.11", applied).into_iter().map(quoted).collect()
        };
        let applied = typed(true);
        assert!(applied.contains(&"'/labs/my lab/kubectl' --kubeconfig '/labs/my lab/kubeconfig' get nodes".into()));
        // The test program is no `provision` of the PATH, so its own path is printed.
        assert!(applied.iter().any(|l| l.starts_with('/') && l.ends_with(" lab down --name lab")), "{applied:?}");
        assert!(!applied.iter().any(|l| l.starts_with("provision ")), "{applied:?}");
        let bare = typed(false);
        assert!(bare.iter().any(|l| l.contains(" apply -i '/labs/my lab/inventory.toml'")), "{bare:?}");
        assert!(!bare.iter().any(|l| l.contains("kubeconfig")), "{bare:?}");
    }
}
