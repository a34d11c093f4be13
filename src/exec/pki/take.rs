//! Brings the certificates that came back onto their nodes; a cluster that lives goes on with them.

use std::collections::BTreeMap;
use std::path::Path;

use super::folder::{certificate, read_certificate};
use crate::error::{Error, Result};
use crate::exec::apply::{content, place, secret, wait};
use crate::exec::etcd::{each_in_turn, may_begin, step};
use crate::exec::{Cancel, Context};
use crate::host::FileSpec;
use crate::inventory::{Inventory, Node};
use crate::kubeadm::{Authority, placed, requests, signed};
use crate::plan::{Action, HOW_TO_SIGN};
use crate::resource::{NODE_KEYS, NodeKeys, SERVICE_ACCOUNTS, node_keys, node_keys_probe};

const GROUP: &str = "certificates";

/// All certificates of a host, each of them held against what was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Install {
    /// The host.
    pub host: String,
    /// By name, certificates and those of their CAs in PEM.
    files: BTreeMap<String, String>,
}

/// What was brought onto a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// The host.
    pub host: String,
    /// How many certificates, the CAs' not counted.
    pub certificates: usize,
    /// When the first of them ends, seconds since the epoch.
    pub first_ends: i64,
}

/// Reads and judges what came back for these nodes, at `now` (seconds since the epoch), and writes it: all of a host, or
/// nothing at all. Control planes that lack the key for service account tokens get it from one that has it.
///
/// Errors (`Invalid`): files are missing or are not what was asked for; every one is named, and no node was touched.
pub async fn install(ctx: &Context, nodes: &[Node], from: &Path, now: i64) -> Result<Vec<Installed>> {
    let mut found: BTreeMap<String, NodeKeys> = BTreeMap::new();
    let planes = ctx.inventory.control_planes();
    for node in nodes.iter().chain(&planes) {
        if !found.contains_key(&node.name) {
            let keys = node_keys(&ctx.ask(&node.name, node_keys_probe()).await?);
            found.insert(node.name.clone(), keys);
        }
    }
    let (mut all, mut told, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
    for node in nodes {
        let keys = found.get(&node.name).cloned().unwrap_or_default();
        let (install, installed, problems) = judge(&ctx.inventory, node, &keys, from, now)?;
        all.push(install);
        told.push(installed);
        wrong.extend(problems);
    }
    if !wrong.is_empty() {
        let lines: String = wrong.iter().map(|w| format!("\n  {w}")).collect();
        return Err(Error::invalid(format!("the certificates cannot be used; no node was changed:{lines}"))
            .hint("README.txt beside them says what each has to be; `provision certs csr` writes the requests again"));
    }
    for one in &all {
        step(ctx, GROUP, &one.host, "store the certificates", write(ctx, one)).await?;
    }
    let planes: Vec<&Node> = planes.iter().filter(|p| nodes.iter().any(|n| n.name == p.name)).collect();
    share_service_accounts(ctx, &planes, &found).await?;
    Ok(told)
}

fn judge(
    inv: &Inventory,
    node: &Node,
    keys: &NodeKeys,
    from: &Path,
    now: i64,
) -> Result<(Install, Installed, Vec<String>)> {
    let host = node.name.clone();
    let (mut files, mut wrong) = (BTreeMap::new(), Vec::new());
    let mut installed = Installed { host: host.clone(), certificates: 0, first_ends: i64::MAX };
    for request in requests(inv, node)? {
        let name = &request.name;
        let Some((path, text)) = read_certificate(from, &host, &request)? else {
            wrong.push(format!("{}: there is no such file", certificate(from, &host, &request).display()));
            continue;
        };
        let Some(asked) = keys.requests.get(name).filter(|_| keys.keys.contains(name)) else {
            wrong.push(format!("{}: {host} has no key for it ({})", path.display(), HOW_TO_SIGN[0]));
            continue;
        };
        let ca = request.authority.pem(inv).unwrap_or_default();
        match signed(&request, ca, asked, &text, now) {
            Ok(found) => {
                installed.certificates += 1;
                installed.first_ends = installed.first_ends.min(found.not_after);
                files.insert(name.clone(), found.pem);
            }
            Err(why) => wrong.push(format!("{}: {why}", path.display())),
        }
        files.insert(request.authority.name().into(), ca.to_owned());
    }
    Ok((Install { host, files }, installed, wrong))
}

/// The CAs first: what is cut off in between is a certificate without its CA nowhere.
async fn write(ctx: &Context, install: &Install) -> Result<()> {
    let is_ca = |name: &str| Authority::ALL.iter().any(|a| a.name() == name);
    let (authorities, own): (Vec<_>, Vec<_>) = install.files.iter().partition(|(name, _)| is_ca(name));
    for (name, pem) in authorities.into_iter().chain(own) {
        let path = format!("{NODE_KEYS}/{name}.crt");
        let file = FileSpec { path, content: pem.clone().into_bytes(), mode: 0o644 };
        ctx.host(&install.host)?.write_file(&file).await?;
    }
    Ok(())
}

/// From node to node by way of this program's memory: it is no CA's key, but whoever has it is any pod he likes.
async fn share_service_accounts(ctx: &Context, planes: &[&Node], found: &BTreeMap<String, NodeKeys>) -> Result<()> {
    let has = |name: &String| {
        found.get(name).is_some_and(|k| k.service_accounts.is_some() && k.keys.contains(SERVICE_ACCOUNTS))
    };
    let lacking: Vec<&&Node> = planes.iter().filter(|n| !has(&n.name)).collect();
    if lacking.is_empty() {
        return Ok(());
    }
    let (key, public) = (format!("{NODE_KEYS}/{SERVICE_ACCOUNTS}.key"), format!("{NODE_KEYS}/{SERVICE_ACCOUNTS}.pub"));
    let none = || Error::refused("no control plane has a key for service account tokens").hint(HOW_TO_SIGN[0]);
    let source = found.keys().find(|name| has(name)).ok_or_else(none)?;
    let private: secrecy::SecretString = content(ctx, source, &key).await?.ok_or_else(none)?.into();
    let text = content(ctx, source, &public).await?.ok_or_else(none)?;
    for node in lacking {
        let work = async {
            secret(ctx, &node.name, &key, &private).await?;
            let file = FileSpec { path: public.clone(), content: text.clone().into_bytes(), mode: 0o600 };
            ctx.host(&node.name)?.write_file(&file).await
        };
        step(ctx, GROUP, &node.name, "share the key for service account tokens", work).await?;
    }
    Ok(())
}

/// Lets a cluster that lives go on with what its nodes hold: one control plane after the other restarts its static pods
/// and has to be well before the next; kubelets read theirs by themselves. `given` are the members that got new ones. All
/// control planes are members.
///
/// Errors (`Refused`): a control plane is not well; nothing was put into place.
pub async fn roll(ctx: &Context, given: &[Node], cancel: &Cancel) -> Result<()> {
    let planes = ctx.inventory.control_planes();
    if given.iter().any(|n| n.role.is_control_plane()) {
        may_begin(ctx).await?;
        in_control_planes(ctx, &planes, cancel).await?;
    }
    let Some(voice) = planes.first() else { return Ok(()) };
    for node in given.iter().filter(|n| !n.role.is_control_plane()) {
        let work = async {
            place(ctx, &node.name, &placed(&ctx.inventory, node)?).await?;
            let ready = Action::WaitNodeReady { node: node.name.clone(), timeout_s: ctx.inventory.verify.timeout_s };
            wait(ctx, &voice.name, &ready, &|_| {}).await
        };
        step(ctx, GROUP, &node.name, "put the certificates into place", work).await?;
    }
    Ok(())
}

async fn in_control_planes(ctx: &Context, planes: &[Node], cancel: &Cancel) -> Result<()> {
    each_in_turn(ctx, cancel, "put the certificates into place", async |name: String| {
        match planes.iter().find(|n| n.name == name) {
            Some(node) => place(ctx, &name, &placed(&ctx.inventory, node)?).await,
            None => Ok(()),
        }
    })
    .await
}
