//! The checker itself, on worlds that are wrong on purpose.

use super::checker::{Checker, Node, Plane, Policy, Seen};
use provision::host::Cause;
use provision::inventory::Share;

const OLD: (u32, u32) = (35, 1);
const NEW: (u32, u32) = (36, 1);

/// Three control planes and a pool of four.
fn good() -> Seen {
    let mut seen = Seen { configured: Some(OLD), ..Seen::default() };
    for name in ["cp1", "cp2", "cp3"] {
        let components = ["kube-apiserver", "kube-scheduler"].map(|c| (c.to_owned(), OLD)).into();
        seen.planes.insert(name.into(), Plane { up: true, restarting: false, components });
        seen.nodes.insert(name.into(), Node { ready: true, kubelet: OLD, ..Node::default() });
    }
    for name in ["w1", "w2", "w3", "w4"] {
        let node = Node { pool: Some(String::new()), ready: true, kubelet: OLD, ..Node::default() };
        seen.nodes.insert(name.into(), node);
    }
    seen
}

fn checker(share: Share) -> Checker {
    let mut checker = Checker::new(Policy { pools: [].into(), max_unavailable: share, leaving: [].into() });
    assert_eq!(checker.look(good(), Cause::Call), Vec::<String>::new());
    checker
}

/// What is said of each change in turn; all but the last must be well.
fn said(share: Share, changes: &[&dyn Fn(&mut Seen)]) -> String {
    let mut checker = checker(share);
    let mut seen = good();
    let mut last = Vec::new();
    for change in changes {
        assert_eq!(last, Vec::<String>::new());
        change(&mut seen);
        last = checker.look(seen.clone(), Cause::Call);
    }
    last.join("; ")
}

fn node<'a>(seen: &'a mut Seen, name: &str) -> &'a mut Node {
    seen.nodes.get_mut(name).unwrap()
}

fn plane<'a>(seen: &'a mut Seen, name: &str) -> &'a mut Plane {
    seen.planes.get_mut(name).unwrap()
}

fn cordon(name: &'static str) -> impl Fn(&mut Seen) {
    move |s| (node(s, name).cordoned, node(s, name).ours) = (true, true)
}

#[test]
fn a_good_upgrade_is_well() {
    let up = |name: &'static str| {
        move |s: &mut Seen| {
            for v in plane(s, name).components.values_mut() {
                *v = NEW;
            }
        }
    };
    let down = |s: &mut Seen| (plane(s, "cp1").up, plane(s, "cp1").restarting) = (false, true);
    let again = |s: &mut Seen| (plane(s, "cp1").up, plane(s, "cp1").restarting) = (true, false);
    let kubelet = |s: &mut Seen| node(s, "w1").kubelet = NEW;
    let back = |s: &mut Seen| node(s, "w1").kubelet = OLD;
    let all: [&dyn Fn(&mut Seen); 8] =
        [&down, &again, &up("cp1"), &up("cp2"), &up("cp3"), &cordon("w1"), &kubelet, &back];
    assert_eq!(said(Share::Count(1), &all), "");
}

#[test]
fn two_control_planes_at_once_are_seen() {
    let down = |name: &'static str| move |s: &mut Seen| plane(s, name).up = false;
    let said = said(Share::Count(1), &[&down("cp1"), &down("cp3")]);
    assert!(said.contains("lost its quorum: 1 of 3") && said.contains(r#"["cp3"] were taken down"#), "{said}");
}

#[test]
fn two_cordoned_control_planes_are_seen() {
    assert!(said(Share::Count(1), &[&cordon("cp1"), &cordon("cp2")]).contains(r#"["cp2"] were cordoned"#));
}

#[test]
fn of_two_members_none_may_be_down_but_the_one_that_is_worked_upon() {
    let two = |s: &mut Seen| {
        s.planes.remove("cp3");
        s.nodes.remove("cp3");
    };
    let worked = |s: &mut Seen| (plane(s, "cp1").up, plane(s, "cp1").restarting) = (false, true);
    assert_eq!(said(Share::Count(1), &[&two, &worked]), "");
    let down = |s: &mut Seen| plane(s, "cp1").up = false;
    assert!(said(Share::Count(1), &[&two, &down]).contains("lost its quorum: 1 of 2"));
}

#[test]
fn a_lost_quorum_that_gets_worse_is_seen() {
    let mut checker = checker(Share::Count(1));
    let mut seen = good();
    plane(&mut seen, "cp1").up = false;
    plane(&mut seen, "cp2").up = false;
    assert_eq!(checker.look(seen.clone(), Cause::Accident), Vec::<String>::new());
    node(&mut seen, "w1").ready = false;
    assert_eq!(checker.look(seen.clone(), Cause::Call), Vec::<String>::new(), "no worse than it was");
    plane(&mut seen, "cp3").up = false;
    assert!(checker.look(seen, Cause::Call).join(" ").contains("0 of 3"));
}

#[test]
fn a_pool_below_its_floor_is_seen() {
    let all: [&dyn Fn(&mut Seen); 2] = [&cordon("w1"), &cordon("w2")];
    assert!(said(Share::Count(1), &all).contains("2 of 4 nodes, its floor is 3"));
    assert!(said(Share::Percent(49), &all).contains("its floor is 3"));
    assert_eq!(said(Share::Percent(50), &all), "");
    assert!(said(Share::Count(1), &[&|s| node(s, "w3").ready = false, &cordon("w1")]).contains("its floor is 3"));
}

#[test]
fn what_is_newer_than_an_api_server_is_seen() {
    let said = said(Share::Count(1), &[&|s| node(s, "w1").kubelet = NEW]);
    assert!(said.contains("w1 became newer than the API server of cp1"), "{said}");
}

#[test]
fn skipped_minors_and_ways_back_are_seen() {
    let server =
        |to: (u32, u32)| move |s: &mut Seen| _ = plane(s, "cp2").components.insert("kube-apiserver".into(), to);
    assert!(said(Share::Count(1), &[&server((37, 0))]).contains("kube-apiserver of cp2 skipped a minor"));
    assert!(said(Share::Count(1), &[&server((35, 0))]).contains("kube-apiserver of cp2 went back"));
    assert!(said(Share::Count(1), &[&|s| node(s, "w1").kubelet = (34, 1)]).contains("kubelet of w1 went back"));
    assert!(said(Share::Count(1), &[&|s| s.configured = Some((37, 0))]).contains("configuration skipped a minor"));
}

#[test]
fn letting_go_what_others_cordoned_is_seen() {
    let mut checker = checker(Share::Count(1));
    let mut seen = good();
    node(&mut seen, "w1").cordoned = true;
    assert_eq!(checker.look(seen.clone(), Cause::Accident), Vec::<String>::new());
    node(&mut seen, "w1").cordoned = false;
    assert!(checker.look(seen, Cause::Call).join(" ").contains("w1 was uncordoned"));
}

#[test]
fn a_voter_that_goes_before_another_has_come_is_seen() {
    let mut checker = checker(Share::Count(1));
    checker.keep_voters();
    let mut seen = good();
    plane(&mut seen, "cp1").restarting = true;
    plane(&mut seen, "cp1").up = false;
    assert_eq!(checker.look(seen.clone(), Cause::Call), Vec::<String>::new());
    seen.planes.remove("cp1");
    assert!(checker.look(seen, Cause::Call).join("; ").contains("2 healthy voters"));
    let mut checker = self::checker(Share::Count(1));
    checker.keep_voters();
    let mut seen = good();
    plane(&mut seen, "cp2").up = false;
    checker.look(seen.clone(), Cause::Accident);
    seen.planes.remove("cp2");
    assert_eq!(checker.look(seen, Cause::Call), Vec::<String>::new(), "an accident lowers it");
}
