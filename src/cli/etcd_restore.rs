//! `provision etcd restore`

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufReader, Seek as _, SeekFrom};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use chrono::Utc;
use tokio::time::Instant;

use super::apply::carry_out;
use super::args::Global;
use super::args_etcd::Restore;
use super::confirm;
use super::etcd_snapshot::OF_HOSTS;
use super::operation::Operation;
use super::survey::{Hosts, bundle_of, connect, load, open_bundle, refuse, survey};
use crate::backup::{Backup, BackupManifest, identities, read};
use crate::bundle::{Bundle, Digest};
use crate::error::{Context as _, Error, Kind, Result};
use crate::exec::{Lease, etcd};
use crate::facts::{Facts, Finding, gather, observe, preflight};
use crate::inventory::{EtcdMode, Inventory, Node, expand_home};
use crate::plan::{
    Fingerprints, PLAN_FORMAT, PhaseId, Plan, Step, assemble, desired, led_by, of_host, questions,
    without_control_planes,
};
use crate::resource::Membership;

const COMMAND: &str = "etcd restore";
/// How long the other hosts may take to see the API again.
const SETTLE: Duration = Duration::from_secs(120);

pub(super) async fn restore(args: &Restore, global: &Global) -> Result<ExitCode> {
    let inv = load(&args.inputs.inventory.inventory)?;
    if inv.certificates.is_external() {
        return Err(Error::refused("a backup is restored with the CAs in it, and somebody else keeps this cluster's")
            .hint("single control planes come back with `provision apply`, once `provision certs install` gave them certificates"));
    }
    let chosen = chosen(&inv, args.on.as_deref())?;
    let bundle = open_bundle(&bundle_of(&args.inputs)?, &inv)?;
    let (backup, mut snapshot) = open(&args.snapshot, args.identity.as_deref())?;
    fits(&backup.manifest, &inv)?;
    let of = &backup.manifest;
    eprintln!(
        "{}: cluster {}, taken {} on {}, {} keys",
        args.snapshot.display(),
        of.cluster,
        of.taken_at,
        of.node,
        of.snapshot.keys
    );
    confirm(&inv, &chosen.name, &backup.manifest, args.confirm.as_deref())?;
    let _lease = Lease::acquire(&inv.cluster.name, COMMAND)?;
    let hosts = connect(&inv.nodes(), global).await?;
    let facts = gather(&inv, &hosts, global.concurrency).await?;
    may_start_over(&inv, &facts)?;
    let bare = |n: &Node| facts.membership(&inv, n) == Membership::Absent;
    let bare: Vec<String> = inv.nodes().into_iter().filter(bare).map(|n| n.name).collect();
    // The workers that run on.
    let standing = inv.nodes().into_iter().filter(|n| !n.role.is_control_plane() && !bare.contains(&n.name));
    let standing: Vec<String> = standing.map(|n| n.name).collect();

    let operation = Operation::begin(COMMAND, inv.clone(), hosts.clone(), global)?;
    let quorum = etcd::healthy_member(&operation.context, &inv.control_planes()).await;
    let quorum = operation.end(quorum)?;
    if let (Some((node, _)), false) = (quorum, args.even_though_etcd_has_quorum) {
        return Err(Error::refused(format!(
            "etcd has quorum (its member on {} is healthy): a restore would throw away everything since {}",
            node.name, of.taken_at
        ))
        .hint("mend single control planes with `provision apply`, or after `provision reset --host NAME`")
        .hint("who really means to go back in time adds --even-though-etcd-has-quorum"));
    }

    // What the chosen host needs before kubeadm; for one that was a control plane that is nothing.
    let later = without_control_planes(&inv, &facts);
    let tools = steps(&inv, &bundle, &hosts, &later, &chosen.name, |p| p < PhaseId::Init, global).await?;
    run(&inv, tools, &hosts, &bundle, global).await?;
    let operation = Operation::begin(COMMAND, inv.clone(), hosts.clone(), global)?;
    let ctx = &operation.context;
    let aside = format!("/var/lib/provision/before-restore-{}", Utc::now().format("%Y%m%dT%H%M%SZ"));
    let placed = async {
        snapshot.seek(SeekFrom::Start(0)).context(|| "failed to read the snapshot again".into())?;
        etcd::stage(ctx, &chosen, &backup.manifest, &mut snapshot).await?;
        etcd::start_over(ctx, &inv.control_planes(), &chosen.name, &backup, &aside).await
    };
    let placed = placed.await;
    operation.end(placed)?;
    let init =
        steps(&led_by(&inv, &chosen.name), &bundle, &hosts, &later, &chosen.name, |p| p == PhaseId::Init, global)
            .await?;
    run(&inv, init, &hosts, &bundle, global).await?;
    let operation = Operation::begin(COMMAND, inv.clone(), hosts.clone(), global)?;
    let current = async {
        etcd::forget_others(&operation.context, &chosen.name, &bare).await?;
        etcd::kubelets_anew(&operation.context, &standing).await
    };
    let current = current.await;
    operation.end(current)?;
    let plan = settled(&inv, &bundle, &hosts, global).await?;
    let mut stale = BTreeSet::new();
    if !standing.is_empty() {
        let operation = Operation::begin(COMMAND, inv.clone(), hosts.clone(), global)?;
        let left = etcd::pods_anew(&operation.context, &chosen.name, &backup.manifest.taken_at).await;
        stale = operation.end(left)?;
    }
    // From here on it is an ordinary apply: the other control planes join, and the whole is tested.
    carry_out(&plan, COMMAND, inv.clone(), hosts, Some(bundle), global).await?;
    println!(
        "cluster {} is as it was at {}; what its control planes had before lies in {aside} on each that had something",
        inv.cluster.name, backup.manifest.taken_at
    );
    if !stale.is_empty() {
        println!(
            "these ran on and may know a later state of the API than there is: restart those that watch it\n  {}",
            stale.into_iter().collect::<Vec<_>>().join("\n  ")
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn chosen(inv: &Inventory, on: Option<&str>) -> Result<Node> {
    if inv.etcd.mode == EtcdMode::External {
        return Err(Error::refused("etcd does not run on this cluster's control planes: it is restored where it runs")
            .hint(OF_HOSTS));
    }
    let planes = inv.control_planes();
    let found = planes.iter().find(|n| on.is_none_or(|on| n.name == on)).cloned();
    found.ok_or_else(|| {
        Error::new(Kind::Usage, format!("{} is no control plane of the inventory", on.unwrap_or("nobody")))
    })
}

/// Reads the backup; the snapshot goes to a file that has no name.
fn open(path: &Path, identity: Option<&Path>) -> Result<(Backup, File)> {
    let reading = |path: &Path| format!("failed to read {}", path.display());
    let keys = match identity {
        Some(file) => {
            let file = expand_home(file);
            let text = std::fs::read_to_string(&file).map_err(|e| Error::invalid(reading(&file)).source(e))?;
            identities(&text)?
        }
        None => Vec::new(),
    };
    let file = File::open(path).map_err(|e| Error::invalid(reading(path)).source(e))?;
    let mut snapshot = tempfile::tempfile().context(|| "failed to make a file for the snapshot".into())?;
    let backup = read(BufReader::new(file), &keys, &mut snapshot)?;
    Ok((backup, snapshot))
}

fn fits(manifest: &BackupManifest, inv: &Inventory) -> Result<()> {
    if manifest.cluster != inv.cluster.name {
        return Err(Error::refused(format!(
            "the backup is of cluster `{}`, the inventory's is `{}`",
            manifest.cluster, inv.cluster.name
        ))
        .hint("use that cluster's inventory, with the hosts it shall run on now"));
    }
    let plain = |v: &str| v.trim_start_matches('v').to_owned();
    if plain(&manifest.kubernetes) != plain(&inv.cluster.version) {
        return Err(Error::refused(format!(
            "the backup is of Kubernetes {}, the inventory asks for {}",
            manifest.kubernetes, inv.cluster.version
        ))
        .hint("restore with the version it was taken with, then upgrade"));
    }
    Ok(())
}

/// Refused when a host is somebody else's, or a check fails that has nothing to do with the cluster being down.
fn may_start_over(inv: &Inventory, facts: &Facts) -> Result<()> {
    for node in inv.nodes() {
        if let Membership::Foreign(why) = facts.membership(inv, &node) {
            return Err(Error::refused(format!("nothing is restored onto it: {why}")).on(node.name).hint(
                "take the host out of the inventory, or make it bare with `provision reset --host NAME` if it may go",
            ));
        }
    }
    let aside = ["membership", "ports", "ca", "rotation"];
    let findings: Vec<Finding> =
        preflight(inv, facts).into_iter().filter(|f| !aside.contains(&f.check.as_str())).collect();
    refuse(&findings)
}

async fn steps(
    inv: &Inventory,
    bundle: &Bundle,
    hosts: &Hosts,
    facts: &Facts,
    host: &str,
    wanted: impl Fn(PhaseId) -> bool,
    global: &Global,
) -> Result<Vec<Step>> {
    let all = desired(inv, bundle.manifest(), facts)?;
    let mut asked = questions(&all);
    asked.retain(|name, _| name == host);
    let answers = observe(hosts, &asked, global.concurrency).await?;
    Ok(of_host(assemble(&all, &answers), host, wanted))
}

async fn run(inv: &Inventory, steps: Vec<Step>, hosts: &Hosts, bundle: &Bundle, global: &Global) -> Result<()> {
    if steps.is_empty() {
        return Ok(());
    }
    let nothing = Digest::of(b"");
    let plan = Plan {
        format_version: PLAN_FORMAT,
        cluster: inv.cluster.name.clone(),
        inputs: Fingerprints {
            tool: env!("CARGO_PKG_VERSION").into(),
            inventory: nothing,
            bundle: bundle.digest(),
            hosts: std::collections::BTreeMap::new(),
        },
        steps,
        warnings: Vec::new(),
        drift: Vec::new(),
    };
    carry_out(&plan, COMMAND, inv.clone(), hosts.clone(), Some(bundle.clone()), global).await.map(drop)
}

/// The plan of the rest. Workers find the API again in their own time: until then they count as down.
async fn settled(inv: &Inventory, bundle: &Bundle, hosts: &Hosts, global: &Global) -> Result<Plan> {
    let until = Instant::now() + SETTLE;
    loop {
        match survey(inv, bundle, hosts, global.concurrency).await {
            Err(error) if error.kind() == Kind::Refused && Instant::now() < until => {}
            other => {
                return other.map_err(|e| {
                    e.hint("the restored control plane stands: `provision apply` joins the others once this is mended")
                });
            }
        }
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
}

fn confirm(inv: &Inventory, node: &str, manifest: &BackupManifest, given: Option<&str>) -> Result<()> {
    let cluster = inv.cluster.name.as_str();
    let warning = format!(
        "This ends what is left of cluster {cluster}'s control planes and builds them anew from {} on, beginning with \
         {node}.\nAll that was changed since then is gone.",
        manifest.taken_at
    );
    confirm::typed(cluster, given, &warning)
}
