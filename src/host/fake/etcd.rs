//! What is done with etcd beside plans.

use super::effect::{broken, done};
use super::world::World;
use crate::bundle::Digest;
use crate::host::{ExitState, Output};

/// More than one piece, and no whole number of them.
const SNAPSHOT_SIZE: usize = (16 << 20) + 4711;

impl World {
    /// The script that takes a snapshot.
    pub(super) fn snapshot(&mut self, name: &str, dir: &str, now: u64) -> Output {
        if !self.etcd_up(name) || !self.quorum() {
            return broken(1, "context deadline exceeded");
        }
        let nodes = self.nodes.keys().cloned().collect::<Vec<_>>().join(" ");
        let content: Vec<u8> = nodes.bytes().chain(std::iter::repeat_n(b'.', SNAPSHOT_SIZE - nodes.len())).collect();
        let Some(m) = self.machines.get_mut(name) else { return broken(255, "no machine") };
        m.write(&format!("{dir}/snapshot.db"), &content, 0o600, now);
        let hex = Digest::of(&content).hex().to_owned();
        done(format!(
            "{{\"hash\":1,\"revision\":7,\"totalKey\":{},\"totalSize\":1}}\n{SNAPSHOT_SIZE}\n{hex}\n",
            self.nodes.len()
        ))
    }

    /// `dd if=FILE bs=1M skip=N count=N status=none`
    pub(super) fn dd(&self, name: &str, args: &[&str]) -> Output {
        let of = |key: &str| args.iter().find_map(|a| a.strip_prefix(key)).unwrap_or_default();
        let mib = |key: &str| of(key).parse::<usize>().unwrap_or(0) << 20;
        let Some(file) = self.machines.get(name).and_then(|m| m.files.get(of("if="))) else {
            return broken(1, "No such file or directory");
        };
        let stdout = file.content.iter().skip(mib("skip=")).take(mib("count=")).copied().collect();
        Output { exit: ExitState::Code(0), stdout, stderr: Vec::new() }
    }
}
