#!/usr/bin/env bash
# The lab's benchmark: the same 3+2 cluster by hand (floor.sh) and by `provision apply`, in one run on one machine, and
# what a no-change plan and apply cost. Prints ratios; asserts nothing.
set -euo pipefail
cd "$(dirname "$0")/../.."
for p in jq openssl time; do dpkg-query -W "$p" >/dev/null 2>&1 || apt-get -qq install -y --no-install-recommends "$p" >/dev/null; done
cargo build --quiet --release
provision=$PWD/target/release/provision work=$(mktemp -d)
export PROVISION_LAB_DIR=$work PROVISION_STATE=$work/state
trap '"$provision" lab down --name bench >/dev/null 2>&1; rm -rf "$work"' EXIT
up() { "$provision" lab down --name bench >/dev/null; "$provision" lab up --name bench --no-apply >/dev/null 2>"$work/up.log" || { cat "$work/up.log"; exit 1; }; }
seconds() { /usr/bin/time -f '%e %M' -o "$work/time" "$@" >"$work/out" 2>"$work/err" || { tail -n 20 "$work/err"; exit 1; }; cat "$work/time"; }
both=(-i "$work/bench/inventory.toml" -b "$work/bench/bundle")

up
"$provision" plan "${both[@]}" --out "$work/plan.json" >/dev/null
echo "== by hand"
tests/lab/floor.sh "$work/bench" "$work/plan.json" | tee "$work/floor"
floor=$(sed -n 's/^whole *\([0-9.]*\) s/\1/p' "$work/floor")

up
echo "== provision apply"
read -r apply rss <<<"$(seconds "$provision" apply -y "${both[@]}")"
grep -E '^(phase|prepare|distribute|runtime|cni|images|init|join|label|verify) ' "$work/err"
verify=$(sed -n 's/^verify *[0-9]* *\([0-9.]*\)/\1/p' "$work/err")
read -r plan plan_rss <<<"$(seconds "$provision" plan -v "${both[@]}")"
trips=$(sed -n 's/.*: \([0-9]*\) round trips/\1/p' "$work/err" | sort -n | tail -n 1)
read -r again _ <<<"$(seconds "$provision" apply -y "${both[@]}")"
bytes=$(du -sb "$work/bench/bundle" | cut -f1)
echo "== figures"
awk -v a="$apply" -v f="$floor" -v v="$verify" 'BEGIN { printf "apply %.1f s, by hand %.1f s: ratio %.2f (without phase verify, which the script has not: %.2f)\n", a, f, a/f, (a-v)/f }'
echo "no-change plan $plan s, apply $again s, at most $trips round trips a host"
echo "peak memory: apply $((rss / 1024)) MB distributing a bundle of $((bytes / 1000000)) MB, plan $((plan_rss / 1024)) MB"
echo "release binary: $(stat -c %s "$provision") bytes"
