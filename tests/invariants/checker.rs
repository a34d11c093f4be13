//! What must hold of a cluster after every single change, told from the outside: nothing here asks the planner.

use std::collections::{BTreeMap, BTreeSet};

use provision::host::{Cause, World};
use provision::inventory::Share;

/// Major is always 1: minor and patch.
pub type Version = (u32, u32);

/// What is seen of one node at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// It is a worker of this pool.
    pub pool: Option<String>,
    /// Its node object says Ready.
    pub ready: bool,
    /// Pods are kept off it.
    pub cordoned: bool,
    /// And it was us who did that.
    pub ours: bool,
    /// Its kubelet.
    pub kubelet: Version,
}

/// What is seen of one control plane, of its own static pods and not of what it needs of others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plane {
    /// API server and etcd run.
    pub up: bool,
    /// It is down because it is being worked upon.
    pub restarting: bool,
    /// Its static pods.
    pub components: BTreeMap<String, Version>,
}

/// What is seen of the cluster at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// By name, those with a node object.
    pub nodes: BTreeMap<String, Node>,
    /// By name, those that are members of etcd.
    pub planes: BTreeMap<String, Plane>,
    /// The version of the cluster's own configuration.
    pub configured: Option<Version>,
}

/// What a pool may lose.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The pool of every worker; "" is that of those without one.
    pub pools: BTreeMap<String, String>,
    pub max_unavailable: Share,
    /// Nodes that are taken out on request: their pools and the control planes do without them.
    pub leaving: BTreeSet<String>,
}

impl Policy {
    /// How many of `total` nodes must stay. In words of its own: a share is rounded down, but one may always go.
    pub fn floor(&self, total: usize) -> usize {
        let may_go = match self.max_unavailable {
            Share::Count(n) => n as usize,
            Share::Percent(p) => total * usize::from(p) / 100,
        };
        total.saturating_sub(may_go.max(1))
    }
}

pub fn version(text: &str) -> Option<Version> {
    let mut parts = text.trim().trim_start_matches('v').split('.').skip(1).map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

fn voters(seen: &Seen) -> usize {
    seen.planes.values().filter(|p| p.up || p.restarting).count()
}

/// Looks at the world in memory.
pub fn see(world: &World, policy: &Policy) -> Seen {
    let nodes = world.nodes.iter().map(|(name, record)| {
        let seen = Node {
            pool: policy.pools.get(name).filter(|_| !policy.leaving.contains(name)).cloned(),
            ready: world.ready(name),
            cordoned: record.unschedulable,
            ours: record.marks.contains_key("cordoned-by") || record.marks.get("leaving").is_some_and(|by| by == "us"),
            kubelet: version(&world.kubelet_version(name)).unwrap_or_default(),
        };
        (name.clone(), seen)
    });
    let planes = world.etcd.keys().map(|name| {
        let machine = &world.machines[name];
        let manifests =
            ["etcd", "kube-apiserver"].iter().all(|c| machine.has(&format!("/etc/kubernetes/manifests/{c}.yaml")));
        let components = ["kube-apiserver", "kube-controller-manager", "kube-scheduler"].iter();
        let plane = Plane {
            up: world.stands(name) && manifests && machine.runs("containerd.service"),
            restarting: world.restarting.contains(name),
            components: components
                .filter_map(|c| Some(((*c).to_owned(), version(&world.component_version(name, c))?)))
                .collect(),
        };
        (name.clone(), plane)
    });
    Seen { nodes: nodes.collect(), planes: planes.collect(), configured: version(&world.configured) }
}

/// Remembers what was, and says what a change made wrong.
#[derive(Debug)]
pub struct Checker {
    pub policy: Policy,
    before: Seen,
    /// The versions that each kubelet ever had: there is a way back to them.
    kubelets: BTreeMap<String, BTreeSet<Version>>,
    /// How many healthy voters etcd has to keep while a node that serves is replaced.
    pub voters: Option<usize>,
    /// How many changes were looked at.
    pub looks: usize,
}

impl Checker {
    pub fn new(policy: Policy) -> Self {
        Self { policy, before: Seen::default(), kubelets: BTreeMap::new(), voters: None, looks: 0 }
    }

    /// From now on etcd has to keep as many healthy voters as it has. One that restarts counts.
    pub fn keep_voters(&mut self) {
        self.voters = Some(voters(&self.before));
    }

    /// What is wrong now that was not wrong before. What happens by accident is only taken note of.
    pub fn look(&mut self, now: Seen, cause: Cause) -> Vec<String> {
        self.looks += 1;
        let mut wrong = Vec::new();
        if cause == Cause::Call && now != self.before {
            self.etcd(&now, &mut wrong);
            if self.voters.is_some_and(|floor| voters(&now) < floor) {
                wrong.push(format!("etcd has {} healthy voters, and had {:?}", voters(&now), self.voters));
            }
            self.planes(&now, &mut wrong);
            self.floors(&now, &mut wrong);
            self.skew(&now, &mut wrong);
            self.steps(&now, &mut wrong);
            self.cordons(&now, &mut wrong);
        }
        if cause == Cause::Accident {
            self.voters = self.voters.map(|floor| floor.min(voters(&now)));
        }
        for (name, node) in &now.nodes {
            self.kubelets.entry(name.clone()).or_default().insert(node.kubelet);
        }
        self.before = now;
        wrong
    }

    /// etcd has a quorum; without one, nothing makes it worse.
    fn etcd(&self, now: &Seen, wrong: &mut Vec<String>) {
        let up = |seen: &Seen| seen.planes.values().filter(|p| p.up).count();
        let has = |seen: &Seen| up(seen) * 2 > seen.planes.len();
        if now.planes.is_empty() || has(now) {
            return;
        }
        // One or two members stand no restart at all: the one that is being worked upon is the price of any work.
        let worked = now.planes.values().filter(|p| p.restarting).count();
        if now.planes.len() <= 2 && worked == 1 && up(now) + worked == now.planes.len() {
            return;
        }
        let worse = up(now) < up(&self.before) || now.planes.len() > self.before.planes.len();
        if has(&self.before) || worse {
            wrong.push(format!("etcd lost its quorum: {} of {} members run", up(now), now.planes.len()));
        }
    }

    /// No control plane is taken down while another is down, and none is emptied while another is down or is being
    /// emptied, for whatever reason that is.
    fn planes(&self, now: &Seen, wrong: &mut Vec<String>) {
        let down = |seen: &Seen, name: &str| {
            seen.planes.get(name).is_some_and(|p| !p.up || seen.nodes.get(name).is_some_and(|n| !n.ready))
        };
        let emptied = |seen: &Seen, name: &str| {
            !self.policy.leaving.contains(name) && seen.nodes.get(name).is_some_and(|n| n.cordoned && n.ours)
        };
        let known = |name: &&&String| self.before.planes.contains_key(**name);
        let all_down: Vec<&String> = now.planes.keys().filter(|p| down(now, p)).collect();
        let away: Vec<&String> = now.planes.keys().filter(|p| down(now, p) || emptied(now, p)).collect();
        let taken: Vec<&&String> = all_down.iter().filter(known).filter(|p| !down(&self.before, p)).collect();
        if all_down.len() > 1 && !taken.is_empty() {
            wrong.push(format!("control planes {taken:?} were taken down, and {all_down:?} are down then"));
        }
        let taken: Vec<&&String> =
            away.iter().filter(known).filter(|p| emptied(now, p) && !emptied(&self.before, p)).collect();
        if away.len() > 1 && !taken.is_empty() {
            wrong.push(format!("control planes {taken:?} were cordoned, and {away:?} are away then"));
        }
    }

    /// No worker is taken out of a pool that then has too few.
    fn floors(&self, now: &Seen, wrong: &mut Vec<String>) {
        let serves = |seen: &Seen, name: &str| seen.nodes.get(name).is_some_and(|n| n.ready && !n.cordoned);
        let mut pools: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, node) in &now.nodes {
            if let Some(pool) = &node.pool {
                pools.entry(pool).or_default().push(name);
            }
        }
        for (pool, nodes) in pools {
            let taken: Vec<&&str> = nodes.iter().filter(|n| serves(&self.before, n) && !serves(now, n)).collect();
            let left = nodes.iter().filter(|n| serves(now, n)).count();
            let floor = self.policy.floor(nodes.len());
            if !taken.is_empty() && left < floor {
                wrong.push(format!(
                    "{taken:?} left pool `{pool}` with {left} of {} nodes, its floor is {floor}",
                    nodes.len()
                ));
            }
        }
    }

    /// No kubelet is newer than an API server.
    fn skew(&self, now: &Seen, wrong: &mut Vec<String>) {
        let ahead = |seen: &Seen| -> BTreeSet<(String, String)> {
            let servers =
                seen.planes.iter().filter_map(|(p, plane)| Some((p, *plane.components.get("kube-apiserver")?)));
            servers
                .flat_map(|(p, server)| {
                    let newer = seen.nodes.iter().filter(move |(_, n)| n.kubelet > server);
                    newer.map(move |(name, _)| (name.clone(), p.clone()))
                })
                .collect()
        };
        let before = ahead(&self.before);
        for (node, plane) in ahead(now).difference(&before) {
            wrong.push(format!("the kubelet of {node} became newer than the API server of {plane}"));
        }
    }

    /// Every component goes one minor at a time, and back only where there is a way back.
    fn steps(&self, now: &Seen, wrong: &mut Vec<String>) {
        let mut moves: Vec<(String, Version, Version, bool)> = Vec::new();
        for (name, plane) in &now.planes {
            let Some(old) = self.before.planes.get(name) else { continue };
            for (component, to) in &plane.components {
                moves.extend(
                    old.components.get(component).map(|from| (format!("{component} of {name}"), *from, *to, false)),
                );
            }
        }
        for (name, node) in &now.nodes {
            let Some(old) = self.before.nodes.get(name) else { continue };
            let had =
                !now.planes.contains_key(name) && self.kubelets.get(name).is_some_and(|k| k.contains(&node.kubelet));
            moves.push((format!("kubelet of {name}"), old.kubelet, node.kubelet, had));
        }
        if let (Some(from), Some(to)) = (self.before.configured, now.configured) {
            moves.push(("the cluster's configuration".into(), from, to, false));
        }
        for (what, from, to, had) in moves {
            if to.0 > from.0 + 1 {
                wrong.push(format!("{what} skipped a minor: {from:?} to {to:?}"));
            }
            if to < from && !had {
                wrong.push(format!("{what} went back: {from:?} to {to:?}"));
            }
        }
    }

    /// A node that others cordoned is theirs to let go.
    fn cordons(&self, now: &Seen, wrong: &mut Vec<String>) {
        for (name, node) in &now.nodes {
            if self.before.nodes.get(name).is_some_and(|b| b.cordoned && !b.ours) && !node.cordoned {
                wrong.push(format!("{name} was uncordoned, and we had not cordoned it"));
            }
        }
    }
}
