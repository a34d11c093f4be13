//! Plays a scenario: the real planner and engine, with the checker looking on at every change.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use provision::bundle::Digest;
use provision::error::{Error, Kind};
use provision::host::{Cause, FakeCluster, Machine, Watch, World};

use super::checker::{Checker, Policy, see};
use super::scenario::{Change, Drift, Round, Scenario, Shape, Trouble};
use super::world::{apply_once, bundle, fresh, need, plan_ids, snapshot};

/// After so many runs without any failure there must be nothing left to do.
pub(super) const RUNS: usize = 4;

pub struct Play {
    pub fake: FakeCluster,
    pub(super) checker: Arc<Mutex<Checker>>,
    pub(super) shape: Shape,
    /// Versions that a run was begun for and that may not all be reached yet.
    versions: Vec<(u32, u32)>,
    /// Nothing was left to do when it was looked at last.
    even: bool,
    /// What others kept pods off was let go.
    let_on: bool,
}

fn policy(shape: &Shape) -> Policy {
    Policy {
        pools: shape.workers.iter().cloned().collect(),
        max_unavailable: shape.inventory().upgrade.max_unavailable,
        leaving: BTreeSet::new(),
    }
}

impl Play {
    pub async fn begin(shape: Shape) -> Result<Self, String> {
        let inv = shape.inventory();
        let fake = fresh(&inv, &bundle(&inv));
        let checker = Arc::new(Mutex::new(Checker::new(policy(&shape))));
        {
            let mut world = fake.world();
            let looking = Arc::clone(&checker);
            world.watch = Watch::new(move |world: &World, cause: Cause| {
                let mut checker = looking.lock().unwrap();
                let seen = see(world, &checker.policy);
                checker.look(seen, cause)
            });
            // The checker counts for itself.
            world.most_away = usize::MAX;
            for minor in 30..45 {
                for patch in 0..20 {
                    for name in ["kubeadm", "kubelet", "kubectl"] {
                        let digest = Digest::of(format!("{name} 1.{minor}.{patch}").as_bytes());
                        world.versions.insert(digest.hex().to_owned(), format!("1.{minor}.{patch}"));
                    }
                }
            }
        }
        let versions = vec![shape.version];
        let mut play = Self { fake, checker, shape, versions, even: false, let_on: false };
        play.converge("the first apply").await?;
        for (n, (worker, _)) in play.shape.workers.iter().enumerate() {
            play.fake.world().pods.insert(format!("web-{n}"), worker.clone());
        }
        Ok(play)
    }

    /// How often the checker looked.
    pub fn looks(&self) -> usize {
        self.checker.lock().unwrap().looks
    }

    pub async fn round(&mut self, number: usize, round: &Round) -> Result<(), String> {
        for change in &round.changes {
            // Only of a cluster that is all of one version it is certain what must be refused.
            if change.is_refused() && self.even {
                self.refused(change).await?;
            }
            if self.even {
                self.operate(change, round).await?;
            }
        }
        for drift in &round.drifts {
            self.drift(drift);
        }
        for change in &round.changes {
            self.change(change);
        }
        self.even = false;
        self.fail(round);
        self.trouble(&round.trouble);
        let _ = self.apply().await;
        self.sound(&format!("round {number}"))?;
        self.fake.world().faults.clear();
        if round.mended {
            self.mend();
            self.converge(&format!("after round {number}")).await?;
        }
        Ok(())
    }

    /// From now on calls fail as the round wants it.
    pub(super) fn fail(&self, round: &Round) {
        let mut world = self.fake.world();
        let start = world.calls;
        world.faults = round.faults.iter().map(|(at, fault)| (start + at, *fault)).collect();
    }

    pub async fn end(&mut self) -> Result<(), String> {
        self.mend();
        self.converge("in the end").await
    }

    pub(super) async fn apply(&self) -> Result<usize, Error> {
        let inv = self.shape.inventory();
        apply_once(&self.fake, &inv, &bundle(&inv)).await
    }

    pub(super) fn sound(&self, when: &str) -> Result<(), String> {
        let world = self.fake.world();
        if world.violations.is_empty() { Ok(()) } else { Err(format!("{when}: {:#?}", world.violations)) }
    }

    fn change(&mut self, change: &Change) {
        if change.is_refused() {
            return;
        }
        let mut next = self.shape.clone();
        next.change(change);
        self.take(next);
        if self.versions.last() != Some(&self.shape.version) {
            self.versions.push(self.shape.version);
        }
    }

    /// The inventory is another from here on.
    pub(super) fn take(&mut self, shape: Shape) {
        self.shape = shape;
        self.checker.lock().unwrap().policy = policy(&self.shape);
        let inv = self.shape.inventory();
        {
            let mut world = self.fake.world();
            world.control_planes = self.shape.planes.len();
            for host in &inv.hosts {
                let machine = || Machine::bare(&host.name, &host.address.to_string());
                world.machines.entry(host.name.clone()).or_insert_with(machine);
            }
        }
        need(&self.fake, &inv, &bundle(&inv));
    }

    /// What may not be is refused, and nothing has moved then.
    async fn refused(&mut self, change: &Change) -> Result<(), String> {
        let before = self.shape.clone();
        let mut next = before.clone();
        next.change(change);
        let shot = snapshot(&self.fake);
        self.take(next);
        let said = self.apply().await;
        self.take(before);
        match said {
            Err(e) if e.kind() == Kind::Refused => {}
            Err(e) => return Err(format!("{change:?} is not refused but fails: {}", e.report())),
            Ok(n) => return Err(format!("{change:?} is carried out in {n} steps")),
        }
        if snapshot(&self.fake) == shot {
            self.sound("refused")
        } else {
            Err(format!("{change:?} was refused, but something moved"))
        }
    }

    pub(super) fn host(&self, at: usize) -> String {
        let hosts = self.shape.hosts();
        hosts[at % hosts.len()].clone()
    }

    fn drift(&self, drift: &Drift) {
        let mut world = self.fake.world();
        let now = world.tick();
        let stop = |world: &mut World, name: &str, unit: &str| {
            if let Some(unit) = world.machines.get_mut(name).and_then(|m| m.units.get_mut(unit)) {
                unit.active = false;
            }
        };
        let write = |world: &mut World, name: &str, path: &str| {
            let machine = world.machines.get_mut(name).unwrap();
            if machine.has(path) {
                machine.write(path, b"edited", 0o644, now);
            }
        };
        match drift {
            Drift::StopKubelet(at) => stop(&mut world, &self.host(*at), "kubelet.service"),
            Drift::StopContainerd(at) => stop(&mut world, &self.host(*at), "containerd.service"),
            Drift::EditFile(at) => write(&mut world, &self.host(*at), "/etc/containerd/config.toml"),
            Drift::OtherKubelet(at) => {
                let version = format!("1.{}.{}", self.versions[0].0, self.versions[0].1);
                world.versions.insert(Digest::of(b"edited").hex().to_owned(), version);
                write(&mut world, &self.host(*at), "/usr/local/bin/kubelet");
            }
            Drift::Cordon(at) => {
                if let Some(node) = world.nodes.get_mut(&self.host(*at)) {
                    node.unschedulable = true;
                }
            }
            Drift::LoseManifest(at) => {
                let machine = world.machines.get_mut(&self.host(*at)).unwrap();
                machine.files.remove("/etc/kubernetes/manifests/etcd.yaml");
            }
            Drift::Die(at) => world.die(&self.host(*at)),
            Drift::Reboot(at) => {
                if let Some(machine) = world.machines.get_mut(&self.host(*at)) {
                    machine.reboot(now);
                }
            }
        }
        world.show(Cause::Accident);
    }

    fn trouble(&self, trouble: &Trouble) {
        let mut world = self.fake.world();
        match trouble {
            Trouble::None => {}
            Trouble::GateClosed => world.gate_closed = true,
            Trouble::Stuck(at) => _ = world.stuck.insert(format!("web-{at}")),
            Trouble::BrokenKubelet(at) => {
                let (minor, patch) = self.shape.version;
                let kubelet = Digest::of(format!("kubelet 1.{minor}.{patch}").as_bytes());
                let broken = format!("{}@{}", kubelet.hex(), self.host(*at));
                world.broken_kubelets.insert(broken);
                world.show(Cause::Accident);
            }
        }
    }

    /// What no installer mends: machines without power, a lost static pod, and what the trouble was.
    pub(super) fn mend(&self) {
        let mut world = self.fake.world();
        for name in world.dead.clone() {
            world.revive(&name);
        }
        world.gate_closed = false;
        world.stuck.clear();
        world.broken_kubelets.clear();
        let now = world.tick();
        for name in world.etcd.keys().cloned().collect::<Vec<_>>() {
            let machine = world.machines.get_mut(&name).unwrap();
            if !machine.has("/etc/kubernetes/manifests/etcd.yaml") {
                machine.write("/etc/kubernetes/manifests/etcd.yaml", b"pod", 0o600, now);
            }
        }
        world.show(Cause::Accident);
    }

    /// An upgrade begins with a healthy cluster; somebody has to see to that.
    fn start_services(&self) {
        let mut world = self.fake.world();
        let now = world.tick();
        for machine in world.machines.values_mut().filter(|m| m.has("/var/lib/kubelet/config.yaml")) {
            for unit in ["containerd.service", "kubelet.service"] {
                if !machine.runs(unit) {
                    machine.start(unit, now);
                }
            }
        }
        world.show(Cause::Accident);
    }

    fn cordoned_by_others(&self) -> Vec<String> {
        let world = self.fake.world();
        let theirs = world.nodes.iter().filter(|(_, n)| n.unschedulable && !n.marks.contains_key("cordoned-by"));
        theirs.map(|(name, _)| name.clone()).collect()
    }

    fn let_on(&mut self) {
        self.let_on = true;
        let theirs = self.cordoned_by_others();
        let mut world = self.fake.world();
        for name in theirs {
            world.nodes.get_mut(&name).unwrap().unschedulable = false;
        }
        world.show(Cause::Accident);
    }

    /// Without any failure, some runs lead to where there is nothing left to do.
    pub(super) async fn converge(&mut self, when: &str) -> Result<(), String> {
        let wanted = self.shape.version;
        let mut cordoned = self.cordoned_by_others();
        self.let_on = false;
        let mut last = self.until_done(when).await;
        if matches!(&last, Err((Kind::Refused, _))) {
            self.start_services();
            last = self.until_done(when).await;
        }
        // An upgrade that was given up halfway for a further one has to be finished first: that is what it says.
        while let Err((Kind::Refused, _)) = last
            && self.versions.len() > 1
        {
            self.versions.pop();
            let version = *self.versions.last().unwrap();
            self.take(Shape { version, ..self.shape.clone() });
            last = self.until_done(when).await;
        }
        last.map_err(|(_, why)| why)?;
        if self.shape.version != wanted {
            self.take(Shape { version: wanted, ..self.shape.clone() });
            // More than one minor further stays refused.
            match self.until_done(when).await {
                Ok(()) => {}
                Err((Kind::Refused, _)) => {
                    let version = *self.versions.last().unwrap();
                    self.take(Shape { version, ..self.shape.clone() });
                }
                Err((_, why)) => return Err(why),
            }
        }
        self.versions = vec![self.shape.version];
        self.even = true;
        if self.let_on {
            cordoned.clear();
        }
        self.whole(when, &cordoned)
    }

    async fn until_done(&mut self, when: &str) -> Result<(), (Kind, String)> {
        let mut last = (Kind::Failed, String::new());
        for _ in 0..RUNS {
            let done = self.apply().await;
            self.sound(when).map_err(|e| (Kind::Failed, e))?;
            match done {
                Ok(0) => return Ok(()),
                Ok(_) => {
                    let inv = self.shape.inventory();
                    let ids = plan_ids(&self.fake, &inv, &bundle(&inv)).await;
                    last = (Kind::Failed, format!("{when}: still to do: {:?}", ids.map_err(|e| e.to_string())));
                }
                Err(e) => last = (e.kind(), format!("{when}: {}", e.report())),
            }
            if last.0 == Kind::Refused {
                break;
            }
            // Who keeps pods off more nodes than the pool may lack hears that, and has to let them on again.
            if last.1.contains("is not taken out of its pool") {
                self.let_on();
            }
        }
        // The last run may have done the rest.
        match self.apply().await {
            Ok(0) => Ok(()),
            _ => Err(last),
        }
    }

    /// Everything is of the version that is asked for, and nobody is kept off who was not.
    fn whole(&self, when: &str, cordoned: &[String]) -> Result<(), String> {
        let seen = see(&self.fake.world(), &policy(&self.shape));
        let wanted = self.shape.version;
        let hosts = self.shape.hosts();
        let mut wrong: Vec<String> =
            hosts.iter().filter(|h| !seen.nodes.contains_key(*h)).map(|h| format!("{h} is not in")).collect();
        for (name, node) in &seen.nodes {
            if node.kubelet != wanted || !node.ready || node.ours || node.cordoned != cordoned.contains(name) {
                wrong.push(format!("{name}: {node:?}"));
            }
        }
        for (name, plane) in &seen.planes {
            if !plane.up || plane.components.len() != 3 || plane.components.values().any(|v| *v != wanted) {
                wrong.push(format!("{name}: {plane:?}"));
            }
        }
        let others = seen.nodes.keys().chain(seen.planes.keys()).filter(|n| !hosts.contains(n));
        wrong.extend(others.map(|n| format!("{n} is still in")));
        if seen.configured != Some(wanted) {
            wrong.push(format!("the cluster is configured for {:?}", seen.configured));
        }
        if wrong.is_empty() { Ok(()) } else { Err(format!("{when}, at {wanted:?}: {wrong:#?}")) }
    }
}

/// The whole of a scenario; says how often the checker looked.
pub async fn play(scenario: &Scenario) -> Result<usize, String> {
    let mut play = Play::begin(scenario.start.clone()).await?;
    for (number, round) in scenario.rounds.iter().enumerate() {
        play.round(number, round).await?;
    }
    play.end().await?;
    Ok(play.looks())
}
