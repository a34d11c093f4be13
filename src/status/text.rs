//! A screen of text: 24 lines of 80 columns for a small cluster, and not many more for a large one.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::hosts::{Health, HostRow};
use super::model::Status;

/// Clusters of more hosts than this show their well workers as counts by pool.
const ROWS: usize = 12;
/// So many of what was found are shown.
const FOUND: usize = 6;

/// The status for people; `all` shows every host and everything that was found.
#[must_use]
pub fn text(status: &Status, all: bool) -> String {
    let mut out = String::new();
    let line = |out: &mut String, key: &str, words: &str| {
        let _ = writeln!(out, "{key:<11} {words}");
    };
    let word = match status.health() {
        Health::Well => "WELL",
        Health::Attention => "WELL, with something to look at",
        Health::Bare | Health::Bad => "NOT WELL",
    };
    line(&mut out, "cluster", &format!("{}: {word}", status.cluster));
    line(&mut out, "API", &status.api_words());
    line(&mut out, "Kubernetes", &status.version_words());
    line(&mut out, "etcd", &status.etcd_words());
    line(&mut out, "certificate", &status.certificate_words());
    line(&mut out, "inventory", status.inventory.get(..19).unwrap_or(&status.inventory));
    line(&mut out, "last", &status.last_words());
    out.push('\n');
    let (shown, counted): (Vec<&HostRow>, Vec<&HostRow>) = status
        .hosts
        .iter()
        .partition(|h| all || status.hosts.len() <= ROWS || !h.role.is_worker() || h.health != Health::Well);
    table(&mut out, &shown);
    let mut pools: BTreeMap<&str, usize> = BTreeMap::new();
    for host in &counted {
        *pools.entry(host.pool.as_deref().unwrap_or("without a pool")).or_default() += 1;
    }
    for (pool, count) in pools {
        let of = status.hosts.iter().filter(|h| h.role.is_worker());
        let of = of.filter(|h| h.pool.as_deref().unwrap_or("without a pool") == pool).count();
        let _ = writeln!(out, "  {count} of {of} workers {pool} are well (-v shows each)");
    }
    for name in &status.not_in_inventory {
        let _ = writeln!(out, "? {name}: in the cluster, not in the inventory");
    }
    let most = if all { usize::MAX } else { FOUND };
    if !status.drift.is_empty() {
        let _ = writeln!(out, "\nnot as the inventory says, and mended by no step of a plan:");
    }
    for drift in status.drift.iter().take(most) {
        let _ = writeln!(out, "! {}: {}: {}", drift.host, drift.what, drift.found);
    }
    if status.drift.len() > most {
        let _ = writeln!(out, "  {} more (-v shows each)", status.drift.len() - most);
    }
    out
}

fn table(out: &mut String, rows: &[&HostRow]) {
    let header = ["host", "address", "role", "ready", "kubelet", "etcd", "days", "state"].map(str::to_owned);
    let cells: Vec<[String; 8]> = std::iter::once(header).chain(rows.iter().map(|row| cells(row))).collect();
    let width = |n: usize| cells.iter().map(|row| row[n].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..7).map(width).collect();
    let marks = std::iter::once(' ').chain(rows.iter().map(|row| mark(row.health)));
    for (mark, row) in marks.zip(&cells) {
        let columns: String = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$} ")).collect();
        let _ = writeln!(out, "{}", format!("{mark} {columns}{}", row[7]).trim_end());
    }
}

fn mark(health: Health) -> char {
    match health {
        Health::Well => ' ',
        Health::Attention => '!',
        Health::Bare => '-',
        Health::Bad => 'x',
    }
}

fn cells(row: &HostRow) -> [String; 8] {
    let yes = |b: bool| if b { "yes" } else { "no" }.to_owned();
    let none = || "-".to_owned();
    let state = std::iter::once(row.state.clone()).chain(row.notes()).collect::<Vec<_>>().join(", ");
    [
        row.name.clone(),
        row.address.clone(),
        row.role_name().to_owned(),
        row.ready.map_or_else(none, yes),
        row.kubelet.clone().map_or_else(none, |k| if row.skew { format!("{k}*") } else { k }),
        if row.etcd_leader { "leader".to_owned() } else { row.etcd.map_or_else(none, str::to_owned) },
        row.certificate_days.map_or_else(none, |d| d.to_string()),
        state,
    ]
}
