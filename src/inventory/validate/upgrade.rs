//! What an upgrade waits for.

use super::judge::{at, under};
use super::syntax::{is_base_url, is_dns_label};
use crate::inventory::model::Inventory;
use crate::inventory::structure::shown;
use crate::inventory::tree::{Finding, Path};
use crate::inventory::{Gate, Unfinished};

pub(super) fn check(inventory: &Inventory, found: &mut Vec<Finding>) {
    let upgrade = &inventory.upgrade;
    let gates = at(["upgrade", "gates"]);
    for (index, gate) in upgrade.gates.iter().enumerate() {
        let path = under(&gates, index);
        if !is_dns_label(&gate.name) {
            found.push(Finding::error(
                under(&path, "name"),
                format!("\"{}\" is not a DNS label", shown(&gate.name)),
                "use lower-case letters, digits and dashes, like \"shop-answers\"",
            ));
        } else if upgrade.gates.iter().take(index).any(|g| g.name == gate.name) {
            found.push(Finding::error(
                under(&path, "name"),
                format!("there is a second gate \"{}\"", shown(&gate.name)),
                "rename or remove one of the two",
            ));
        }
        check_gate(gate, &path, found);
    }
    for (key, seconds, needed) in [
        ("gate_timeout_s", upgrade.gate_timeout_s, "nodes and gates need some time after a wave"),
        ("timeout_s", upgrade.drain.timeout_s, "pods need some time to leave a node"),
    ] {
        if seconds == 0 {
            let path = if key == "timeout_s" { at(["upgrade", "drain", key]) } else { at(["upgrade", key]) };
            found.push(Finding::error(path, needed, "allow some seconds; 300 is the default"));
        }
    }
    if upgrade.drain.unfinished == Unfinished::Force {
        found.push(Finding::warning(
            at(["upgrade", "drain", "unfinished"]),
            "pods that stay too long are deleted whatever their disruption budgets say",
            "\"pause\" stops and names them instead",
        ));
    }
}

fn check_gate(gate: &Gate, path: &Path, found: &mut Vec<Finding>) {
    match (&gate.command, &gate.url) {
        (None, None) | (Some(_), Some(_)) => found.push(Finding::error(
            under(path, "name"),
            "a gate asks one question",
            "add command = \"kubectl ...\" or url = \"https://...\"",
        )),
        (Some(command), None) if command.trim().is_empty() => found.push(Finding::error(
            under(path, "command"),
            "an empty command is always content",
            "write what exits with 0 when the upgrade may go on",
        )),
        (None, Some(url)) if !is_base_url(&without_query(url)) => found.push(Finding::error(
            under(path, "url"),
            format!("\"{}\" is not a URL", shown(url)),
            "write it like \"https://shop.example/healthz\"",
        )),
        _ => {}
    }
    if let Some(status) = gate.status {
        if gate.command.is_some() {
            found.push(Finding::error(
                under(path, "status"),
                "a command has no HTTP status",
                "remove it: exit 0 opens the gate of a command",
            ));
        } else if !(200..=599).contains(&status) {
            found.push(Finding::error(
                under(path, "status"),
                format!("no answer has the status {status}"),
                "write one from 200 to 599; 200 is the default",
            ));
        }
    }
}

// A gate may ask with a query, other than the URLs that paths are put behind.
fn without_query(url: &str) -> String {
    url.replacen('?', "/", 1)
}
