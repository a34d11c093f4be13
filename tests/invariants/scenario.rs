//! Random clusters, what is changed of them, and what goes wrong meanwhile.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use proptest::prelude::*;
use proptest::sample::select;
use provision::host::Fault;
use provision::inventory::{Inventory, Unfinished};

use super::world::read;

/// An inventory to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    pub version: (u32, u32),
    /// Names of the control planes, in order.
    pub planes: Vec<String>,
    /// Names and pools of the workers, in order; "" for none.
    pub workers: Vec<(String, String)>,
    pub canary: u32,
    /// As the inventory writes it.
    pub max_unavailable: String,
    pub unfinished: Unfinished,
    /// A label on the first worker.
    pub label: u8,
}

/// What the user changes.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    Patch,
    Minor,
    /// Must be refused.
    SkipMinor,
    /// Must be refused.
    Downgrade,
    AddWorker(String),
    AddPlane,
    Policy(u32, String),
    /// The workers stand in another order.
    Rotate(usize),
    Label,
}

/// What others do to a host while nobody looks.
#[derive(Debug, Clone, PartialEq)]
pub enum Drift {
    StopKubelet(usize),
    StopContainerd(usize),
    EditFile(usize),
    OtherKubelet(usize),
    Cordon(usize),
    LoseManifest(usize),
    Die(usize),
    Reboot(usize),
}

/// What does not go well for as long as it lasts.
#[derive(Debug, Clone, PartialEq)]
pub enum Trouble {
    None,
    GateClosed,
    /// The pods of a host do not move.
    Stuck(usize),
    /// The new kubelet does not come up on a host.
    BrokenKubelet(usize),
}

/// One time that the user changes something and applies.
#[derive(Debug, Clone)]
pub struct Round {
    pub changes: Vec<Change>,
    pub drifts: Vec<Drift>,
    pub faults: BTreeMap<u64, Fault>,
    pub trouble: Trouble,
    /// Whether all is mended and applied until there is nothing left, before the next round.
    pub mended: bool,
}

#[derive(Debug, Clone)]
pub struct Scenario {
    pub start: Shape,
    pub rounds: Vec<Round>,
}

fn pool() -> impl Strategy<Value = String> {
    select(vec![String::new(), "a".into(), "b".into()])
}

fn share() -> impl Strategy<Value = String> {
    prop_oneof![(1u32..4).prop_map(|n| n.to_string()), (10u32..=100).prop_map(|p| format!("\"{p}%\""))]
}

fn shape() -> impl Strategy<Value = Shape> {
    let parts = (33u32..=34, 1usize..=5, prop::collection::vec(pool(), 0..=12), 0u32..3, share());
    let unfinished = select(vec![Unfinished::Pause, Unfinished::Skip, Unfinished::Force]);
    (parts, unfinished).prop_map(|((minor, planes, pools, canary, max_unavailable), unfinished)| Shape {
        version: (minor, 1),
        planes: (1..=planes).map(|n| format!("cp{n}")).collect(),
        workers: pools.into_iter().enumerate().map(|(n, pool)| (format!("w{}", n + 1), pool)).collect(),
        canary,
        max_unavailable,
        unfinished,
        label: 0,
    })
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => Just(Change::Patch),
        4 => Just(Change::Minor),
        1 => Just(Change::SkipMinor),
        1 => Just(Change::Downgrade),
        2 => pool().prop_map(Change::AddWorker),
        1 => Just(Change::AddPlane),
        1 => (0u32..3, share()).prop_map(|(c, s)| Change::Policy(c, s)),
        1 => (1usize..12).prop_map(Change::Rotate),
        1 => Just(Change::Label),
    ]
}

fn drift() -> impl Strategy<Value = Drift> {
    (0usize..17, 0usize..8).prop_map(|(host, what)| match what {
        0 => Drift::StopKubelet(host),
        1 => Drift::StopContainerd(host),
        2 => Drift::EditFile(host),
        3 => Drift::OtherKubelet(host),
        4 => Drift::Cordon(host),
        5 => Drift::LoseManifest(host),
        6 => Drift::Die(host),
        _ => Drift::Reboot(host),
    })
}

fn trouble() -> impl Strategy<Value = Trouble> {
    prop_oneof![
        4 => Just(Trouble::None),
        1 => Just(Trouble::GateClosed),
        1 => (0usize..12).prop_map(Trouble::Stuck),
        1 => (0usize..17).prop_map(Trouble::BrokenKubelet),
    ]
}

fn fault() -> impl Strategy<Value = Fault> {
    use Fault::{Die, DiskFull, DropAfterEffect, DropBefore, Kill, KillAfterEffect, Reboot, Refuse};
    select(vec![Refuse, DropBefore, DropAfterEffect, DiskFull, Kill, KillAfterEffect, Reboot, Die])
}

fn round() -> impl Strategy<Value = Round> {
    let faults = prop_oneof![
        1 => Just(BTreeMap::new()),
        2 => prop::collection::btree_map(0u64..900, fault(), 0..4),
    ];
    let drifts = prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(drift(), 1..3)];
    let parts = (prop::collection::vec(change(), 0..3), drifts, faults, trouble(), prop::bool::weighted(0.5));
    parts.prop_map(|(changes, drifts, faults, trouble, mended)| Round { changes, drifts, faults, trouble, mended })
}

pub fn scenario() -> impl Strategy<Value = Scenario> {
    (shape(), prop::collection::vec(round(), 1..5)).prop_map(|(start, rounds)| Scenario { start, rounds })
}

impl Shape {
    pub fn change(&mut self, change: &Change) {
        match change {
            Change::Patch => self.version.1 += 1,
            Change::Minor => self.version = (self.version.0 + 1, 1),
            Change::SkipMinor => self.version = (self.version.0 + 2, 1),
            Change::Downgrade => self.version.1 -= 1,
            Change::AddWorker(pool) => self.workers.push((format!("w{}", self.workers.len() + 1), pool.clone())),
            Change::AddPlane if self.planes.len() < 5 => self.planes.push(format!("cp{}", self.planes.len() + 1)),
            Change::AddPlane => {}
            Change::Policy(canary, share) => (self.canary, self.max_unavailable) = (*canary, share.clone()),
            Change::Rotate(by) => {
                let by = by % self.workers.len().max(1);
                self.workers.rotate_left(by);
            }
            Change::Label => self.label += 1,
        }
    }

    pub fn hosts(&self) -> Vec<String> {
        self.planes.iter().cloned().chain(self.workers.iter().map(|(name, _)| name.clone())).collect()
    }

    /// The inventory. Nothing in it makes a test wait.
    pub fn inventory(&self) -> Inventory {
        let number = |name: &str| name.trim_start_matches(char::is_alphabetic).parse::<u8>().unwrap();
        let mut text = format!(
            "[cluster]\nname = \"lab\"\nversion = \"1.{}.{}\"\n[network]\npods = [\"10.244.0.0/16\"]\n\
             services = [\"10.96.0.0/16\"]\n[endpoint]\nmode = \"haproxy\"\n[defaults]\nuser = \"root\"\nkey_file = \"/k\"\n\
             [pools.a]\n[pools.b]\n[upgrade]\ncanary = {}\nmax_unavailable = {}\n[[upgrade.gates]]\nname = \"site\"\ncommand = \"true\"\n",
            self.version.0, self.version.1, self.canary, self.max_unavailable
        );
        for name in &self.planes {
            let _ = writeln!(
                text,
                "[[hosts]]\nname = \"{name}\"\nrole = \"control-plane\"\naddress = \"192.168.10.{}\"",
                number(name)
            );
        }
        for (at, (name, pool)) in self.workers.iter().enumerate() {
            let _ = writeln!(
                text,
                "[[hosts]]\nname = \"{name}\"\nrole = \"worker\"\naddress = \"192.168.10.{}\"",
                100 + number(name)
            );
            if !pool.is_empty() {
                let _ = writeln!(text, "pool = \"{pool}\"");
            }
            if at == 0 && self.label > 0 {
                let _ = writeln!(text, "labels = {{ turn = \"{}\" }}", self.label);
            }
        }
        let mut inv = read(&text);
        inv.verify.timeout_s = 0;
        inv.upgrade.soak_s = 0;
        inv.upgrade.gate_timeout_s = 0;
        inv.upgrade.drain.timeout_s = 0;
        inv.upgrade.drain.unfinished = self.unfinished;
        inv
    }
}
