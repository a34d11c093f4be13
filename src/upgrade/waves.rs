//! In which order workers are upgraded, and how many at a time.

use std::collections::{BTreeSet, HashMap};

use super::refusal::{Refusal, listed};
use crate::inventory::Upgrade;

/// Whether a worker serves its pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Presence {
    /// It does.
    #[default]
    Serves,
    /// An upgrade took it away and has not let it go yet.
    Begun,
    /// Others keep pods off it.
    Away,
}

/// A worker as far as its turn goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Worker<'a> {
    /// The node's name.
    pub name: &'a str,
    /// The pool it is in; the workers without one are taken as a pool of their own.
    pub pool: Option<&'a str>,
    /// Whether it serves there now.
    pub presence: Presence,
}

/// Workers of one pool that are away at the same time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wave {
    /// Their pool.
    pub pool: Option<String>,
    /// Whether they go first, to find out on few nodes what is wrong.
    pub canary: bool,
    /// Their names, in the order of the inventory.
    pub nodes: Vec<String>,
}

/// The waves of `workers`, which is *all* workers that are in the cluster: a share is a share of the whole pool, so that
/// a run that goes on after an interruption allows as much as the first one did. Leave out those that are done
/// afterwards. Those that have yet to join serve nothing, and give their pool no right to lose more.
///
/// What an interrupted run took away comes first, for it is missing already; what others keep away counts against the
/// share, whoever it is that the pool lacks.
///
/// Pools come in the order in which their first worker stands in the inventory, each begins with its canaries, because
/// pools differ in hardware and load, and what one pool's canary stands another's may not. No wave is larger than the
/// policy's share of its pool, waves of canaries included.
#[must_use]
pub fn waves(workers: &[Worker<'_>], policy: &Upgrade) -> Vec<Wave> {
    let canaries = usize::try_from(policy.canary).unwrap_or(usize::MAX);
    let mut all = Vec::new();
    for (pool, members) in pools(workers) {
        let away = members.iter().filter(|w| w.presence == Presence::Away).count();
        let most = policy.max_unavailable.of(members.len()).saturating_sub(away).max(1);
        let (begun, others): (Vec<_>, Vec<_>) = members.into_iter().partition(|w| w.presence == Presence::Begun);
        let names: Vec<&str> = begun.into_iter().chain(others).map(|w| w.name).collect();
        let (first, rest) = names.split_at(canaries.min(names.len()));
        let of = |canary: bool| {
            move |nodes: &[&str]| Wave {
                pool: pool.map(str::to_owned),
                canary,
                nodes: nodes.iter().map(|n| (*n).to_owned()).collect(),
            }
        };
        all.extend(first.chunks(most).map(of(true)));
        all.extend(rest.chunks(most).map(of(false)));
    }
    all
}

/// The pools from which others keep so many workers away that none of the `behind` may go: each is a reason to refuse.
#[must_use]
pub fn without_room(workers: &[Worker<'_>], policy: &Upgrade, behind: &BTreeSet<String>) -> Vec<Refusal> {
    let mut found = Vec::new();
    for (pool, members) in pools(workers) {
        let most = policy.max_unavailable.of(members.len());
        let away: Vec<&str> = members.iter().filter(|w| w.presence == Presence::Away).map(|w| w.name).collect();
        let taken = members.iter().any(|w| w.presence == Presence::Serves && behind.contains(w.name));
        if away.len() >= most && taken {
            let pool = pool.map_or_else(|| "the workers without a pool".to_owned(), |p| format!("pool {p}"));
            found.push(Refusal::new(
                format!(
                    "of {pool} {} of {} are kept away by others ({}), and upgrade.max_unavailable allows {most}",
                    away.len(),
                    members.len(),
                    listed(away.iter().copied())
                ),
                "`kubectl uncordon` them, take them out of the cluster, or set upgrade.max_unavailable higher",
            ));
        }
    }
    found
}

/// The pools in the order in which their first worker stands.
fn pools<'a>(workers: &[Worker<'a>]) -> Vec<(Option<&'a str>, Vec<Worker<'a>>)> {
    let mut pools: Vec<(Option<&str>, Vec<Worker<'_>>)> = Vec::new();
    let mut places: HashMap<Option<&str>, usize> = HashMap::new();
    for worker in workers {
        let place = *places.entry(worker.pool).or_insert(pools.len());
        match pools.get_mut(place) {
            Some((_, members)) => members.push(*worker),
            None => pools.push((worker.pool, vec![*worker])),
        }
    }
    pools
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::inventory::Share;

    fn policy(canary: u32, max_unavailable: Share) -> Upgrade {
        Upgrade { canary, max_unavailable, ..Upgrade::default() }
    }

    fn shown(waves: &[Wave]) -> Vec<String> {
        let line = |w: &Wave| {
            let pool = w.pool.as_deref().unwrap_or("-");
            format!("{pool}{}: {}", if w.canary { "*" } else { "" }, w.nodes.join(" "))
        };
        waves.iter().map(line).collect()
    }

    #[test]
    fn every_pool_begins_with_its_canary() {
        let pool = |pool: Option<&'static str>, names: &[&'static str]| -> Vec<Worker<'static>> {
            names.iter().map(|name| Worker { name, pool, presence: Presence::Serves }).collect()
        };
        let mut workers = pool(Some("web"), &["w1", "w2", "w3"]);
        workers.extend(pool(None, &["x1"]));
        workers.extend(pool(Some("db"), &["d1", "d2"]));
        workers.extend(pool(Some("web"), &["w4", "w5"]));
        assert_eq!(
            shown(&waves(&workers, &policy(1, Share::Percent(40)))),
            ["web*: w1", "web: w2 w3", "web: w4 w5", "-*: x1", "db*: d1", "db: d2"]
        );
        assert_eq!(
            shown(&waves(&workers, &policy(0, Share::Count(3)))),
            ["web: w1 w2 w3", "web: w4 w5", "-: x1", "db: d1 d2"]
        );
        assert_eq!(
            shown(&waves(&workers, &policy(3, Share::Count(2)))),
            ["web*: w1 w2", "web*: w3", "web: w4 w5", "-*: x1", "db*: d1 d2"]
        );
        assert_eq!(waves(&[], &Upgrade::default()), []);
    }

    #[test]
    fn what_is_away_already_comes_first_or_counts() {
        let worker = |name, presence| Worker { name, pool: None, presence };
        let mut workers: Vec<Worker<'_>> = ["w1", "w2", "w3", "w4", "w5"].map(|n| worker(n, Presence::Serves)).into();
        let two = policy(1, Share::Count(2));
        workers[3].presence = Presence::Begun;
        assert_eq!(shown(&waves(&workers, &two)), ["-*: w4", "-: w1 w2", "-: w3 w5"]);
        workers[3].presence = Presence::Away;
        assert_eq!(shown(&waves(&workers, &two)), ["-*: w1", "-: w2", "-: w3", "-: w4", "-: w5"]);
        let all: BTreeSet<String> = workers.iter().map(|w| w.name.to_owned()).collect();
        assert_eq!(without_room(&workers, &two, &all), []);
        let said = without_room(&workers, &policy(1, Share::Percent(20)), &all);
        assert!(said[0].reason.contains("1 of 5 are kept away by others (w4)") && said.len() == 1, "{said:?}");
        assert_eq!(without_room(&workers, &policy(1, Share::Percent(20)), &["w4".to_owned()].into()), []);
    }

    fn any_share() -> impl Strategy<Value = Share> {
        prop_oneof![(1u32..60).prop_map(Share::Count), (1u8..=100).prop_map(Share::Percent)]
    }

    proptest! {
        #[test]
        fn waves_keep_what_the_policy_promises(
            pools in proptest::collection::vec(0usize..5, 0..120), canary in 0u32..6, share in any_share()
        ) {
            let named: Vec<(String, Option<String>)> = pools.iter().enumerate()
                .map(|(n, p)| (format!("n{n}"), (*p > 0).then(|| format!("p{p}")))).collect();
            let workers: Vec<Worker<'_>> =
                named.iter().map(|(name, pool)| Worker { name, pool: pool.as_deref(), presence: Presence::Serves })
                .collect();
            let policy = policy(canary, share);
            let all = waves(&workers, &policy);

            // Every worker exactly once, in its own pool, in the order of the inventory.
            let mut size: BTreeMap<Option<&str>, usize> = BTreeMap::new();
            for worker in &workers {
                *size.entry(worker.pool).or_default() += 1;
            }
            for pool in size.keys() {
                let want: Vec<&str> = workers.iter().filter(|w| w.pool == *pool).map(|w| w.name).collect();
                let got: Vec<&str> = all.iter().filter(|w| w.pool.as_deref() == *pool)
                    .flat_map(|w| w.nodes.iter().map(String::as_str)).collect();
                prop_assert_eq!(got, want);
            }
            prop_assert_eq!(all.iter().map(|w| w.nodes.len()).sum::<usize>(), workers.len());

            let mut ended: BTreeSet<Option<&str>> = BTreeSet::new();
            let mut current: Option<Option<&str>> = None;
            let mut canaries: BTreeMap<Option<&str>, usize> = BTreeMap::new();
            let mut plain: BTreeSet<Option<&str>> = BTreeSet::new();
            for wave in &all {
                let pool = wave.pool.as_deref();
                let total = size.get(&pool).copied().unwrap_or(0);
                // The share, in the words of the policy rather than of the code under test.
                let most = match share {
                    Share::Count(n) => n as usize,
                    Share::Percent(p) => (total as f64 * f64::from(p) / 100.0 + 1e-9).floor() as usize,
                }.max(1);
                prop_assert!(!wave.nodes.is_empty() && wave.nodes.len() <= most);
                // What is left running of the pool is never below its floor.
                prop_assert!(total - wave.nodes.len() >= total.saturating_sub(most));
                // One pool after the other.
                if current != Some(pool) {
                    if let Some(before) = current {
                        ended.insert(before);
                    }
                    prop_assert!(!ended.contains(&pool));
                    current = Some(pool);
                }
                if wave.canary {
                    prop_assert!(!plain.contains(&pool), "a canary after others");
                    *canaries.entry(pool).or_default() += wave.nodes.len();
                } else {
                    plain.insert(pool);
                }
            }
            for (pool, total) in &size {
                let got = canaries.get(pool).copied().unwrap_or(0);
                prop_assert_eq!(got, (canary as usize).min(*total));
            }
            prop_assert_eq!(waves(&workers, &policy), all);
        }
    }
}
