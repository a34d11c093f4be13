//! The seam over a world in memory.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::machine::Machine;
use super::watch::Cause;
use super::world::{Fault, World};
use crate::bundle::{Blob, Digest};
use crate::error::{Error, Result};
use crate::host::{Answer, Command, Connector, FileSpec, Host, Output, Probe};
use crate::inventory::Node;

/// A shared world of machines.
#[derive(Clone, Default)]
pub struct FakeCluster(Arc<Mutex<World>>);

impl FakeCluster {
    /// Bare machines for these nodes, whose kubelets will be of `version`.
    #[must_use]
    pub fn new(nodes: &[Node], version: &str) -> Self {
        let machines = nodes.iter().map(|n| (n.name.clone(), Machine::bare(&n.name, &n.address.to_string()))).collect();
        let control_planes = nodes.iter().filter(|n| n.role.is_control_plane()).count();
        let world = World {
            machines,
            control_planes,
            version: version.into(),
            most_away: 1,
            budgets: r#"{"items":[]}"#.into(),
            pods_json: r#"{"items":[]}"#.into(),
            clock: 10,
            ..World::default()
        };
        Self(Arc::new(Mutex::new(world)))
    }

    /// The world, to look at and to change.
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Connects to the machines of a world.
pub struct FakeConnector(pub FakeCluster);

#[async_trait]
impl Connector for FakeConnector {
    async fn connect(&self, node: &Node) -> Result<Arc<dyn Host>> {
        let (generation, dead) = {
            let world = self.0.world();
            (world.generation, world.machines.get(&node.name).is_none_or(|m| m.dead))
        };
        if dead {
            return Err(Error::unreachable("no route to host").on(&node.name));
        }
        let cluster = self.0.clone();
        Ok(Arc::new(FakeHost { name: node.name.clone(), cluster, generation, trips: AtomicU64::new(0) }))
    }
}

/// A connection to one machine of a world.
pub struct FakeHost {
    name: String,
    cluster: FakeCluster,
    generation: u64,
    trips: AtomicU64,
}

impl FakeHost {
    fn lost(&self, what: &str) -> Error {
        Error::unreachable(format!("the connection {what}")).on(&self.name)
    }

    /// Counts the call and takes the fault that is due.
    fn begin(&self) -> Result<Option<Fault>> {
        self.trips.fetch_add(1, Ordering::Relaxed);
        let mut world = self.cluster.world();
        if world.generation != self.generation {
            return Err(self.lost("is dead"));
        }
        if world.dead.contains(&self.name) {
            return Err(self.lost("gets no answer"));
        }
        world.seconds += 1;
        let overall = world.calls;
        world.calls += 1;
        let count = world.host_calls.entry(self.name.clone()).or_default();
        let own = *count;
        *count += 1;
        let fault = world.faults.remove(&overall).or_else(|| world.host_faults.remove(&(self.name.clone(), own)));
        match fault {
            Some(Fault::Refuse) => Err(self.lost("was refused")),
            Some(Fault::DropBefore) => Err(self.lost("was lost")),
            Some(Fault::Kill) => {
                world.generation += 1;
                Err(self.lost("died"))
            }
            other => Ok(other),
        }
    }

    /// Carries out `effect` under the fault.
    fn carry_out<T>(&self, fault: Option<Fault>, effect: impl FnOnce(&mut World, bool) -> Result<T>) -> Result<T> {
        let mut world = self.cluster.world();
        if world.generation != self.generation {
            return Err(self.lost("is dead"));
        }
        let result = effect(&mut world, matches!(fault, Some(Fault::Reboot | Fault::Die)));
        world.check_invariants();
        match fault {
            Some(Fault::DropAfterEffect) => Err(self.lost("was lost before the reply")),
            Some(Fault::KillAfterEffect) => {
                world.generation += 1;
                Err(self.lost("died"))
            }
            Some(Fault::Reboot) => {
                let now = world.tick();
                if let Some(machine) = world.machines.get_mut(&self.name) {
                    machine.reboot(now);
                }
                world.show(Cause::Accident);
                Err(self.lost("ended with a reboot"))
            }
            Some(Fault::Die) => {
                world.die(&self.name);
                world.show(Cause::Accident);
                Err(self.lost("was lost for good"))
            }
            _ => result,
        }
    }

    /// Takes the static pods down for as long as a command that replaces them runs.
    fn begin_restart(&self, command: &Command) -> bool {
        let mut world = self.cluster.world();
        let restarts = world.generation == self.generation && world.restarts(&self.name, command);
        if restarts {
            world.restarting.insert(self.name.clone());
            world.check_invariants();
        }
        restarts
    }

    fn full(&self, world: &World, fault: Option<Fault>, what: &str) -> Result<()> {
        let full = fault == Some(Fault::DiskFull) || world.machines.get(&self.name).is_some_and(|m| m.disk_full);
        if full {
            return Err(Error::failed(format!("failed to write {what}: No space left on device"))
                .on(&self.name)
                .hint("free some space, then run apply again"));
        }
        Ok(())
    }
}

#[async_trait]
impl Host for FakeHost {
    fn name(&self) -> &str {
        &self.name
    }

    async fn probe(&self, probes: &[Probe]) -> Result<Vec<Answer>> {
        tokio::task::yield_now().await;
        let fault = self.begin()?;
        self.carry_out(fault, |world, _| {
            let answers = probes.iter().map(|p| world.answer(&self.name, p)).collect();
            world.time_passes(probes);
            Ok(answers)
        })
    }

    async fn run(&self, command: &Command) -> Result<Output> {
        let fault = self.begin()?;
        let joins = command.argv.starts_with(&["kubeadm".into(), "join".into()]);
        if joins {
            let mut world = self.cluster.world();
            let plane = command.argv.get(3).is_some_and(|path| {
                world.machines.get(&self.name).is_some_and(|m| m.text(path).contains("controlPlane:"))
            });
            if plane {
                world.joining.insert(self.name.clone());
                world.check_invariants();
            }
        }
        let restarts = self.begin_restart(command);
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
        if joins {
            self.cluster.world().joining.remove(&self.name);
        }
        if restarts {
            self.cluster.world().restarting.remove(&self.name);
        }
        self.carry_out(fault, |world, half| Ok(world.run(&self.name, command, half)))
    }

    async fn write_file(&self, file: &FileSpec) -> Result<()> {
        tokio::task::yield_now().await;
        let fault = self.begin()?;
        self.carry_out(fault, |world, _| {
            self.full(world, fault, &file.path)?;
            let now = world.tick();
            world.log.push(format!("{}: write {}", self.name, file.path));
            if let Some(machine) = world.machines.get_mut(&self.name) {
                machine.write(&file.path, &file.content, file.mode, now);
            }
            Ok(())
        })
    }

    async fn put_blob(
        &self,
        _local: &Blob,
        digest: &Digest,
        size: u64,
        sent: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<()> {
        tokio::task::yield_now().await;
        let fault = self.begin()?;
        self.carry_out(fault, |world, _| {
            self.full(world, fault, digest.short())?;
            if let Some(machine) = world.machines.get_mut(&self.name) {
                machine.blobs.insert(digest.clone(), size);
            }
            sent(size);
            Ok(())
        })
    }

    fn round_trips(&self) -> u64 {
        self.trips.load(Ordering::Relaxed)
    }
}
