//! Does what comes next until nothing is left.

use std::collections::BTreeMap;

use clap::ValueEnum;
use futures::StreamExt as _;

use super::{cluster, node, stage};
use crate::error::{Error, Kind, Result};
use crate::exec::{Cancel, Context, etcd};
use crate::inventory::{EtcdMode, Node};
use crate::rotation::{Family, Move, Pair, Phase, Seen, lacks, moves, pair, resolve, rotation_probes, seen};

/// What becomes of pods of other people that were made before they could trust the new CA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Workloads {
    /// The rotation waits for their owners: it is refused while there are any.
    Wait,
    /// Their Deployments, DaemonSets and StatefulSets are restarted, one after the other.
    Restart,
    /// They stay. Those that ask the API fail from the switch on, until somebody restarts them.
    Leave,
}

/// What is wanted of a rotation.
#[derive(Debug, Clone, Copy)]
pub struct Wish {
    /// The CA.
    pub family: Family,
    /// The phase after which to stop.
    pub until: Phase,
    /// Of the pods that are not in kube-system.
    pub workloads: Workloads,
    /// How many hosts are looked at at once.
    pub concurrency: usize,
}

/// Where a rotation stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// The CA that goes and the one that comes.
    pub pair: Pair,
    /// The old one is gone.
    pub whole: bool,
}

/// The nodes that know the CA, control planes first, and how many of them are.
fn nodes(ctx: &Context, family: Family) -> (Vec<Node>, usize) {
    let mut all = ctx.inventory.control_planes();
    let planes = all.len();
    if family.on_workers() {
        all.extend(ctx.inventory.nodes().into_iter().filter(|n| !n.role.is_control_plane()));
    }
    (all, planes)
}

/// Looks at every node that knows the CA.
pub async fn look(ctx: &Context, family: Family, concurrency: usize) -> Result<BTreeMap<String, Seen>> {
    let (nodes, _) = nodes(ctx, family);
    let asked = nodes.iter().map(|n| async { Ok((n.name.clone(), look_at(ctx, family, &n.name).await?)) });
    let all: Vec<Result<(String, Seen)>> =
        futures::stream::iter(asked).buffer_unordered(concurrency.max(1)).collect().await;
    let mut all = all.into_iter().collect::<Result<BTreeMap<_, _>>>()?;
    resolve(&mut all)?;
    Ok(all)
}

async fn look_at(ctx: &Context, family: Family, host: &str) -> Result<Seen> {
    let answers = ctx.host(host)?.probe(&rotation_probes(family)).await?;
    seen(family, &answers).map_err(|e| e.on(host))
}

/// What a move left on a host, with the CAs that the others know.
async fn look_again(ctx: &Context, family: Family, host: &str, seen: &mut BTreeMap<String, Seen>) -> Result<()> {
    let now = look_at(ctx, family, host).await?;
    seen.insert(host.to_owned(), now);
    resolve(seen)
}

/// Rotates a CA, or goes on with a rotation that was begun.
///
/// Errors: `Refused` when it may not begin, when a control plane is not well, or while pods stand in the way;
/// `Interrupted`; `Failed` when a node does not come up. Run again, it goes on.
pub async fn rotate(ctx: &Context, cancel: &Cancel, wish: &Wish) -> Result<Done> {
    let family = wish.family;
    if family == Family::Etcd && ctx.inventory.etcd.mode == EtcdMode::External {
        return Err(Error::refused("this etcd is not on the control planes; its CA is not one of kubeadm's")
            .hint("`--ca kubernetes` and `--ca front-proxy` are"));
    }
    let (nodes, planes) = nodes(ctx, family);
    let order: Vec<String> = nodes.iter().map(|n| n.name.clone()).collect();
    let mut before: Vec<Move> = Vec::new();
    loop {
        let mut seen = look(ctx, family, wish.concurrency).await?;
        let left = moves(family, &order, &order[..planes], &seen, wish.until)?;
        let pair = pair(family, &order[..planes], &seen)?;
        if left.is_empty()
            && let Some(pair) = pair
        {
            return Ok(Done { pair, whole: false });
        }
        if left == before {
            return Err(Error::failed("what was done on the nodes does not stay done"));
        }
        for one in &left {
            if cancel.is_requested() {
                return Err(Error::new(
                    Kind::Interrupted,
                    "interrupted; both CAs are trusted where the new one is known",
                )
                .hint("run the same command again: it goes on"));
            }
            match (one, &pair) {
                (Move::Stage(host), _) => {
                    stage::stage(ctx, family, host, &seen).await?;
                    look_again(ctx, family, host, &mut seen).await?;
                }
                (Move::Node(host, phase), Some(pair)) => {
                    others_are_well(ctx, host).await?;
                    let Some(node) = nodes.iter().find(|n| n.name == *host) else { continue };
                    let work = node::Work { ctx, family, node, first: &order[0], phase: *phase, pair };
                    work.carry_out(&seen).await?;
                    look_again(ctx, family, host, &mut seen).await?;
                    let lacking = lacks(family, &seen[host], pair, *phase);
                    if !lacking.is_empty() {
                        return Err(Error::failed(format!("it lacks {}", lacking.join(", "))).on(host));
                    }
                }
                (Move::Cluster(host, phase), Some(_)) => cluster::follow(ctx, wish, host, *phase, &seen).await?,
                (Move::Clean(host), _) => stage::clean(ctx, family, host).await?,
                (Move::Node(..) | Move::Cluster(..), None) => {}
            }
        }
        if let (Some(Move::Clean(_)), Some(pair)) = (left.first(), pair) {
            return Ok(Done { pair, whole: true });
        }
        before = left;
    }
}

/// Only when all others are well does the cluster stay up while one restarts.
async fn others_are_well(ctx: &Context, host: &str) -> Result<()> {
    for other in ctx.inventory.control_planes().iter().filter(|n| n.name != host) {
        let timeout_s = ctx.inventory.verify.timeout_s;
        if !etcd::holds(ctx, &other.name, &etcd::well(other, timeout_s)).await? {
            return Err(Error::refused(format!("the control plane is not well; {host} is left as it is"))
                .on(&other.name)
                .hint("`provision status` shows more; once it is well, run the same command again: it goes on"));
        }
    }
    Ok(())
}
