#!/usr/bin/env bash
# Checks every shell script: those of the tests by their own first line, those that run on nodes as POSIX shell.
# Needs Debian's package shellcheck.
set -euo pipefail
cd "$(dirname "$0")/.."
# Scripts on nodes are joined out of fragments: a variable is often set in another fragment (SC2034, SC2154).
mapfile -t nodes < <(find src -name '*.sh' | sort)
mapfile -t tests < <(find tests .ci vagrant -name '*.sh' | sort)
shellcheck --severity warning --shell sh --exclude SC2034,SC2154 "${nodes[@]}"
shellcheck --severity warning --external-sources "${tests[@]}" tests/run .ci/run
echo "shellcheck: ${#nodes[@]} scripts of nodes, $((${#tests[@]} + 2)) of tests"
