# The commands that CI runs, by name.

# A lab cluster from nothing
lab:
    cargo run --release -- lab up

# All tests
test:
    tests/run

# The static release binary, proved to be so
release:
    tests/static.sh

# What needs no root
quick:
    cargo fmt --check
    cargo clippy --all-targets -- -D warnings
    cargo test

# The lab against a hand-written kubeadm script, the bundle against other tools, planning of 5,000 nodes
bench:
    tests/plan/bench.sh
    tests/lab/bench.sh
    tests/lab/bench_upgrade.sh
    tests/lab/bench_changes.sh
    tests/bundle/bench.sh
