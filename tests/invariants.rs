//! Random clusters, changes and failures against the real planner and engine, on machines in memory: at every prefix of
//! every plan etcd has its quorum, at most one control plane is away, no pool is below its floor, no minor is skipped.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "invariants/checker.rs"]
mod checker;
#[path = "invariants/checker_tests.rs"]
mod checker_tests;
#[path = "convergence/leaving.rs"]
mod leaving;
#[path = "invariants/operation.rs"]
mod operation;
#[path = "invariants/play.rs"]
mod play;
#[path = "invariants/scenario.rs"]
mod scenario;
#[allow(dead_code, reason = "shared with the convergence tests, which need all of it")]
#[path = "convergence/world.rs"]
mod world;

use proptest::prelude::*;
use proptest::test_runner::{FileFailurePersistence, RngSeed};

fn of_environment(name: &str) -> Option<u32> {
    std::env::var(name).ok()?.parse().ok()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: of_environment("PROPTEST_CASES").unwrap_or(64),
        max_shrink_iters: 200,
        // The same cases every time; another PROPTEST_RNG_SEED plays others. A failure prints its seed and keeps it: the
        // next run begins with it.
        rng_seed: RngSeed::Fixed(of_environment("PROPTEST_RNG_SEED").unwrap_or(4).into()),
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/invariants/regressions.txt"))),
        ..ProptestConfig::default()
    })]
    #[test]
    fn whatever_happens_the_cluster_serves_and_gets_there(scenario in scenario::scenario()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let looked = runtime.block_on(play::play(&scenario));
        prop_assert!(looked.is_ok(), "{}", looked.unwrap_err());
    }
}
