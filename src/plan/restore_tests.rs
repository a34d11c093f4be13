//! What is planned round a restored etcd.

use super::planner_tests::{bare, bundle, inventory, member};
use super::*;
use crate::error::Result;
use crate::resource::Membership;

/// A cluster whose control planes are down, and so, as far as one can tell, its worker.
fn down() -> (crate::inventory::Inventory, crate::facts::Facts) {
    let inv = inventory(3, 1);
    let mut facts = bare(&inv);
    for (name, host) in &mut facts.hosts {
        member(host, name.starts_with("cp"));
        host.state.node = None;
    }
    (inv, facts)
}

#[test]
fn the_chosen_one_inits_on_what_is_there_and_nobody_else_is_touched() -> Result<()> {
    let (inv, facts) = down();
    let later = without_control_planes(&inv, &facts);
    for node in inv.control_planes() {
        assert_eq!(later.membership(&inv, &node), Membership::Absent, "{}", node.name);
    }
    assert_eq!(later.hosts["w0"].state, facts.hosts["w0"].state, "a worker is not the restore's business");
    let all = assemble(&desired(&led_by(&inv, "cp1"), &bundle(), &later)?, &Observations::new());
    let init = of_host(all.clone(), "cp1", |p| p == PhaseId::Init);
    let ids: Vec<&str> = init.iter().map(|s| s.id.as_str()).collect();
    assert_eq!(ids, ["init/cp1/endpoint", "init/cp1/kubeadm", "init/cp1/joined"]);
    // Never a reset: the data and the CAs that init is to find would be gone.
    assert!(!init.iter().any(|s| matches!(s.action, Action::ResetPartial { .. } | Action::ResetHost { .. })));
    let ignored = init.iter().find_map(|s| match &s.action {
        Action::KubeadmInit { node, ignore_preflight_errors, .. } => Some((node.as_str(), ignore_preflight_errors)),
        _ => None,
    });
    assert_eq!(ignored, Some(("cp1", &vec!["DirAvailable--var-lib-etcd".to_owned()])));
    // All that is left of the needs is inside, so that the engine can order it.
    assert!(init.iter().flat_map(|s| &s.needs).all(|need| ids.contains(&need.as_str())));
    let before = of_host(all, "cp1", |p| p < PhaseId::Init);
    assert!(!before.is_empty() && before.iter().all(|s| s.host == "cp1" && s.phase < PhaseId::Init));
    Ok(())
}

#[test]
fn only_the_order_changes_for_the_one_that_leads() {
    let inv = inventory(3, 1);
    let led = led_by(&inv, "cp2");
    let names = |inv: &crate::inventory::Inventory| inv.hosts.iter().map(|h| h.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&led), ["cp2", "cp0", "cp1", "w0"]);
    assert_eq!(led_by(&led, "cp0").hosts.len(), inv.hosts.len());
    assert_eq!(names(&led_by(&inv, "cp0")), names(&inv));
}
