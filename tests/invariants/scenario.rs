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
    /// The pod network.
    pub networks: &'static str,
    /// A label on the first worker.
    pub label: u8,
    /// An argument and a name of the API servers, a setting of the kubelets, one of containerd: how often each was changed.
    pub settings: [u8; 4],
    /// The number that the next host gets.
    pub next: usize,
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
    /// Which of the settings.
    Setting(usize),
    /// Must be refused.
    Networks,
    /// `certs renew`
    Renew,
    /// `node remove`; of a host that is dead.
    Remove(usize, bool),
    /// `node replace`; of a host that is dead; of one that the inventory still lists.
    Replace(usize, bool, bool),
}

impl Change {
    /// What may not be done, whatever else is.
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::SkipMinor | Self::Downgrade | Self::Networks)
    }
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
        networks: "10.244.0.0/16",
        label: 0,
        settings: [0; 4],
        next: 20,
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
        4 => (0usize..4).prop_map(Change::Setting),
        1 => Just(Change::Networks),
        1 => Just(Change::Renew),
        2 => (0usize..17, prop::bool::ANY).prop_map(|(at, dead)| Change::Remove(at, dead)),
        2 => (0usize..17, prop::bool::ANY, prop::bool::ANY).prop_map(|(at, dead, listed)| Change::Replace(at, dead, listed)),
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
            Change::AddWorker(pool) => {
                let name = self.born("w");
                self.workers.push((name, pool.clone()));
            }
            Change::AddPlane if self.planes.len() < 5 => {
                let name = self.born("cp");
                self.planes.push(name);
            }
            Change::AddPlane => {}
            Change::Policy(canary, share) => (self.canary, self.max_unavailable) = (*canary, share.clone()),
            Change::Rotate(by) => {
                let by = by % self.workers.len().max(1);
                self.workers.rotate_left(by);
            }
            Change::Label => self.label += 1,
            Change::Setting(which) => self.settings[*which] += 1,
            Change::Networks => self.networks = "10.99.0.0/16",
            Change::Renew | Change::Remove(..) | Change::Replace(..) => {}
        }
    }

    /// The name of a host that was never there before.
    fn born(&mut self, kind: &str) -> String {
        self.next += 1;
        format!("{kind}{}", self.next)
    }

    /// A host of the same kind beside `old`.
    pub fn with_another(&mut self, old: &str) -> String {
        let pool = self.workers.iter().find(|(name, _)| name == old).map(|(_, pool)| pool.clone());
        let name = self.born(if pool.is_some() { "w" } else { "cp" });
        match pool {
            Some(pool) => self.workers.push((name.clone(), pool)),
            None => self.planes.push(name.clone()),
        }
        name
    }

    pub fn remove(&mut self, host: &str) {
        self.planes.retain(|name| name != host);
        self.workers.retain(|(name, _)| name != host);
    }

    pub fn hosts(&self) -> Vec<String> {
        self.planes.iter().cloned().chain(self.workers.iter().map(|(name, _)| name.clone())).collect()
    }

    /// The inventory. Nothing in it makes a test wait.
    pub fn inventory(&self) -> Inventory {
        let number = |name: &str| name.trim_start_matches(char::is_alphabetic).parse::<u8>().unwrap();
        let mut text = format!(
            "[cluster]\nname = \"lab\"\nversion = \"1.{}.{}\"\n[network]\npods = [\"{}\"]\n\
             services = [\"10.96.0.0/16\"]\n[endpoint]\nmode = \"haproxy\"\n[defaults]\nuser = \"root\"\nkey_file = \"/k\"\n\
             [pools.a]\n[pools.b]\n[upgrade]\ncanary = {}\nmax_unavailable = {}\n[[upgrade.gates]]\nname = \"site\"\ncommand = \"true\"\n",
            self.version.0, self.version.1, self.networks, self.canary, self.max_unavailable
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
        let [argument, name, kubelet, runtime] = self.settings;
        if argument > 0 {
            inv.apiserver.extra_args.insert("v".into(), argument.to_string());
        }
        if name > 0 {
            inv.apiserver.cert_sans.push(format!("api-{name}.example"));
        }
        if kubelet > 0 {
            inv.kubelet.config.insert("maxPods".into(), (100 + kubelet).into());
        }
        if runtime > 0 {
            inv.runtime.containerd_config.insert("oom_score".into(), runtime.into());
        }
        inv.verify.timeout_s = 0;
        inv.upgrade.soak_s = 0;
        inv.upgrade.gate_timeout_s = 0;
        inv.upgrade.drain.timeout_s = 0;
        inv.upgrade.drain.unfinished = self.unfinished;
        inv
    }
}
