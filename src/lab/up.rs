//! Everything of a lab up to the point where an ordinary user begins: hosts with sshd, an upstream, an inventory.

use std::path::{Path, PathBuf};

use futures::{StreamExt as _, TryStreamExt as _};

use super::inventory::inventory;
use super::needs::ensure;
use super::node::{NewNode, Os, image, list, network, reach, remove, start};
use super::part::part;
use super::process::run;
use super::resources::check;
use super::source::{Parts, Source, versions_in};
use super::state::{LabState, lab_dir};
use super::upstream::Upstream;
use crate::bundle::{Bundle, SigningKey};
use crate::error::{Context as _, Error, Result};
use crate::exec::Sink;

/// What lab to make.
#[derive(Debug, Clone)]
pub struct LabOptions {
    /// Its name: a DNS label.
    pub name: String,
    /// Control planes.
    pub control_planes: u8,
    /// Workers.
    pub workers: u8,
    /// Where Kubernetes comes from.
    pub source: Option<String>,
    /// `haproxy` or `first-node`.
    pub endpoint: String,
    /// A file with more of the inventory, laid over the lab's own.
    pub with: Option<PathBuf>,
    /// The operating system of the nodes.
    pub os: Os,
}

/// A node that was made.
pub(super) struct MadeNode {
    pub(super) name: String,
    pub(super) address: String,
    pub(super) role: &'static str,
    pub(super) host_key: String,
}

/// What was made for a lab and stays the same whatever version of Kubernetes its hosts get.
pub struct Made {
    pub(super) nodes: Vec<MadeNode>,
    /// The SSH private key's path.
    pub(super) key_file: String,
    /// The signer's public key.
    pub(super) signer: String,
}

/// A lab that is ready for `bundle lock`.
pub struct LabFiles {
    /// What its inventories name.
    pub made: Made,
    /// Its files.
    pub state: LabState,
    /// The local upstream; it ends when this is dropped.
    pub upstream: Option<Upstream>,
}

/// The password of the lab's own signing key: it guards nothing that the directory's permissions do not.
const SIGNER_PASSWORD: &str = "lab";

/// The public key of the lab's signer; the pair is made when it is not there.
fn signer(state: &LabState) -> Result<String> {
    let public = state.signer().with_extension("pub");
    if !public.exists() {
        crate::bundle::keygen(&state.signer(), &SIGNER_PASSWORD.into())?;
    }
    let text = std::fs::read_to_string(&public).context(|| format!("failed to read {}", public.display()))?;
    Ok(text.lines().last().unwrap_or_default().to_owned())
}

/// Signs a bundle of a lab with the lab's key.
pub fn sign(state: &LabState, path: &Path) -> Result<()> {
    let bundle = Bundle::open(path)?;
    let key = SigningKey::open(&state.signer().with_extension("key"), &SIGNER_PASSWORD.into())?;
    key.sign(&bundle, path, None).map(drop)
}

/// Makes the lab's hosts, upstream and inventory. Refused when a lab of that name is there.
pub async fn prepare(options: &LabOptions, sink: &dyn Sink) -> Result<LabFiles> {
    lab_dir(&options.name)?;
    if options.control_planes == 0 {
        return Err(Error::new(crate::error::Kind::Usage, "a lab needs a control plane"));
    }
    let source = Source::choose(options.source.as_deref()).await?;
    check(options.control_planes, options.workers)?;
    ensure(&source, sink).await?;
    if list().await?.iter().any(|(lab, ..)| *lab == options.name) {
        return Err(Error::refused(format!("there is a lab `{}` already", options.name)).hint(format!(
            "`provision lab down --name {}` takes it away; its inventory still works with apply",
            options.name
        )));
    }
    // A run that was ended before its first node left a network or a volume, and their names are taken.
    remove(&options.name).await?;
    let version = source.version().await?;
    eprintln!(
        "lab: {} of Kubernetes {version} from {source}. What is made for the first time takes minutes and is kept in {}; \
         a later lab of this version takes it from there",
        count(options),
        crate::bundle::cache_dir().display()
    );
    let parts = source.parts(&version, sink).await?;
    let upstream = serve(parts.as_ref(), None, sink).await?;
    let state = LabState::create(&options.name)?;
    let key = state.key().to_string_lossy().into_owned();
    if !state.key().exists() {
        run(
            &["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "provision-lab", "-f", &key],
            "",
            "make the lab's SSH key",
        )
        .await?;
    }
    let signer = signer(&state)?;
    let public_key =
        std::fs::read_to_string(format!("{key}.pub")).context(|| "failed to read the lab's SSH key".into())?;
    image(options.os, sink).await?;
    let prefix = network(&options.name).await?;
    let planned = (1..=options.control_planes)
        .map(|n| (format!("cp{n}"), "control-plane", 10 + u16::from(n)))
        .chain((1..=options.workers).map(|n| (format!("w{n}"), "worker", 100 + u16::from(n))));
    let nodes: Vec<MadeNode> = futures::stream::iter(planned.map(|(name, role, last)| {
        let address = format!("{prefix}.{last}");
        let (public_key, lab) = (public_key.as_str(), options.name.as_str());
        async move {
            let new = NewNode { lab, name: &name, address: &address, public_key, os: options.os };
            let host_key = part(sink, &name, "start the node", start(&new)).await?;
            Ok::<_, Error>(MadeNode { name, address, role, host_key })
        }
    }))
    .buffered(3)
    .try_collect()
    .await?;
    reach(&options.name, &prefix).await?;
    let made = Made { nodes, key_file: key, signer };
    let known: String = made.nodes.iter().map(|n| format!("{} {}\n", n.address, n.host_key)).collect();
    let path = state.known_hosts();
    std::fs::write(&path, known).context(|| format!("failed to write {}", path.display()))?;
    let local = parts.as_ref().zip(upstream.as_ref());
    write_inventory(&state, options, &version, &made, local)?;
    Ok(LabFiles { made, state, upstream })
}

/// Starts the upstream of a source that has none of its own.
async fn serve(parts: Option<&Parts>, ports: Option<(u16, u16)>, sink: &dyn Sink) -> Result<Option<Upstream>> {
    let Some(parts) = parts else { return Ok(None) };
    let title = "start a download site and a registry on this machine, and fill them";
    part(sink, "-", title, Upstream::start(parts, ports)).await.map(Some)
}

/// Like "3 control planes and 2 workers".
fn count(options: &LabOptions) -> String {
    let some = |n: u8, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    match (options.control_planes, options.workers) {
        (planes, 0) => some(planes, "control plane"),
        (planes, workers) => format!("{} and {}", some(planes, "control plane"), some(workers, "worker")),
    }
}

fn write_inventory(
    state: &LabState,
    options: &LabOptions,
    version: &str,
    made: &Made,
    local: Option<(&Parts, &Upstream)>,
) -> Result<()> {
    let mut text = inventory(options, version, made, local);
    if let Some(path) = &options.with {
        text = super::overlay::overlay(&text, &crate::inventory::read(path)?, path)?;
    }
    let to = state.inventory();
    std::fs::write(&to, text).context(|| format!("failed to write the lab's inventory {}", to.display()))
}

/// Makes the upstream of another version of Kubernetes at the addresses that the lab's inventory names, which must be free
/// again, and the inventory for it. `None` where the sources have an upstream of their own.
pub async fn another(
    options: &LabOptions,
    state: &LabState,
    made: &Made,
    version: &str,
    ports: Option<(u16, u16)>,
    sink: &dyn Sink,
) -> Result<(LabState, Option<Upstream>)> {
    let source = Source::choose(options.source.as_deref()).await?;
    let own = source.version().await?;
    if let Source::Dir(dir) = &source
        && !versions_in(dir)?.iter().any(|v| v.to_string() == version)
    {
        return Err(Error::new(crate::error::Kind::Usage, format!("that source has {own} and no {version}"))
            .hint(format!("put its release binaries into {}", dir.join(format!("v{version}")).display()))
            .hint("beside them v and its own version is the name of a directory for what the lab comes up with"));
    }
    let parts = source.parts(version, sink).await?;
    let upstream = serve(parts.as_ref(), ports, sink).await?;
    let other = state.of_version(version)?;
    write_inventory(&other, options, version, made, parts.as_ref().zip(upstream.as_ref()))?;
    Ok((other, upstream))
}
