#!/bin/sh
# Generates the virtual machines of every sample inventory and holds them against `vagrant validate`.
#
# Needs Debian's package `vagrant` (apt-get install vagrant) and a built `provision`; fails when either is not there.
# No provider is needed: the machines' definitions are checked, none is started.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
: "${PROVISION_BIN:=$root/target/debug/provision}"
export PROVISION_BIN

fail() {
    echo "tests/vagrant.sh: $*" >&2
    exit 1
}

command -v vagrant >/dev/null || fail "there is no vagrant: apt-get install vagrant"
[ -x "$PROVISION_BIN" ] || fail "there is no $PROVISION_BIN: cargo build, or set PROVISION_BIN"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export VAGRANT_CWD="$root/vagrant" VAGRANT_HOME="$work/home" VAGRANT_DOTFILE_PATH="$work/dot" VAGRANT_CHECKPOINT_DISABLE=1

checked=0
for inventory in "$root"/inventories/*.toml; do
    for box in debian rhel; do
        PROVISION_INVENTORY=$inventory PROVISION_BOX=$box vagrant validate --ignore-provider >"$work/out" 2>&1 || {
            cat "$work/out" >&2
            fail "$inventory ($box) does not validate"
        }
        grep -q 'validated successfully' "$work/out" || fail "vagrant said nothing of $inventory ($box)"
        # One machine per host, and each of them looked at.
        hosts=$(grep -c '^\[\[hosts\]\]' "$inventory")
        machines=$(grep -c '^==> ' "$work/out")
        [ "$hosts" -eq "$machines" ] || fail "$inventory ($box) has $hosts hosts and $machines machines"
        checked=$((checked + 1))
    done
done
[ "$checked" -gt 0 ] || fail "there are no sample inventories"

# A wrong inventory stops vagrant, with the diagnostics of provision.
wrong="$root/tests/inventory/invalid/duplicates.toml"
if PROVISION_INVENTORY=$wrong vagrant validate --ignore-provider >"$work/out" 2>&1; then
    fail "$wrong was taken"
fi
grep -q 'duplicates.toml:14:8: error: there is a second host "cp-1"' "$work/out" || {
    cat "$work/out" >&2
    fail "the diagnostics of $wrong are not shown"
}
echo "tests/vagrant.sh: $checked definitions are valid"
