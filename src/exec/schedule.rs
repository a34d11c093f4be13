//! Decides which step may start next. Pure: no I/O, no clock.

use std::collections::{BTreeSet, HashMap, VecDeque};

use crate::error::{Error, Result};
use crate::phase::{Limit, spec};
use crate::plan::{Action, PhaseId, Step};

/// How many uploads one host takes at once: the second fills the link while the node hashes the first.
const UPLOADS_PER_HOST: usize = 2;

/// How a step ended, as far as the order of the others depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Its host is as wanted.
    Well,
    /// It is not.
    Failed,
    /// It is not, and that is allowed: the host is left out of the rest of the phase, and nobody waits for it.
    Left,
}

/// A step that will not run, by its place in the plan, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skip {
    /// Its place in the plan.
    pub index: usize,
    /// Why.
    pub why: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Running,
    Ended,
}

#[derive(Debug)]
struct Node {
    id: String,
    phase: PhaseId,
    host: usize,
    upload: bool,
    state: State,
    /// The number of unfinished steps it waits for.
    blockers: usize,
    /// The steps that wait for it.
    followers: Vec<usize>,
    /// Whether it waits for the images of all hosts; that is one of its blockers, however many images there are.
    gated: bool,
}

/// The order of a plan's steps while it is carried out.
///
/// - A step starts after all it `needs`, and after the steps of its host that stand before it in the plan; of
///   uploads that follow one another on a host, two run at once.
/// - In a phase that is [`Limit::InOrder`] every step waits for the one before it, whatever its host.
/// - No step of a phase with `after_images` starts before every step of phase images ended well, even if the plan
///   forgot to say so.
/// - When a step leaves its host out, what is left of the phase on that host is skipped and nothing else.
/// - When a step fails, what waits for it, what is left on its host and all later phases are skipped; other hosts go
///   on up to the end of the phase in which it failed.
#[derive(Debug)]
pub struct Schedule {
    nodes: Vec<Node>,
    ready: BTreeSet<usize>,
    running: usize,
    running_on: Vec<usize>,
    concurrency: usize,
    /// The steps of phase images that have not ended well.
    images_left: usize,
}

impl Schedule {
    /// Orders `steps`; at most `concurrency` (at least one) run at once.
    ///
    /// Refuses steps whose ids are not unique, that need a step that is not there, or that wait for one another.
    pub fn new(steps: &[Step], concurrency: usize) -> Result<Self> {
        let mut by_id = HashMap::new();
        let mut hosts = HashMap::new();
        let mut nodes = Vec::with_capacity(steps.len());
        for (index, step) in steps.iter().enumerate() {
            if by_id.insert(step.id.as_str(), index).is_some() {
                return Err(Error::invalid(format!("the plan has two steps named `{}`", step.id)));
            }
            let next = hosts.len();
            nodes.push(Node {
                id: step.id.clone(),
                phase: step.phase,
                host: *hosts.entry(step.host.as_str()).or_insert(next),
                upload: matches!(step.action, Action::PutBlob { .. }),
                state: State::Waiting,
                blockers: 0,
                followers: Vec::new(),
                gated: spec(step.phase).after_images,
            });
        }
        let images_left = nodes.iter().filter(|n| n.phase == PhaseId::Images).count();
        let mut before = rules(&nodes);
        for (index, step) in steps.iter().enumerate() {
            for need in &step.needs {
                let Some(&needed) = by_id.get(need.as_str()) else {
                    return Err(Error::invalid(format!("step `{}` needs `{need}`, which is not in the plan", step.id)));
                };
                before[index].insert(needed);
            }
        }
        for (index, earlier) in before.iter().enumerate() {
            nodes[index].blockers = earlier.len() + usize::from(nodes[index].gated && images_left > 0);
            for &e in earlier {
                nodes[e].followers.push(index);
            }
        }
        refuse_cycles(&nodes, images_left)?;
        let ready = (0..nodes.len()).filter(|&i| nodes[i].blockers == 0).collect();
        let running_on = vec![0; hosts.len()];
        Ok(Self { nodes, ready, running: 0, running_on, concurrency: concurrency.max(1), images_left })
    }

    /// The place of a step that may start now; it counts as running from here on. `None`: nothing may start before a
    /// running step ends.
    pub fn start_next(&mut self) -> Option<usize> {
        if self.running >= self.concurrency {
            return None;
        }
        // A step that is no upload is ready only when its host is idle, so the number on its host is all there is to ask.
        let index = self.ready.iter().copied().find(|&i| {
            let node = &self.nodes[i];
            self.running_on[node.host] < if node.upload { UPLOADS_PER_HOST } else { 1 }
        })?;
        self.ready.remove(&index);
        self.nodes[index].state = State::Running;
        self.running += 1;
        self.running_on[self.nodes[index].host] += 1;
        Some(index)
    }

    /// Takes note that a running step ended. Returns the steps that will not run because of it.
    pub fn end(&mut self, index: usize, end: End) -> Vec<Skip> {
        self.running -= 1;
        self.running_on[self.nodes[index].host] -= 1;
        self.nodes[index].state = State::Ended;
        match end {
            End::Well => {
                self.release(index);
                Vec::new()
            }
            End::Left => self.leave_out(index),
            End::Failed => self.skip_after(index),
        }
    }

    /// Starts nothing more. Returns the steps that will not run because of it.
    pub fn stop(&mut self, why: &str) -> Vec<Skip> {
        (0..self.nodes.len()).filter_map(|i| self.skip(i, || why.to_owned())).collect()
    }

    /// Whether every step ended or was skipped.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.nodes.iter().all(|n| n.state == State::Ended)
    }

    fn release(&mut self, index: usize) {
        let mut followers = self.nodes[index].followers.clone();
        if self.nodes[index].phase == PhaseId::Images {
            self.images_left -= 1;
            if self.images_left == 0 {
                followers.extend(self.gated());
            }
        }
        for follower in followers {
            self.nodes[follower].blockers -= 1;
            if self.nodes[follower].blockers == 0 && self.nodes[follower].state == State::Waiting {
                self.ready.insert(follower);
            }
        }
    }

    fn leave_out(&mut self, left: usize) -> Vec<Skip> {
        let cause = self.nodes[left].id.clone();
        let (host, phase) = (self.nodes[left].host, self.nodes[left].phase);
        let of_it = |n: &Node| n.host == host && n.phase == phase;
        let skips: Vec<Skip> = (0..self.nodes.len())
            .filter(|&i| of_it(&self.nodes[i]))
            .collect::<Vec<_>>()
            .into_iter()
            .filter_map(|i| self.skip(i, || format!("{cause} left this host out")))
            .collect();
        self.release(left);
        for skip in &skips {
            self.release(skip.index);
        }
        skips
    }

    fn skip_after(&mut self, failed: usize) -> Vec<Skip> {
        let mut skips = Vec::new();
        let cause = self.nodes[failed].id.clone();
        let (host, phase) = (self.nodes[failed].host, self.nodes[failed].phase);
        let mut queue = VecDeque::from([failed]);
        let mut images = true;
        while let Some(index) = queue.pop_front() {
            for follower in self.after(index, &mut images) {
                if let Some(skip) = self.skip(follower, || format!("it comes after {cause}, which failed")) {
                    skips.push(skip);
                    queue.push_back(follower);
                }
            }
        }
        for index in 0..self.nodes.len() {
            let why = if self.nodes[index].host == host {
                format!("{cause} failed on this host")
            } else if self.nodes[index].phase > phase {
                format!("no later phase starts after {cause} failed")
            } else {
                continue;
            };
            skips.extend(self.skip(index, || why));
        }
        // A step of an earlier phase may wait for one of the skipped: it can never start either.
        let mut queue: VecDeque<usize> = skips.iter().map(|s| s.index).collect();
        while let Some(index) = queue.pop_front() {
            for follower in self.after(index, &mut images) {
                let after = self.nodes[index].id.clone();
                if let Some(skip) = self.skip(follower, || format!("it comes after {after}, which did not run")) {
                    skips.push(skip);
                    queue.push_back(follower);
                }
            }
        }
        skips
    }

    /// What waits for a step. What waits for all images waits for each of them, but is named only `once`.
    fn after(&self, index: usize, once: &mut bool) -> Vec<usize> {
        let mut all = self.nodes[index].followers.clone();
        if self.nodes[index].phase == PhaseId::Images && std::mem::take(once) {
            all.extend(self.gated());
        }
        all
    }

    fn gated(&self) -> impl Iterator<Item = usize> {
        (0..self.nodes.len()).filter(|&i| self.nodes[i].gated)
    }

    fn skip(&mut self, index: usize, why: impl FnOnce() -> String) -> Option<Skip> {
        if self.nodes[index].state != State::Waiting {
            return None;
        }
        self.nodes[index].state = State::Ended;
        self.ready.remove(&index);
        Some(Skip { index, why: why() })
    }
}

/// What every step waits for by the rules of the schedule, whatever the plan says; the images of all hosts apart.
fn rules(nodes: &[Node]) -> Vec<BTreeSet<usize>> {
    /// The tail of a host's line: the last step that all later ones wait for, and the uploads after it.
    #[derive(Default)]
    struct Tail {
        last: Option<usize>,
        uploads: Vec<usize>,
    }
    let mut before = vec![BTreeSet::new(); nodes.len()];
    let mut tails: HashMap<usize, Tail> = HashMap::new();
    let mut last_in_order: HashMap<PhaseId, usize> = HashMap::new();
    for (index, node) in nodes.iter().enumerate() {
        let tail = tails.entry(node.host).or_default();
        before[index].extend(tail.last);
        if node.upload {
            tail.uploads.push(index);
        } else {
            before[index].extend(tail.uploads.drain(..));
            tail.last = Some(index);
        }
        if spec(node.phase).concurrency == Limit::InOrder {
            before[index].extend(last_in_order.insert(node.phase, index));
        }
    }
    before
}

fn refuse_cycles(nodes: &[Node], mut images_left: usize) -> Result<()> {
    let mut blockers: Vec<usize> = nodes.iter().map(|n| n.blockers).collect();
    let mut free: Vec<usize> = (0..nodes.len()).filter(|&i| blockers[i] == 0).collect();
    let mut seen = 0;
    while let Some(index) = free.pop() {
        seen += 1;
        let mut followers = nodes[index].followers.clone();
        if nodes[index].phase == PhaseId::Images {
            images_left -= 1;
            if images_left == 0 {
                followers.extend((0..nodes.len()).filter(|&i| nodes[i].gated));
            }
        }
        for follower in followers {
            blockers[follower] -= 1;
            if blockers[follower] == 0 {
                free.push(follower);
            }
        }
    }
    if seen == nodes.len() {
        return Ok(());
    }
    let stuck: Vec<&str> =
        (0..nodes.len()).filter(|&i| blockers[i] > 0).map(|i| nodes[i].id.as_str()).take(5).collect();
    Err(Error::invalid(format!("the plan can never end: these steps wait for one another: {}", stuck.join(", "))))
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
