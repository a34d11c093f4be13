//! Who looks on while the world changes, and what takes long enough to be seen half done.

use std::fmt;
use std::sync::Arc;

use super::world::World;
use crate::host::Command;

/// Who changed the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// A call over a connection: something that the program did.
    Call,
    /// A machine was cut off or power-cycled, or somebody changed it by hand.
    Accident,
}

type Look = dyn Fn(&World, Cause) -> Vec<String> + Send + Sync;

/// Looks at the world after every change and in the middle of what takes a while. What it says is kept as a violation.
#[derive(Clone, Default)]
pub struct Watch(Option<Arc<Look>>);

impl Watch {
    /// A watch that says what is wrong.
    #[must_use]
    pub fn new(look: impl Fn(&World, Cause) -> Vec<String> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(look)))
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Watch(on)" } else { "Watch(off)" })
    }
}

impl World {
    /// Shows the world to its watch.
    pub fn show(&mut self, cause: Cause) {
        if let Some(look) = self.watch.0.clone() {
            let found = look(self, cause);
            self.violations.extend(found);
        }
    }

    /// The machine is gone until it is [revived](Self::revive): nothing on it runs, and it answers nobody.
    pub fn die(&mut self, name: &str) {
        self.dead.insert(name.to_owned());
    }

    /// Power is back on a machine that died.
    pub fn revive(&mut self, name: &str) {
        if self.dead.remove(name) {
            let now = self.tick();
            if let Some(machine) = self.machines.get_mut(name) {
                machine.reboot(now);
            }
        }
    }

    /// The machine has power and its static pods are not being replaced.
    #[must_use]
    pub fn stands(&self, name: &str) -> bool {
        !self.dead.contains(name) && !self.restarting.contains(name) && !self.resyncs_now(name)
    }

    /// Whether a command takes the API server or etcd of a control plane down while it runs.
    pub(super) fn restarts(&self, name: &str, command: &Command) -> bool {
        let argv: Vec<&str> = command.argv.iter().map(String::as_str).collect();
        let ["sh", "-c", text, "sh", args @ ..] = argv.as_slice() else { return false };
        let script = text.lines().next().and_then(|l| l.strip_prefix("# apply:")).unwrap_or_default();
        let down = match (script, args) {
            ("kubeadm-upgrade", _) => true,
            ("static-pod-restart", [component, ..]) => matches!(*component, "etcd" | "kube-apiserver"),
            _ => false,
        };
        down && self.etcd.contains_key(name)
    }
}
