#!/usr/bin/env bash
# How long planning takes for a large cluster, without a host, a network or a disk. Prints figures; asserts nothing.
# Usage: tests/plan/bench.sh [NODES]
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo run --quiet --release --example plan-bench -- "${1:-5000}"
