//! What forbids that a node leaves, with the way out. Pure.

use super::leave::Leaving;
use super::model::{PhaseId, Step};
use crate::error::{Error, Kind, Result};
use crate::facts::Standing;
use crate::inventory::{EndpointMode, Inventory, RegistryMode, Role};
use crate::kubeadm::{Member, Members};

/// The inventory without these hosts, as it will be once they are taken out of the file.
///
/// Errors (`Refused`): what they alone do would be missing.
pub fn without(inv: &Inventory, names: &[String]) -> Result<Inventory> {
    let gone = |name: &String| names.contains(name);
    if let Some(member) = names.iter().find(|n| inv.etcd.runs_on(n)) {
        return Err(Error::refused(format!("{member} runs a member of the etcd that [etcd] hosts names; nothing was changed"))
            .on(member)
            .hint(format!("one that comes back: `provision reset --host {member}`, which takes its member out of etcd first, then `provision apply`"))
            .hint("one that goes for good: with the other members healthy `etcdctl member remove`, then take it out of [etcd] hosts and run this again"));
    }
    let mut rest = inv.clone();
    rest.hosts.retain(|h| !gone(&h.name));
    rest.registry.hosts.retain(|h| !gone(h));
    if rest.control_planes().is_empty() {
        return Err(Error::refused(format!("without {} the inventory has no control plane", names.join(", ")))
            .hint("a cluster ends with `provision reset --all`")
            .hint("to move it, list another control plane beside the old one: `provision node replace OLD NEW` joins it first"));
    }
    if rest.registry.mode == RegistryMode::Builtin && rest.registry.hosts.is_empty() {
        return Err(Error::refused(format!("{} serves all images of the built-in registry", names.join(", ")))
            .hint("name another host in [registry] hosts and run `provision apply`, then run this again"));
    }
    if rest.api_endpoint() != inv.api_endpoint() {
        return Err(endpoint(names, &inv.api_endpoint().authority()));
    }
    // One that is in the file no more may be what the name of the API stands for.
    if inv.endpoint.mode == EndpointMode::FirstNode && names.iter().any(|n| !inv.hosts.iter().any(|h| h.name == *n)) {
        return Err(endpoint(names, "the first control plane, by endpoint.mode = \"first-node\"")
            .hint("put it back into the inventory, at its place, so that one can tell"));
    }
    Ok(rest)
}

fn endpoint(names: &[String], authority: &str) -> Error {
    Error::refused(format!(
        "without {} nobody answers as the API endpoint, which is {authority} and stands in every kubeconfig and certificate",
        names.join(", ")
    ))
    .hint("an endpoint outlives a control plane with endpoint.mode \"haproxy\", \"keepalived-haproxy\", \"kube-vip\" or \"external\"; this one's host can be mended or restored, not replaced")
}

/// No control plane that stays answers; `leaving` says whether one that leaves does.
#[must_use]
pub fn nobody_answers(leaving: bool) -> Error {
    if leaving {
        return Error::refused("no control plane that stays is in the cluster and answers, so the cluster would end")
            .hint("`provision apply` joins the other control planes of the inventory first; `provision status` shows what stands")
            .hint("a cluster ends with `provision reset --all`");
    }
    Error::refused("no control plane that stays answers: etcd may have lost its quorum")
        .hint("start those that can be started: with more than half of etcd's members back, run this again")
        .hint("when the majority is gone for good: `provision etcd restore SNAPSHOT` builds the control planes anew")
}

/// Whether the host `new` may take the place of the node `old`.
///
/// Errors: `new` is no host, or the same (`Usage`); it would not be what `old` is, has the address of one that serves, or
/// another member of etcd is what is dead (`Refused`).
pub fn may_replace(inv: &Inventory, standing: &Standing, old: &str, new: &str) -> Result<()> {
    let Some(host) = inv.hosts.iter().find(|h| h.name == new).filter(|_| old != new) else {
        return Err(Error::new(Kind::Usage, format!("{new} is no other host of the inventory")).hint(
            "list it under [[hosts]], with its own name: beside the old one, or in its place when that is dead",
        ));
    };
    if host.role == Role::Etcd {
        return Err(Error::refused(format!("{new} has the role etcd, and is no node of the cluster"))
            .hint("name it in [etcd] hosts and run `provision apply`: it becomes a member of etcd"));
    }
    if standing.has_control_plane(old) != host.role.is_control_plane() && standing.has(old) {
        let (was, is) =
            if host.role.is_control_plane() { ("worker", "control plane") } else { ("control plane", "worker") };
        return Err(Error::refused(format!("{old} is a {was}, and {new} would be a {is}")).hint(format!(
            "give {new} the role of {old}; or use `provision apply` and `provision node remove {old}`"
        )));
    }
    let leaving = Leaving::new(inv, standing, old);
    if leaving.hidden {
        return Err(hides(old));
    }
    if leaving.alive && leaving.address == Some(host.address) {
        return Err(Error::refused(format!("{new} has the address {} of {old}, which still serves", host.address))
            .on(new)
            .hint(format!("give {new} a host and an address of its own"))
            .hint(format!(
                "to give the host of {old} another name, list it as {old}, run `provision node remove {old}`, then rename it and run `provision apply`"
            )));
    }
    let ill: Vec<&str> = standing.members.iter().flat_map(|m| m.names(false)).collect();
    let others = standing.members.iter().flat_map(|m| {
        let new = m.of(new, Some(host.address)).map(|m| m.id);
        m.0.iter().filter(move |m| !m.healthy && m.name != old && Some(m.id) != new)
    });
    let others: Vec<&str> = others.map(|m| if m.name.is_empty() { &*m.host } else { &*m.name }).collect();
    if leaving.alive && host.role.is_control_plane() && !others.is_empty() {
        return Err(Error::refused(format!(
            "{} of etcd is not healthy, so no member is added to it in the place of {old}, which is",
            others.join(", ")
        ))
        .hint(format!("repair {0}, or replace it first: `provision node replace {0} {new}`", others[0])));
    }
    if !standing.has(old) && !ill.is_empty() {
        return Err(Error::refused(format!(
            "{old} is not in the cluster, but {} of etcd is not healthy; no member is added to it like that",
            ill.join(", ")
        ))
        .hint(format!("was it `provision node replace {} {new}` that you meant?", ill[0])));
    }
    Ok(())
}

pub(super) fn loses_quorum(name: &str, members: &Members, leaving: &Member) -> Error {
    let left = members.without(leaving.id);
    if left.voters == 0 {
        return Error::refused(format!("{name} is etcd's last member, so the cluster would end"))
            .hint("join another control plane first: list it in the inventory and run `provision apply`")
            .hint("a cluster ends with `provision reset --all`");
    }
    let ill: Vec<&str> =
        members.0.iter().filter(|m| !m.healthy && m.id != leaving.id).map(|m| m.name.as_str()).collect();
    let error = Error::refused(format!(
        "without {name} etcd would lose its quorum: of the {} members left {} would be healthy; nothing was changed",
        left.voters, left.healthy
    ));
    let mend = format!("mend {0} first, or take out what is gone for good: `provision node remove {0}`", ill.join(" "));
    let error = if leaving.healthy { error.hint(mend) } else { error };
    error.hint("when a majority is gone for good: `provision etcd restore SNAPSHOT` builds the control planes anew")
}

/// Taken for dead, it would go on with what the cluster gave to others.
pub(super) fn hides(name: &str) -> Error {
    Error::refused(format!(
        "{name} still serves, its kubelet or its etcd answers, but provision cannot log into its host to reset it"
    ))
    .on(name)
    .hint("mend SSH to it, or switch it off if it is to count as dead")
    .hint("out of the inventory it is removed by its name alone, and its host is left as it is")
}

/// The old node stays until the new one is healthy.
pub(super) fn not_joined(old: &str, new: &str) -> Error {
    Error::refused(format!("{new} is not a healthy voter of etcd yet, so {old} stays in the cluster"))
        .on(new)
        .hint(format!("`provision status` shows etcd's members; run `provision node replace {old} {new}` again when {new} is healthy"))
}

pub(super) fn unknown(name: &str, inv: &Inventory, standing: &Standing) -> Error {
    let hosts = inv.hosts.iter().map(|h| h.name.as_str());
    let mut all: Vec<&str> = hosts.chain(standing.nodes.iter().map(|n| n.name.as_str())).collect();
    all.sort_unstable();
    all.dedup();
    Error::new(Kind::Usage, format!("neither the inventory nor the cluster has a node {name}"))
        .hint(format!("there are {}", all.join(", ")))
        .hint("if it was taken out before, `provision apply` does what is left to do")
}

/// Refuses steps that do more than follow the nodes that leave, or the one that takes their place.
///
/// Errors (`Refused`): the inventory asks for more.
pub fn beyond(steps: &[Step], joins: Option<&str>) -> Result<()> {
    let more = |s: &&Step| match s.phase {
        PhaseId::Snapshot | PhaseId::UpgradeControlPlane | PhaseId::UpgradeWorker | PhaseId::Init => true,
        PhaseId::JoinControlPlane | PhaseId::JoinWorker => s.id.ends_with("/kubeadm") && joins != Some(s.host.as_str()),
        _ => false,
    };
    match steps.iter().find(more) {
        None => Ok(()),
        Some(step) => Err(Error::refused(format!(
            "the inventory asks for more than this: {} on {}; nothing was changed",
            step.phase.as_str(),
            step.host
        ))
        .hint("one thing at a time: `provision apply` first, or after this with the inventory that asks for it")),
    }
}
