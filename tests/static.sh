#!/usr/bin/env bash
# tests/static.sh [BINARY]: checks that the program is static: runs it where there is nothing but itself and the CAs. Without BINARY
# the release is built first, and checked. glibc is linked in, because a musl target needs more than Rust and Debian's compiler;
# names are resolved from files and DNS without loading anything.
set -euo pipefail
cd "$(dirname "$0")/.."
binary=${1:-}
if [ -z "$binary" ]; then
    target=$(rustc -vV | sed -n 's/^host: //p')
    # A release has nothing to do with how the tests build.
    env -u RUSTC_WORKSPACE_WRAPPER -u CLIPPY_ARGS RUSTFLAGS='-C target-feature=+crt-static' \
        cargo build --quiet --release --target "$target"
    binary=target/$target/release/provision
fi
fail() { echo "$1" >&2; exit 1; }
ldd "$binary" 2>&1 | grep -qE 'statically linked|not a dynamic' || fail "$binary is not static: $(ldd "$binary")"
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
# HTTPS wants the site's CAs: they are what a DMZ host has, and no part of the binary.
mkdir -p "$root/etc/ssl/certs" && cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
cp "$binary" "$root/provision" && mkdir "$root/tmp" "$root/w" && echo '127.0.0.9 upstream.test' >"$root/etc/hosts"
in_root() { chroot "$root" /provision "$@"; }
in_root --version
in_root init /w >/dev/null
# It resolves a name: the refusal comes from the port, not from the name. No source is an outside one, so that the answer does not
# depend on what this machine can resolve.
cat >"$root/w/names.toml" <<'T'
[cluster]
name = "t"
version = "1.36.2"
[endpoint]
mode = "haproxy"
[sources]
kubernetes = "http://upstream.test:9"
containerd = "http://upstream.test:9"
runc = "http://upstream.test:9"
cni_plugins = "http://upstream.test:9"
etcd = "http://upstream.test:9"
crictl = "http://upstream.test:9"
[[hosts]]
name = "a"
address = "192.0.2.1"
role = "both"
user = "root"
key_file = "/k"
T
said=$(PROVISION_CACHE=/tmp/cache in_root bundle lock -i /w/names.toml -l /w/lock 2>&1) && fail "a lock without an upstream went well"
grep -q 'refused' <<<"$said" || fail "names are not resolved: $said"
echo "static: $binary, $(stat -c %s "$binary") bytes, runs in an empty root, resolves names"
