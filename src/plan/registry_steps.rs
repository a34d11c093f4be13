//! The built-in registry: what its hosts hold and run, and what makes all hosts trust it. Pure.

use super::action::Action;
use super::backup_steps::takes_backups;
use super::desired::{HostSteps, When};
use super::model::{PhaseId, StepId};
use super::planner::Input;
use crate::bundle::{Artifact, ArtifactKind, Digest};
use crate::error::{Error, Result};
use crate::inventory::{Inventory, Node, RegistryMode};
use crate::resource::REGISTRY_DIR;
use crate::resource::template::registry_unit;

/// The unit that serves.
pub(super) const REGISTRY_UNIT: &str = "provision-registry.service";
/// This program on a host of the registry.
pub(super) const PROGRAM: &str = "/usr/local/bin/provision";
/// What the registry serves, as a `bundle.json` of images alone.
const SERVED: &str = "/var/lib/provision/registry/bundle.json";

/// The steps of one host; none in another mode. After all that puts blobs and programs onto it.
pub(super) fn registry(input: &Input<'_>, node: &Node, steps: &mut HostSteps<'_>) -> Result<()> {
    let inv = input.inv;
    if inv.registry.mode != RegistryMode::Builtin {
        return Ok(());
    }
    let peers = inv.registry.hosts.clone();
    let ca = peers.iter().find_map(|p| input.facts.hosts.get(p)?.registry_ca.clone());
    if let Some(place) = peers.iter().position(|p| *p == node.name) {
        serve(input, node, steps, ca.as_ref())?;
        // The first makes the CA, the others take it from there.
        let before = peers.iter().take(place).map(|p| identity_id(p)).collect::<Vec<_>>();
        steps.after_of(&identity_id(&node.name), before);
    }
    steps.add(
        PhaseId::Registry,
        "trust",
        Action::RegistryTrust { peers: peers.clone(), ca: ca.clone() },
        "containerd trusts the registry",
    );
    let identities: Vec<StepId> = peers.iter().map(|p| identity_id(p)).collect();
    steps.after(identities.clone());
    if ca.is_none() {
        // What the hosts trust is known only when it has been made.
        steps.when(When::AlwaysWith(identities));
    }
    Ok(())
}

fn identity_id(host: &str) -> StepId {
    format!("{}/{host}/identity", PhaseId::Registry.as_str())
}

fn serve(input: &Input<'_>, node: &Node, steps: &mut HostSteps<'_>, ca: Option<&Digest>) -> Result<()> {
    let inv = input.inv;
    let phase = PhaseId::Registry;
    let identity = Action::RegistryIdentity {
        names: vec![node.name.clone(), node.address.to_string()],
        peers: inv.registry.hosts.clone(),
        ca: ca.cloned(),
    };
    steps.add(phase, "identity", identity, "the registry has a certificate for this host");
    let file = |path: &str, content: String| Action::WriteFile { path: path.into(), content, mode: 0o644 };
    steps.add(phase, "content", file(SERVED, input.parts.images_alone()), "what the registry serves");
    let unit = format!("/etc/systemd/system/{REGISTRY_UNIT}");
    let listen = std::net::SocketAddr::new(node.address, inv.registry.port);
    steps.add(phase, "unit", file(&unit, registry_unit(listen)?), "the registry's unit");
    let service = Action::Unit {
        name: REGISTRY_UNIT.into(),
        enabled: true,
        active: Some(true),
        started_after: vec![PROGRAM.into(), SERVED.into(), format!("{REGISTRY_DIR}/server.crt"), unit],
    };
    steps.add(phase, "service", service, "the registry runs with what is installed");
    Ok(())
}

/// This very program, for a host that serves or takes backups; `None` for any other.
pub(super) fn program<'a>(
    input: &Input<'a>,
    node: &Node,
    arch: crate::inventory::Arch,
) -> Result<Option<(&'a Artifact, Action)>> {
    if !input.inv.registry.is_served_by(&node.name) && !takes_backups(input.inv, node) {
        return Ok(None);
    }
    let artifact = input.parts.get(ArtifactKind::Binary, "provision", arch)?;
    let install = Action::InstallBlob { digest: artifact.digest.clone(), path: PROGRAM.into(), mode: 0o755 };
    Ok(Some((artifact, install)))
}

/// The base URLs of the registry's hosts.
pub(super) fn urls(inv: &Inventory) -> Result<Vec<String>> {
    let url = |name: &String| {
        let host = inv.hosts.iter().find(|h| h.name == *name);
        let host = host.ok_or_else(|| Error::invalid(format!("[registry] names {name}, which is no host")))?;
        Ok(format!("https://{}", std::net::SocketAddr::new(host.address, inv.registry.port)))
    };
    inv.registry.hosts.iter().map(url).collect()
}
