//! A cluster whose CAs somebody else keeps: nothing is begun before every certificate is on its node, and then they go
//! to where kubeadm finds them. Pure.

use std::collections::BTreeSet;

use super::action::Action;
use super::desired::{HostSteps, When};
use super::model::{PhaseId, StepId};
use crate::error::{Error, Result};
use crate::facts::{Facts, HostFacts};
use crate::inventory::{Inventory, Node};
use crate::kubeadm::{placed, requests, signed};
use crate::resource::{Membership, SERVICE_ACCOUNTS};

/// How many reasons an error names one by one.
const NAMED: usize = 12;

/// The ways to the certificates that are wanting.
pub const HOW_TO_SIGN: [&str; 2] = [
    "`provision certs csr -i INVENTORY --out DIR` makes the keys on the nodes and brings their requests",
    "have them signed, then `provision certs install -i INVENTORY --from DIR`, and run this again",
];

/// Refuses to plan while a node lacks a certificate, with every reason there is; nothing to say where kubeadm signs.
pub(super) fn refuse_certificates(inv: &Inventory, facts: &Facts) -> Result<()> {
    if !inv.certificates.is_external() {
        return Ok(());
    }
    let unknown = HostFacts::default();
    let mut wrong: Vec<String> = Vec::new();
    let mut accounts: BTreeSet<Option<&str>> = BTreeSet::new();
    for node in inv.nodes() {
        let host = facts.hosts.get(&node.name).unwrap_or(&unknown);
        let member = facts.membership(inv, &node) == Membership::Member;
        wrong.extend(wanting(inv, &node, host, member)?.into_iter().map(|why| format!("{}: {why}", node.name)));
        if node.role.is_control_plane() {
            accounts.insert(host.keys.service_accounts.as_deref());
        }
    }
    if wrong.is_empty() && accounts.len() > 1 {
        wrong.push("the control planes do not have the same key for service account tokens".into());
    }
    if wrong.is_empty() {
        return Ok(());
    }
    let more = wrong.len().saturating_sub(NAMED);
    let mut lines: String = wrong.iter().take(NAMED).map(|w| format!("\n  {w}")).collect();
    if more > 0 {
        lines += &format!("\n  and {more} more");
    }
    let error = Error::refused(format!("nodes lack certificates that somebody else has to sign; nothing was changed:{lines}"));
    Err(HOW_TO_SIGN.iter().fold(error, |e, hint| e.hint(*hint)))
}

/// What a node lacks.
fn wanting(inv: &Inventory, node: &Node, host: &HostFacts, member: bool) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    if node.role.is_control_plane()
        && (host.keys.service_accounts.is_none() || !host.keys.keys.contains(SERVICE_ACCOUNTS))
    {
        wrong.push("it has no key for service account tokens".to_owned());
    }
    for request in requests(inv, node)? {
        if member && request.is_for_init_alone() {
            continue;
        }
        let name = &request.name;
        let keys = &host.keys;
        let Some(asked) = keys.requests.get(name).filter(|_| keys.keys.contains(name)) else {
            wrong.push(format!("{name}: no key was made"));
            continue;
        };
        let Some(found) = keys.certificates.get(name) else {
            wrong.push(format!("{name}: its certificate is not there"));
            continue;
        };
        let ca = request.authority.pem(inv).unwrap_or_default();
        if let Err(why) = signed(&request, ca, asked, found, host.now_s) {
            wrong.push(format!("{name}: {why}"));
        }
    }
    Ok(wrong)
}

/// The step before kubeadm's, on a host that is no member. `clear` is the one that takes away what it puts there.
pub(super) fn place(
    inv: &Inventory,
    node: &Node,
    phase: PhaseId,
    clear: &str,
    previous: &[StepId],
    steps: &mut HostSteps<'_>,
) -> Result<()> {
    if !inv.certificates.is_external() {
        return Ok(());
    }
    let action = Action::PlaceCertificates { placed: placed(inv, node)? };
    steps.add(phase, "certificates", action, "kubeadm takes them as they are, and makes none");
    steps.when(When::DriftOrWith(vec![clear.to_owned()]));
    // Once these are there the host is no longer bare: not before it is its turn.
    steps.after(previous.iter().cloned());
    Ok(())
}
