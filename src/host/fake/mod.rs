//! Machines in memory: the second implementation of the seam, for tests of planner and engine together.

mod addons;
mod certificates;
mod dns;
mod effect;
mod etcd;
mod etcd_units;
mod host;
mod kubeadm;
mod kubectl;
mod machine;
mod question;
mod rotation;
mod settings;
mod static_pods;
mod upgrade;
mod watch;
mod world;

pub use dns::Dns;
pub use host::{FakeCluster, FakeConnector, FakeHost};
pub use machine::{FakeFile, FakeUnit, Machine};
pub use watch::{Cause, Watch};
pub use world::{Fault, NodeRecord, World};
