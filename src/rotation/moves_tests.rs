//! A rotation of a cluster that is killed anywhere: nobody ever meets somebody whom they do not trust.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::moves::signs_with;
use super::{Family, Leaf, Move, Phase, Seen, lacks, moves, pair};
use crate::bundle::Digest;
use crate::error::Kind;

const LEAVES: [&str; 2] = ["/etc/kubernetes/pki/apiserver.crt", "/etc/kubernetes/admin.conf"];
const KUBELET: &str = "/var/lib/kubelet/pki/kubelet-client-current.pem";
const CONF: &str = "/etc/kubernetes/kubelet.conf";

fn old() -> Digest {
    Digest::of(b"old")
}

fn new() -> Digest {
    Digest::of(b"new")
}

/// What runs on a node: whom it trusts, and by whom what it shows is signed.
#[derive(Clone, Debug)]
struct Running {
    trusts: Vec<Digest>,
    shows: Vec<Option<Digest>>,
}

struct World {
    order: Vec<String>,
    planes: Vec<String>,
    seen: BTreeMap<String, Seen>,
    runs: BTreeMap<String, Running>,
    /// The CAs that pods made now trust.
    accounts: Vec<Digest>,
}

impl World {
    fn fresh(planes: usize, workers: usize) -> Self {
        let planes: Vec<String> = (1..=planes).map(|n| format!("cp{n}")).collect();
        let order: Vec<String> = planes.iter().cloned().chain((1..=workers).map(|n| format!("w{n}"))).collect();
        let node = |name: &String| {
            let leaf = |path: &str| (path.to_owned(), Leaf { by: Some(old()), der: Vec::new() });
            let plane = planes.contains(name);
            let mut seen = Seen { key: plane, bundle: vec![old()], ..Seen::default() };
            seen.trusts.insert(CONF.into(), vec![old()]);
            seen.leaves.extend([leaf(KUBELET)]);
            if plane {
                seen.leaves.extend(LEAVES.map(leaf));
                seen.signer = Some(Family::Kubernetes.cert().into());
            }
            (name.clone(), seen)
        };
        let seen: BTreeMap<String, Seen> = order.iter().map(node).collect();
        let runs = |s: &Seen| Running { trusts: s.bundle.clone(), shows: vec![Some(old()); s.leaves.len()] };
        let runs = seen.iter().map(|(n, s)| (n.clone(), runs(s))).collect();
        Self { order, planes, seen, runs, accounts: vec![old()] }
    }

    fn next(&self, until: Phase) -> Vec<Move> {
        moves(Family::Kubernetes, &self.order, &self.planes, &self.seen, until).unwrap_or_else(|e| panic!("{e}"))
    }

    /// Does as much of a move as there is time for; `true` when it was all of it.
    fn carry_out(&mut self, one: &Move, mut time: u32) -> bool {
        let mut begins = || {
            let on = time > 0;
            time = time.saturating_sub(1);
            on
        };
        match one {
            Move::Stage(host) => {
                let Some(seen) = self.seen.get_mut(host) else { return false };
                seen.begun = true;
                if !begins() {
                    return false;
                }
                seen.staged = Some((old(), new()));
            }
            Move::Node(host, phase) => {
                let known = pair(Family::Kubernetes, &self.planes, &self.seen).ok().flatten();
                let (Some(seen), Some(runs), Some(known)) = (self.seen.get_mut(host), self.runs.get_mut(host), known)
                else {
                    return false;
                };
                seen.begun = true;
                if !begins() {
                    return false;
                }
                seen.bundle = known.bundle(*phase);
                for trusts in seen.trusts.values_mut() {
                    if !begins() {
                        return false;
                    }
                    *trusts = known.bundle(*phase);
                }
                for leaf in seen.leaves.values_mut().filter(|_| *phase > Phase::Trust) {
                    if !begins() {
                        return false;
                    }
                    leaf.by = Some(new());
                }
                if !begins() {
                    return false;
                }
                seen.signer = seen.signer.as_ref().map(|_| signs_with(*phase).0);
                *runs = Running {
                    trusts: seen.bundle.clone(),
                    shows: seen.leaves.values().map(|l| l.by.clone()).collect(),
                };
                if !begins() {
                    return false;
                }
                seen.reached = Some(*phase);
                assert!(lacks(Family::Kubernetes, seen, &known, *phase).is_empty());
            }
            Move::Cluster(host, phase) => {
                self.accounts = match phase {
                    Phase::Drop => vec![new()],
                    _ => vec![old(), new()],
                };
                let Some(seen) = self.seen.get_mut(host).filter(|_| begins()) else { return false };
                seen.cluster = Some(*phase);
            }
            Move::Clean(host) => {
                let Some(seen) = self.seen.get_mut(host).filter(|_| begins()) else { return false };
                (seen.begun, seen.staged, seen.reached, seen.cluster) = (false, None, None, None);
            }
        }
        true
    }

    /// Whatever any node shows, or would show if it were started now, every other one trusts: as it runs, and as it would
    /// if it were started now. The same of pods and what API servers show.
    fn everybody_trusts_everybody(&self) {
        let shown = |name: &String| {
            let files = self.seen[name].leaves.values().map(|l| l.by.clone());
            self.runs[name].shows.iter().cloned().chain(files).collect::<Vec<_>>()
        };
        for name in &self.order {
            let mut trusts = vec![&self.runs[name].trusts, &self.seen[name].bundle];
            trusts.extend(self.seen[name].trusts.values());
            for other in &self.order {
                for by in shown(other).iter().flatten() {
                    assert!(trusts.iter().all(|t| t.contains(by)), "{name} does not trust {other}: {:?}", self.seen);
                }
            }
        }
        for by in self.planes.iter().flat_map(shown).flatten() {
            assert!(self.accounts.contains(&by), "pods do not trust what an API server shows");
        }
    }
}

proptest! {
    #[test]
    fn killed_anywhere_it_ends_and_all_trust_all(
        planes in 1_usize..4,
        workers in 0_usize..3,
        kills in proptest::collection::vec((0_usize..6, 0_u32..8), 0..12),
    ) {
        let mut world = World::fresh(planes, workers);
        let mut kills = kills.into_iter();
        let mut cleaned = false;
        for _ in 0..100 {
            let (calls, time) = kills.next().unwrap_or((usize::MAX, u32::MAX));
            let left = world.next(Phase::Drop);
            for (number, one) in left.iter().enumerate() {
                let whole = world.carry_out(one, if number == calls { time } else { u32::MAX });
                world.everybody_trusts_everybody();
                if !whole || number == calls {
                    break;
                }
            }
            if matches!(left.first(), Some(Move::Clean(_))) && world.seen.values().all(|s| !s.begun) {
                cleaned = true;
                break;
            }
        }
        prop_assert!(cleaned);
        for seen in world.seen.values() {
            prop_assert_eq!(&seen.bundle, &vec![new()]);
            prop_assert!(seen.leaves.values().all(|l| l.by == Some(new())));
            prop_assert!(seen.signer.as_deref().is_none_or(|s| s == Family::Kubernetes.cert()));
        }
    }
}

#[test]
fn each_phase_is_done_everywhere_before_the_next() {
    let mut world = World::fresh(2, 1);
    let mut all = Vec::new();
    for until in Phase::ALL {
        loop {
            let left = world.next(until);
            let ends = left.is_empty() || matches!(left.first(), Some(Move::Clean(_)));
            for one in left {
                assert!(world.carry_out(&one, u32::MAX));
                all.push(one);
            }
            if ends {
                break;
            }
        }
    }
    let h = str::to_owned;
    let mut expected = vec![Move::Stage(h("cp1")), Move::Stage(h("cp2"))];
    for phase in Phase::ALL {
        expected.extend(["cp1", "cp2", "w1"].map(|n| Move::Node(h(n), phase)));
        expected.push(Move::Cluster(h("cp1"), phase));
    }
    expected.extend(["w1", "cp2", "cp1"].map(|n| Move::Clean(h(n))));
    assert_eq!(all, expected);
}

#[test]
fn a_kubelet_that_was_given_an_old_certificate_meanwhile_is_taken_again() {
    let mut world = World::fresh(1, 1);
    while !world.next(Phase::Switch).is_empty() {
        for one in world.next(Phase::Switch) {
            world.carry_out(&one, u32::MAX);
        }
    }
    let Some(leaf) = world.seen.get_mut("w1").and_then(|s| s.leaves.get_mut(KUBELET)) else { panic!("no leaf") };
    leaf.by = Some(old());
    assert_eq!(world.next(Phase::Drop), [Move::Node("w1".into(), Phase::Switch)]);
}

#[test]
fn a_phase_that_was_cut_off_is_done_again_and_none_before_it() {
    for (done, cut) in [(Phase::Trust, Phase::Switch), (Phase::Switch, Phase::Drop)] {
        let mut world = World::fresh(2, 0);
        while !world.next(done).is_empty() {
            for one in world.next(done) {
                world.carry_out(&one, u32::MAX);
            }
        }
        let one = Move::Node("cp1".into(), cut);
        assert!(!world.carry_out(&one, 3));
        assert_eq!(world.next(Phase::Drop).first(), Some(&one));
    }
}

#[test]
fn what_no_rotation_leaves_behind_is_refused() {
    let refused = |change: &dyn Fn(&mut World)| {
        let mut world = World::fresh(2, 1);
        change(&mut world);
        let error = moves(Family::Kubernetes, &world.order, &world.planes, &world.seen, Phase::Drop).err();
        assert_eq!(error.map(|e| e.kind()), Some(Kind::Refused));
    };
    let on = |world: &mut World, host: &str, change: &dyn Fn(&mut Seen)| {
        if let Some(seen) = world.seen.get_mut(host) {
            change(seen);
        }
    };
    refused(&|w| on(w, "cp2", &|s| s.key = false));
    refused(&|w| on(w, "w1", &|s| s.bundle = vec![new()]));
    refused(&|w| on(w, "w1", &|s| s.bundle.push(new())));
    refused(&|w| on(w, "w1", &|s| s.leaves.values_mut().for_each(|l| l.by = None)));
    refused(&|w| on(w, "cp1", &|s| s.signer = Some("/elsewhere/ca.crt".into())));
    refused(&|w| on(w, "w1", &|s| s.reached = Some(Phase::Trust)));
    refused(&|w| {
        on(w, "cp1", &|s| s.staged = Some((old(), new())));
        on(w, "cp2", &|s| s.staged = Some((old(), Digest::of(b"other"))));
    });
}
