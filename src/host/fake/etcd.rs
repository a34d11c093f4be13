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

    /// The script that appends to a file.
    pub(super) fn append(&mut self, name: &str, args: &[&str], piece: &[u8], now: u64) -> Output {
        let (&[path, turn], Some(m)) = (args, self.machines.get_mut(name)) else { return broken(2, "bad arguments") };
        let mut content = m.files.get(path).filter(|_| turn == "next").map(|f| f.content.clone()).unwrap_or_default();
        content.extend(piece);
        m.write(path, &content, 0o600, now);
        done("")
    }

    /// The script that makes etcd's data of a snapshot.
    pub(super) fn stage(&mut self, name: &str, dir: &str, member: &str, hex: &str, now: u64) -> Output {
        let Some(m) = self.machines.get_mut(name) else { return broken(255, "no machine") };
        match m.files.get(&format!("{dir}/snapshot.db")) {
            Some(file) if file.digest.hex() == hex => {
                let content = file.content.clone();
                m.write(&format!("{dir}/data/member"), &[member.as_bytes(), b"\n", &content].concat(), 0o600, now);
                done("")
            }
            _ => broken(65, "the snapshot changed on its way here"),
        }
    }

    /// The script that keeps the old state.
    pub(super) fn set_aside(&mut self, name: &str, dir: &str, now: u64) -> Output {
        let Some(m) = self.machines.get_mut(name) else { return broken(255, "no machine") };
        let old: Vec<_> = m.files.iter().map(|(path, file)| (path.clone(), file.content.clone())).collect();
        for (path, content) in old {
            let to = path.strip_prefix("/etc/kubernetes/pki").map(|rest| format!("{dir}/pki{rest}"));
            if let Some(to) = to.or_else(|| path.strip_prefix("/var/lib/etcd").map(|rest| format!("{dir}/etcd{rest}")))
            {
                m.write(&to, &content, 0o600, now);
                m.files.remove(&path);
            }
        }
        self.etcd.remove(name);
        done("")
    }

    /// The script that puts the data into place.
    pub(super) fn place_etcd(&mut self, name: &str, dir: &str, now: u64) -> Output {
        let Some(m) = self.machines.get_mut(name) else { return broken(255, "no machine") };
        let Some(data) = m.files.get(&format!("{dir}/data/member")).cloned() else { return broken(1, "no data") };
        if m.has("/var/lib/etcd/member") {
            return broken(1, "there is a /var/lib/etcd/member");
        }
        m.write("/var/lib/etcd/member", &data.content, 0o600, now);
        m.remove_below(dir);
        done("")
    }
}
