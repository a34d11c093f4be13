//! Packages of the operating system: the local repository, what tells the package manager of it, the installation. Pure.

use super::action::{Action, LocalFile};
use super::desired::{HostSteps, When};
use super::model::PhaseId;
use super::planner::Input;
use crate::bundle::{ArtifactKind, index_name};
use crate::error::{Error, Result};
use crate::inventory::{Arch, Node, PackageKind};
use crate::packages::{index_path, local_release, local_source, pool_path, repository_dir};

/// The steps of one host; none when the inventory names no packages.
///
/// Errors (`Invalid`): the host's distribution has no packages of a type that the inventory names repositories for.
pub(super) fn packages(input: &Input<'_>, node: &Node, arch: Arch, steps: &mut HostSteps<'_>) -> Result<()> {
    let wanted = &input.inv.packages;
    if [PackageKind::Deb, PackageKind::Rpm].iter().all(|k| wanted.names(*k).is_empty()) {
        return Ok(());
    }
    let os = input.facts.hosts.get(&node.name).map(|f| f.os_id.as_str()).unwrap_or_default();
    let kind = PackageKind::of_os(os).ok_or_else(|| {
        Error::invalid(format!("[packages] names packages, and its system is `{os}`: no way to install any is known"))
            .on(&node.name)
            .hint("take [packages] out and install them yourself")
    })?;
    let names = wanted.names(kind);
    if names.is_empty() {
        return Err(Error::invalid(format!(
            "its system is `{os}`, and [packages] names no {} packages",
            kind.as_str()
        ))
        .on(&node.name)
        .hint(format!("add a repository with type = \"{}\" to [packages], then lock and build again", kind.as_str())));
    }
    let dir = repository_dir(kind);
    let index = input.parts.get(ArtifactKind::Package, index_name(kind), arch)?;
    let all = input.parts.packages(kind, arch);
    let id = |what: &str| format!("{}/{}/{what}", PhaseId::Packages.as_str(), node.name);
    let blobs = std::iter::once((index, "index")).chain(all.iter().map(|a| (*a, "install")));
    for (artifact, consumer) in blobs {
        let (digest, size) = (artifact.digest.clone(), artifact.size);
        steps.add(
            PhaseId::Distribute,
            digest.short(),
            Action::PutBlob { digest: digest.clone(), size, artifact: artifact.name.clone() },
            format!("the node lacks {} {}", artifact.name, artifact.version),
        );
        steps.when(When::OnlyWith(vec![id(consumer)]));
    }
    let (source, content) = local_source(kind);
    let source = Action::WriteFile { path: source.into(), content, mode: 0o644 };
    let path = format!("{dir}/{}", index_path(kind));
    let index_file = Action::InstallBlob { digest: index.digest.clone(), path, mode: 0o644 };
    let (path, content) = local_release(kind, arch, &index.digest, index.size);
    let release = Action::WriteFile { path: format!("{dir}/{path}"), content, mode: 0o644 };
    steps.add(PhaseId::Packages, "index", index_file, "what is in the local repository");
    steps.add(PhaseId::Packages, "release", release, "pins the index of the local repository");
    steps.add(PhaseId::Packages, "source", source, "the package manager knows of the local repository");
    let set = all
        .iter()
        .filter_map(|a| {
            let (_, name) = a.name.split_once('/')?;
            Some(LocalFile {
                name: name.to_owned(),
                version: a.version.clone(),
                digest: a.digest.clone(),
                path: pool_path(kind, name, &a.version, arch),
            })
        })
        .collect();
    let names = names.into_iter().map(str::to_owned).collect();
    steps.add(
        PhaseId::Packages,
        "install",
        Action::InstallPackages { manager: kind, names, set },
        "[packages] names them, or what is installed is older",
    );
    Ok(())
}
