//! CoreDNS runs on more than one node.

use provision::host::{FakeCluster, Fault};

use super::world::{
    apply_once, assert_sound, bundle, converge, every_call_faulted, fresh, inventory, plan_ids, undisturbed,
};

fn all_on(fake: &FakeCluster, node: &str) {
    for on in fake.world().dns.pods.values_mut() {
        node.clone_into(on);
    }
}

#[tokio::test]
async fn after_an_install_its_pods_are_on_two_nodes() {
    let inv = inventory();
    let fake = undisturbed(&inv, &bundle(&inv)).await;
    let dns = fake.world().dns.clone();
    assert_eq!((dns.pods.len(), dns.nodes()), (2, 2));
    // The one that is not moved was on the first node from the beginning.
    assert_eq!(dns.pods["coredns-001"], "cp1");
}

#[tokio::test]
async fn pods_that_met_on_one_node_are_spread_whatever_call_is_lost() {
    let inv = inventory();
    let bundle = bundle(&inv);
    let fake = undisturbed(&inv, &bundle).await;
    all_on(&fake, "w1");
    assert_eq!(plan_ids(&fake, &inv, &bundle).await.unwrap(), ["verify/cp1/coredns"]);
    fake.world().calls = 0;
    for fault in [Fault::KillAfterEffect, Fault::DropAfterEffect] {
        every_call_faulted(&fake, &inv, &bundle, fault, |fake, what| {
            assert_sound(fake, what);
            assert_eq!(fake.world().dns.nodes(), 2, "{what}");
        })
        .await;
    }
}

#[tokio::test]
async fn where_no_other_node_can_run_them_nothing_is_done() {
    let inv = inventory();
    let bundle = bundle(&inv);
    let fake = undisturbed(&inv, &bundle).await;
    all_on(&fake, "w1");
    fake.world().dns.selector.insert("disk".into(), "ssd".into());
    assert_eq!(plan_ids(&fake, &inv, &bundle).await.unwrap(), Vec::<String>::new(), "a selector");
    fake.world().dns.selector.clear();
    for (name, node) in &mut fake.world().nodes {
        node.unschedulable = name != "w1";
    }
    assert_eq!(plan_ids(&fake, &inv, &bundle).await.unwrap(), Vec::<String>::new(), "all others are cordoned");
}

#[tokio::test]
async fn a_scheduler_that_keeps_them_together_is_left_alone() {
    let inv = inventory();
    let bundle = bundle(&inv);
    let fake = undisturbed(&inv, &bundle).await;
    all_on(&fake, "w1");
    fake.world().dns.sticks_to = Some("w1".into());
    assert_eq!(apply_once(&fake, &inv, &bundle).await.unwrap(), 1);
    assert_eq!(fake.world().dns.nodes(), 1);
    assert_eq!(plan_ids(&fake, &inv, &bundle).await.unwrap(), Vec::<String>::new());
    // Other nodes, another attempt.
    fake.world().nodes.get_mut("cp2").unwrap().unschedulable = true;
    fake.world().dns.sticks_to = None;
    converge(&fake, &inv, &bundle, 1).await.unwrap();
    assert_eq!(fake.world().dns.nodes(), 2);
}

#[tokio::test]
async fn a_cluster_without_kubeadms_coredns_is_not_asked_for_it() {
    let mut inv = inventory();
    inv.kubeadm.skip_phases.push("addon/coredns".into());
    let bundle = bundle(&inv);
    let fake = fresh(&inv, &bundle);
    apply_once(&fake, &inv, &bundle).await.unwrap_or_else(|e| panic!("{}", e.report()));
    assert_eq!(fake.world().dns.pods.len(), 0);
    assert_eq!(plan_ids(&fake, &inv, &bundle).await.unwrap(), Vec::<String>::new());
}
