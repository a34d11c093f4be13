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
    Err(with_how_to_sign(Error::refused(format!(
        "nodes lack certificates that somebody else has to sign; nothing was changed:{lines}"
    ))))
}

/// The error with [`HOW_TO_SIGN`] as its hints.
#[must_use]
pub fn with_how_to_sign(error: Error) -> Error {
    HOW_TO_SIGN.iter().fold(error, |e, hint| e.hint(*hint))
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

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer, IsCa, KeyPair};

    use super::super::planner_tests::{bare, bundle, inventory, member};
    use super::super::{Observations, Step, assemble, desired};
    use super::*;
    use crate::error::Kind;
    use crate::exec::pki::{KeyOrder, make_keys};
    use crate::inventory::{Authorities, CertificatesMode};
    use crate::kubeadm::Placed;

    type Tested = std::result::Result<(), Box<dyn std::error::Error>>;
    type Ca = CertifiedIssuer<'static, KeyPair>;

    fn ca() -> std::result::Result<Ca, rcgen::Error> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate()?)
    }

    /// Two control planes and a worker, and a CA for all.
    fn external() -> std::result::Result<(Inventory, Ca), rcgen::Error> {
        let (mut inv, ca) = (inventory(2, 1), ca()?);
        inv.certificates.mode = CertificatesMode::External;
        let pem = Some(ca.pem());
        inv.certificates.authorities = Authorities { ca: pem.clone(), front_proxy_ca: pem.clone(), etcd_ca: pem };
        Ok((inv, ca))
    }

    /// What `certs csr` and `certs install` leave on a host.
    fn give(inv: &Inventory, node: &Node, ca: &Ca, host: &mut HostFacts) -> Tested {
        let dir = tempfile::tempdir()?;
        let wanted = requests(inv, node)?;
        let order = KeyOrder { dir: dir.path().into(), service_accounts: false, requests: wanted.clone() };
        let made = make_keys(&order)?;
        for (name, csr) in &made.requests {
            let cert = CertificateSigningRequestParams::from_pem(csr)?.signed_by(ca)?.pem();
            host.keys.certificates.insert(name.clone(), cert);
        }
        host.keys.keys = made.made.into_iter().chain([SERVICE_ACCOUNTS.to_owned()]).collect();
        host.keys.requests = made.requests;
        host.keys.service_accounts = node.role.is_control_plane().then(|| "the same".to_owned());
        host.now_s = 1_893_456_000;
        Ok(())
    }

    fn given(inv: &Inventory, ca: &Ca) -> std::result::Result<Facts, Box<dyn std::error::Error>> {
        let mut facts = bare(inv);
        for node in inv.nodes() {
            if let Some(host) = facts.hosts.get_mut(&node.name) {
                give(inv, &node, ca, host)?;
            }
        }
        Ok(facts)
    }

    fn refused(inv: &Inventory, facts: &Facts) -> String {
        match desired(inv, &bundle(), facts) {
            Err(e) if e.kind() == Kind::Refused => e.report(),
            other => panic!("{:?}", other.map(|all| all.len())),
        }
    }

    #[test]
    fn nothing_is_begun_before_every_certificate_is_there() -> Tested {
        let (inv, ca) = external()?;
        let said = refused(&inv, &bare(&inv));
        assert!(said.contains("cp0: apiserver: no key was made") && said.contains("and 14 more"), "{said}");
        assert!(HOW_TO_SIGN.iter().all(|hint| said.contains(hint)), "{said}");

        let good = given(&inv, &ca)?;
        let but = |change: &dyn Fn(&mut HostFacts)| {
            let mut facts = good.clone();
            if let Some(host) = facts.hosts.get_mut("cp1") {
                change(host);
            }
            refused(&inv, &facts)
        };
        let said = but(&|h| drop(h.keys.certificates.remove("etcd-peer")));
        assert!(said.contains("cp1: etcd-peer: its certificate is not there"), "{said}");
        let said = but(&|h| h.keys.keys.retain(|k| k != "kubelet"));
        assert!(said.contains("cp1: kubelet: no key was made"), "{said}");
        let said = but(&|h| h.now_s = i64::MAX);
        assert!(said.contains("cp1: apiserver: it held until"), "{said}");
        let said = but(&|h| h.keys.service_accounts = Some("another".into()));
        assert!(said.contains("do not have the same key for service account tokens"), "{said}");
        let said = but(&|h| {
            let foreign = good.hosts["cp0"].keys.certificates["apiserver"].clone();
            h.keys.certificates.insert("apiserver".into(), foreign);
        });
        assert!(said.contains("cp1: apiserver: its public key is not that of the node's key"), "{said}");
        Ok(())
    }

    #[test]
    fn certificates_are_placed_right_before_kubeadm() -> Tested {
        let (inv, ca) = external()?;
        let facts = given(&inv, &ca)?;
        let steps: Vec<Step> = assemble(&desired(&inv, &bundle(), &facts)?, &Observations::new());
        for (phase, host) in [("init", "cp0"), ("join-control-plane", "cp1"), ("join-worker", "w0")] {
            let step = |what: &str| {
                let id = format!("{phase}/{host}/{what}");
                steps.iter().find(|s| s.id == id).ok_or(id)
            };
            assert!(step("kubeadm")?.needs.contains(&step("certificates")?.id), "{host}");
            let Action::PlaceCertificates { placed } = &step("certificates")?.action else { panic!("{host}") };
            let accounts = placed.iter().any(|p| matches!(p, Placed::ServiceAccounts { .. }));
            assert_eq!(accounts, host != "w0");
            match &step("kubeadm")?.action {
                Action::KubeadmInit { config, .. } => assert!(config.contains("rotate-certificates")),
                Action::KubeadmJoin { config, ignore_preflight_errors, .. } => {
                    assert!(config.contains("rotate-certificates"));
                    assert!(ignore_preflight_errors.iter().any(|e| e.contains("kubelet.conf")));
                }
                other => panic!("{other:?}"),
            }
        }
        // The second control plane is not begun before the first is in.
        let early = steps.iter().find(|s| s.id == "join-control-plane/cp1/certificates").map(|s| s.needs.clone());
        assert!(early.is_some_and(|needs| needs.iter().any(|n| n == "init/cp0/joined")));

        // On a member kubeadm has no more business, nor has this.
        let mut living = facts.clone();
        for host in living.hosts.values_mut() {
            member(host, true);
        }
        let ids: Vec<String> = desired(&inv, &bundle(), &living)?.into_iter().map(|d| d.id).collect();
        assert!(!ids.iter().any(|id| id.ends_with("/certificates")));
        Ok(())
    }
}
