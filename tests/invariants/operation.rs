//! Commands beside apply, in the middle of whatever breaks.

use std::sync::Arc;

use provision::bundle::Blob;
use provision::error::{Error, Kind};
use provision::exec::{Cancel, Context, NullSink, etcd};

use super::leaving::Command;
use super::play::{Play, RUNS};
use super::scenario::{Change, Round};
use super::world::{bundle, connect};

impl Play {
    /// Done as often as it takes when it was begun; nothing else is under way.
    pub(super) async fn operate(&mut self, change: &Change, round: &Round) -> Result<(), String> {
        match change {
            Change::Renew => {
                self.fail(round);
                let mut done = self.renew().await;
                for _ in 0..RUNS {
                    self.sound("certificates are renewed")?;
                    self.fake.world().faults.clear();
                    if done.is_ok() {
                        break;
                    }
                    self.mend();
                    // Services that a fault stopped are started by apply.
                    self.converge("before certificates are renewed again").await?;
                    done = self.renew().await;
                }
                done.map_err(|e| e.report())
            }
            Change::Remove(at, dead) => self.leave(&self.host(*at), None, *dead, true, round).await,
            Change::Replace(at, dead, listed) => {
                let old = self.host(*at);
                let mut shape = self.shape.clone();
                let new = shape.with_another(&old);
                if shape.planes.len() > 5 {
                    return Ok(());
                }
                self.leave(&old, Some((new, shape)), *dead, *listed, round).await
            }
            _ => Ok(()),
        }
    }

    async fn renew(&self) -> Result<(), Error> {
        let inv = self.shape.inventory();
        let hosts = connect(&self.fake, &inv).await?;
        let blob = Box::new(|_: &_| Ok(Blob { pieces: Vec::new() }));
        let context = Context { hosts, blob, inventory: Arc::new(inv), sink: Arc::new(NullSink) };
        etcd::renew(&context, &Cancel::new()).await
    }

    async fn leave(
        &mut self,
        old: &str,
        joins: Option<(String, super::scenario::Shape)>,
        dead: bool,
        listed: bool,
        round: &Round,
    ) -> Result<(), String> {
        let when = format!("{old} ({listed}) leaves for {:?}", joins.as_ref().map(|(new, _)| new));
        let before = self.shape.clone();
        let new = joins.map(|(new, shape)| {
            self.take(shape);
            new
        });
        // A majority that is dead is another story, with another command.
        let spare = !before.planes.iter().any(|p| p == old) || before.planes.len() > 2;
        if dead && spare {
            self.fake.world().die(old);
        }
        {
            let mut checker = self.checker.lock().unwrap();
            checker.policy.leaving.insert(old.to_owned());
            if new.is_some() && !(dead && spare) {
                checker.keep_voters();
            }
        }
        self.fail(round);
        let mut last = Ok(());
        for _ in 0..=RUNS {
            last = self.left(old, new.as_deref(), listed).await;
            self.sound(&when)?;
            self.fake.world().faults.clear();
            match &last {
                Err(e) if !matches!(e.kind(), Kind::Refused | Kind::Usage) => self.mend(),
                _ => break,
            }
        }
        self.checker.lock().unwrap().voters = None;
        let joined = new.as_ref().is_some_and(|new| self.fake.world().nodes.contains_key(new));
        match last {
            Ok(()) => {
                let mut shape = self.shape.clone();
                shape.remove(old);
                let mut world = self.fake.world();
                world.machines.remove(old);
                world.dead.remove(old);
                world.may_go.remove(old);
                drop(world);
                self.take(shape);
            }
            // It stays, and so does who came in its place.
            Err(e) if matches!(e.kind(), Kind::Refused | Kind::Usage) => {
                self.mend();
                let shape = if joined { self.shape.clone() } else { before };
                if let (Some(new), false) = (&new, joined) {
                    let mut world = self.fake.world();
                    world.needed_images.remove(new);
                    world.machines.remove(new);
                }
                self.take(shape);
            }
            Err(e) => return Err(format!("{when}: {}", e.report())),
        }
        self.converge(&format!("after {when}")).await
    }

    async fn left(&self, old: &str, new: Option<&str>, listed: bool) -> Result<(), Error> {
        let mut inv = self.shape.inventory();
        if !listed {
            inv.hosts.retain(|h| h.name != old);
        }
        self.fake.world().needed_images.remove(old);
        let bundle = bundle(&inv);
        Command { fake: &self.fake, inv: &inv, bundle: &bundle, names: vec![old.to_owned()], joins: new }.run().await
    }
}
