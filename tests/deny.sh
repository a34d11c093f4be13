#!/usr/bin/env bash
# Checks licences, bans and sources of all dependencies with the real cargo-deny, which is built once from crates.io and kept under
# ~/.cache/provision/tools. Advisories need a database that is no package: they are not checked.
set -euo pipefail
cd "$(dirname "$0")/.."
version=0.20.2
kept=${XDG_CACHE_HOME:-$HOME/.cache}/provision/tools/cargo-deny-$version
if [ ! -x "$kept/bin/cargo-deny" ]; then
    # Whether it is fast does not matter, whether it builds fast does.
    env -u RUSTC_WORKSPACE_WRAPPER -u CLIPPY_ARGS -u RUSTFLAGS -u CARGO_BUILD_TARGET CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_DEV_OPT_LEVEL=0 \
        cargo install --quiet --debug --locked --no-default-features --root "$kept" "cargo-deny@$version"
fi
"$kept/bin/cargo-deny" --locked check --hide-inclusion-graph bans licenses sources
