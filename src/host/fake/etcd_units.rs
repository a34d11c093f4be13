//! An etcd that runs as units beside Kubernetes.

use std::time::{SystemTime, UNIX_EPOCH};

use super::effect::{broken, done};
use super::world::World;
use crate::host::Output;
use crate::inventory::ETCD_CLIENT_DIR;
use crate::resource::{ETCD_CLIENT, ETCD_DIR, ETCD_FORMED, ETCD_INITIAL, ETCD_UNIT};

const DATA: &str = "/var/lib/provision-etcd/member";

impl World {
    /// Whether etcd runs beside Kubernetes and not on its control planes.
    pub(super) fn etcd_is_apart(&self) -> bool {
        self.machines.values().any(|m| m.has_unit(ETCD_UNIT))
    }

    /// Whether this machine's API server would be let in by etcd.
    pub(super) fn has_etcd_client(&self, name: &str) -> bool {
        self.machines.get(name).is_some_and(|m| m.has(&format!("{ETCD_CLIENT_DIR}/{ETCD_CLIENT}.crt")))
    }

    /// Whether etcd answers this machine, as long as it has a quorum.
    pub(super) fn reaches_etcd(&self, name: &str) -> bool {
        self.etcd_up(name) || self.has_etcd_client(name)
    }

    /// The unit of a member is started, or started anew.
    pub(super) fn start_etcd(&mut self, name: &str, now: u64) -> Output {
        self.check_restart(name);
        let Some(m) = self.machines.get_mut(name) else { return broken(255, "no machine") };
        if !m.has("/usr/local/bin/etcd") || !m.has(&format!("{ETCD_DIR}/server.crt")) || !m.has(ETCD_INITIAL) {
            return broken(1, "provision-etcd.service: Failed at step EXEC");
        }
        if !m.has(DATA) {
            let text = m.text(ETCD_INITIAL);
            let of = |key: &str| text.lines().find_map(|l| l.strip_prefix(key)).unwrap_or_default().to_owned();
            let names: Vec<String> =
                of("ETCD_INITIAL_CLUSTER=").split(',').filter_map(|m| Some(m.split_once('=')?.0.to_owned())).collect();
            let new = of("ETCD_INITIAL_CLUSTER_STATE=") == "new";
            if new && self.etcd_started.contains(name) {
                return broken(1, "member has already been bootstrapped");
            }
            if !new && !self.etcd.contains_key(name) {
                return broken(1, "the member is none of the cluster's");
            }
            for name in names.into_iter().filter(|_| new) {
                let id = self.next_serial();
                self.etcd.entry(name).or_insert(id);
            }
        }
        self.etcd_started.insert(name.to_owned());
        let Some(m) = self.machines.get_mut(name) else { return broken(255, "no machine") };
        m.write(DATA, b"", 0o700, now);
        m.start(ETCD_UNIT, now);
        done("")
    }

    fn check_restart(&mut self, name: &str) {
        let formed = self.machines.values().any(|m| m.has(ETCD_FORMED));
        let others = self.etcd.keys().filter(|n| *n != name && self.etcd_up(n)).count();
        if formed && self.etcd_up(name) && others * 2 <= self.etcd.len() && self.etcd.len() > 1 {
            self.violations.push(format!("etcd on {name} restarts while only {others} others run"));
        }
    }

    /// `etcdctl member add` and `member remove`.
    pub(super) fn change_members(&mut self, args: &[&str]) -> Output {
        if !self.quorum() {
            return broken(1, "context deadline exceeded");
        }
        match args {
            ["member", "remove", id] => {
                let id = u64::from_str_radix(id, 16).unwrap_or(0);
                self.etcd_started.retain(|n| self.etcd.get(n) != Some(&id));
                self.etcd.retain(|_, member| *member != id);
                done("")
            }
            ["member", "add", name, _] => {
                let id = self.next_serial();
                if self.etcd.insert((*name).to_owned(), id).is_some() {
                    return broken(1, "Peer URLs already exists");
                }
                done("")
            }
            _ => broken(127, "the fake knows no such change of etcd's members"),
        }
    }

    /// What of a member is on the machine.
    pub(super) fn etcd_host(&self, name: &str) -> String {
        let Some(m) = self.machines.get(name) else { return String::new() };
        let word = |yes: bool| if yes { "yes" } else { "no" };
        let state = m.text(ETCD_INITIAL);
        let state = state.lines().find_map(|l| l.strip_prefix("ETCD_INITIAL_CLUSTER_STATE=")).unwrap_or_default();
        format!(
            "data={}\nformed={}\nunit={}\nactive={}\ninitial={state}\n",
            word(m.has(DATA)),
            word(m.has(ETCD_FORMED)),
            word(m.has_unit(ETCD_UNIT)),
            word(m.runs(ETCD_UNIT)),
        )
    }

    /// Certificates in a directory, by the clock of this machine.
    pub(super) fn identity(&self, name: &str, dir: &str, names: &[&str]) -> String {
        let Some(m) = self.machines.get(name) else { return String::new() };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let one = |k: &&str| {
            let key = m.files.get(&format!("{dir}/{k}.key")).is_some_and(|f| f.mode == 0o600);
            let key = if key { format!("key={k}\n") } else { String::new() };
            format!("{key}cert={k}\n{}", m.text(&format!("{dir}/{k}.crt")))
        };
        format!("now={now}\n{}", names.iter().map(one).collect::<String>())
    }

    /// Records what must never be with an etcd that was once whole.
    pub(super) fn check_etcd(&mut self) {
        if self.machines.values().any(|m| m.has(ETCD_FORMED)) && !self.quorum() {
            self.violations.push("etcd lost its quorum".into());
        }
    }
}
