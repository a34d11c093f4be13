#!/usr/bin/env bash
# The benchmark of a patch release: `bundle delta` from Kubernetes 1.20.2 to 1.20.5 beside `zstd --patch-from` and rsync's
# batch, on the same two tars, in one run. 1.20.5 is the source of 1.20.2 built with another stamp: every Kubernetes binary
# has other bytes, nothing else has. Prints sizes and seconds; asserts nothing but that what is merged is right.
# Usage: bench_delta.sh [PROVISION]   (the binary; built for release when none is given). Needs root, as the
# lab's parts do.
set -euo pipefail
cd "$(dirname "$0")/../.."
for p in skopeo docker-registry nginx-light zstd rsync; do
    dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'install ok installed' || apt-get -qq install -y --no-install-recommends "$p" >/dev/null
done
provision=${1:-}
[ -n "$provision" ] || { cargo build --quiet --release; provision=$PWD/target/release/provision; }
work=$(mktemp -d) pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; rm -rf "$work"' EXIT
parts=${PROVISION_CACHE:-$HOME/.cache/provision}/lab/debian
export PROVISION_CACHE=$work/cache
# Both stamps, made now if they are not there; the second takes about a minute after the first.
for v in 1.20.2 1.20.5; do sh src/lab/debian.sh "$parts" "$v" >"$work/parts-$v"; done

free() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
http=$(free) registry=$(free)
cat >"$work/nginx.conf" <<N
daemon off; master_process off; pid $work/nginx.pid; error_log $work/nginx.log; events {}
http { access_log off; sendfile on; server {
    listen 127.0.0.1:$http; root $parts;
    location = / { return 204; }
    location / { try_files /www-1.20.2\$uri /www-1.20.5\$uri =404; }
} }
N
cat >"$work/registry.yml" <<R
version: 0.1
log: { level: error, accesslog: { disabled: true } }
storage: { filesystem: { rootdirectory: $work/registry } }
http: { addr: 127.0.0.1:$registry }
R
nginx -c "$work/nginx.conf" 2>/dev/null & pids+=($!)
docker-registry serve "$work/registry.yml" >/dev/null 2>&1 & pids+=($!)
until curl -sf "127.0.0.1:$registry/v2/" >/dev/null && curl -sf "127.0.0.1:$http/"; do sleep 0.2; done
for v in 1.20.2 1.20.5; do
    value() { sed -n "s/^$1=//p" "$work/parts-$v"; }
    grep -o '"org.opencontainers.image.ref.name":"[^"]*"' "$parts/images-$v/index.json" | cut -d'"' -f4 | while read -r image; do
        skopeo copy -q --dest-tls-verify=false "oci:$parts/images-$v:$image" "docker://127.0.0.1:$registry/$image"
    done
    cat >"$work/$v.toml" <<I
[cluster]
name = "bench"
version = "$v"
[endpoint]
mode = "haproxy"
image = "docker.io/library/haproxy:2.6"
[runtime]
containerd_version = "$(value containerd)"
runc_version = "$(value runc)"
cni_plugins_version = "$(value cni_plugins)"
crictl_version = ""
[etcd]
version = "$(value etcd)"
image_tag = "$(value etcd_image_tag)"
[kubeadm]
skip_phases = ["preflight", "addon/coredns"]
pause_tag = "3.2"
[trust]
allow_unsigned_bundle = "I accept unsigned bundles"
[sources]
kubernetes = "http://127.0.0.1:$http/k8s/release"
containerd = "http://127.0.0.1:$http/containerd"
runc = "http://127.0.0.1:$http/runc"
cni_plugins = "http://127.0.0.1:$http/cni"
etcd = "http://127.0.0.1:$http/etcd"
[sources.registries]
"registry.k8s.io" = "http://127.0.0.1:$registry"
"docker.io" = "http://127.0.0.1:$registry"
[[hosts]]
name = "a"
address = "192.0.2.1"
role = "both"
I
    "$provision" bundle lock -i "$work/$v.toml" -l "$work/$v.lock.toml" >"$work/out" 2>&1 || { cat "$work/out"; exit 1; }
    mkdir "$work/$v"
    "$provision" bundle build -i "$work/$v.toml" -l "$work/$v.lock.toml" -o "$work/$v/bundle.tar" >"$work/out" 2>&1 || { cat "$work/out"; exit 1; }
done
old=$work/1.20.2/bundle.tar new=$work/1.20.5/bundle.tar

whole=$(stat -c %s "$new")
line() { # NAME FILE COMMAND...: runs it, prints what it made
    local name=$1 file=$2 begun=$EPOCHREALTIME
    shift 2
    "$@" >"$work/out" 2>&1 || { tail -n 20 "$work/out"; exit 1; }
    awk -v n="$name" -v b="$(stat -c %s "$file")" -v w="$whole" -v s="$begun" -v e="$EPOCHREALTIME" 'BEGIN { printf "%-34s %7.1f MB  %5.1f %% of the bundle  %5.1f s\n", n, b/1e6, 100*b/w, e-s }'
}
awk -v b="$(stat -c %s "$old")" -v w="$whole" 'BEGIN { printf "bundles: 1.20.2 %.1f MB, 1.20.5 %.1f MB\n", b/1e6, w/1e6 }'
line "bundle delta" "$work/delta.tar" "$provision" bundle delta --have "$old" "$new" -o "$work/delta.tar"
line "bundle delta, then zstd" "$work/delta.tar.zst" zstd -q -T1 --long=31 "$work/delta.tar" -o "$work/delta.tar.zst"
line "zstd of the whole" "$work/whole.zst" zstd -q -T1 --long=31 "$new" -o "$work/whole.zst"
line "zstd --patch-from" "$work/patch.zst" zstd -q -T1 --long=31 --patch-from="$old" "$new" -o "$work/patch.zst"
# Without these a local copy is a whole one.
line "rsync --only-write-batch" "$work/batch" rsync --no-whole-file --ignore-times --only-write-batch="$work/batch" "$new" "$work/1.20.2/"
line "rsync --only-write-batch, then zstd" "$work/batch.zst" zstd -q -T1 --long=31 "$work/batch" -o "$work/batch.zst"
# Apart from the size: what each leaves to do on the far side.
line "far side: bundle merge, verified" "$work/merged.tar" "$provision" bundle merge "$old" "$work/delta.tar" -o "$work/merged.tar"
cmp "$work/merged.tar" "$new"
line "far side: zstd -d --patch-from" "$work/patched.tar" zstd -q -d --long=31 --patch-from="$old" "$work/patch.zst" -o "$work/patched.tar"
cmp "$work/patched.tar" "$new"
