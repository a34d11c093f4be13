#!/usr/bin/env bash
# The bundle's benchmark: build, verify and serve beside the tools an engineer would reach for, on the same bytes from the
# same local upstream, in one run, and then the delta of a patch release (bench_delta.sh). Prints ratios; asserts nothing.
# Needs root (it makes a lab once for its parts).
set -euo pipefail
cd "$(dirname "$0")/../.."
for p in curl skopeo docker-registry nginx-light apache2-utils time zstd rsync; do
    dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'install ok installed' || apt-get -qq install -y --no-install-recommends "$p" >/dev/null
done
cargo build --quiet --release
provision=$PWD/target/release/provision work=$(mktemp -d) pids=()
cache=${PROVISION_CACHE:-$HOME/.cache/provision}
export PROVISION_LAB_DIR=$work/labs PROVISION_STATE=$work/state
trap '"$provision" lab down --name bundlebench >/dev/null 2>&1 || true; kill "${pids[@]}" 2>/dev/null || true; rm -rf "$work"' EXIT
"$provision" lab down --name bundlebench >/dev/null
"$provision" lab up --name bundlebench --control-planes 1 --workers 0 --no-apply >/dev/null 2>"$work/up.log" || { tail "$work/up.log"; exit 1; }
cp "$work/labs/bundlebench/inventory.toml" "$work/inventory.toml"
"$provision" lab down --name bundlebench >/dev/null

# The lab's upstream once more, on ports of our own.
free() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$work/inventory.toml" | head -n 1)
www=$cache/lab/debian/www-$version http=$(free) registry=$(free) serve=$(free)
cat >"$work/nginx.conf" <<N
daemon off; master_process off; pid $work/nginx.pid; error_log $work/nginx.log; events {}
http { access_log off; sendfile on; server { listen 127.0.0.1:$http; root $www; } }
N
cat >"$work/registry.yml" <<R
version: 0.1
log: { level: error, accesslog: { disabled: true } }
storage: { filesystem: { rootdirectory: $cache/lab/registry } }
http: { addr: 127.0.0.1:$registry }
R
nginx -c "$work/nginx.conf" 2>/dev/null & pids+=($!)
docker-registry serve "$work/registry.yml" >/dev/null 2>&1 & pids+=($!)
until curl -sf "127.0.0.1:$registry/v2/" >/dev/null && curl -sf "127.0.0.1:$http/" >/dev/null -o /dev/null || [ "$(curl -s -o /dev/null -w '%{http_code}' "127.0.0.1:$http/")" = 403 ]; do sleep 0.2; done
sed -i -E '/^\[sources\]/,/^\[\[hosts/ { s#http://127.0.0.1:[0-9]+/#http://127.0.0.1:'"$http"'/#; s#http://127.0.0.1:[0-9]+"#http://127.0.0.1:'"$registry"'"#g }' "$work/inventory.toml"
lock=$work/bundle.lock.toml
PROVISION_CACHE=$work/lockcache "$provision" bundle lock -i "$work/inventory.toml" -l "$lock" >/dev/null 2>&1
files=$(awk -F'"' '/^sha256 = /{s=$2} /^url = /{print s, $2}' "$lock" | sed 's/sha256://')
images=$(awk -F'"' '/^\[\[image\]\]/{i=1} i && /^name = /{print $2; i=0}' "$lock")
seconds() { /usr/bin/time -f '%e %U %S %M' -o "$work/time" "$@" >"$work/out" 2>"$work/err" || { tail -n 20 "$work/err"; exit 1; }; cat "$work/time"; }
hand() { # what a careful engineer's script does, one after the other
    mkdir -p "$work/hand"
    while read -r sum url; do
        curl -sf -o "$work/hand/file" "$url"
        echo "$sum  $work/hand/file" | sha256sum --quiet -c
        mv "$work/hand/file" "$work/hand/$sum"
    done <<<"$files"
    for image in $images; do
        local repository=${image#*/}
        skopeo copy -q --src-tls-verify=false "docker://127.0.0.1:$registry/$repository" "oci:$work/hand/images:$image"
    done
}
export -f hand; export work files images registry
best_hand='' best_ours=''
for _ in 1 2; do
    rm -rf "$work/hand"; read -r s _ <<<"$(seconds bash -c hand)"; best_hand=$(printf '%s\n' $best_hand "$s" | sort -n | head -n 1)
    rm -rf "$work/cache" "$work/bundle"; read -r s _ _ rss <<<"$(PROVISION_CACHE=$work/cache seconds "$provision" bundle build -i "$work/inventory.toml" -l "$lock" -o "$work/bundle")"; best_ours=$(printf '%s\n' $best_ours "$s" | sort -n | head -n 1)
done
bytes=$(find "$work/bundle/blobs" -type f -printf '%s\n' | awk '{n += $1} END {print n}')
awk -v h="$best_hand" -v o="$best_ours" -v b="$bytes" -v r="$rss" 'BEGIN { printf "build: %.0f MB/s, by curl, sha256sum and skopeo %.0f MB/s: %.2f times as fast (%.0f MB, peak %d MB)\n", b/o/1e6, b/h/1e6, h/o, b/1e6, r/1024 }'

read -r hs _ <<<"$(seconds bash -c "find '$work/bundle/blobs' -type f -print0 | xargs -0 -n 4 -P 1 sha256sum")"
read -r os _ <<<"$(seconds taskset -c 0 "$provision" bundle verify "$work/bundle")"
read -r o2 _ _ _ <<<"$(seconds "$provision" bundle verify "$work/bundle")"
awk -v b="$bytes" -v h="$hs" -v o="$os" -v t="$o2" -v n="$(nproc)" 'BEGIN { printf "verify: %.0f MB/s on one core, sha256sum %.0f MB/s: ratio %.2f; on %d cores %.0f MB/s: %.2f times one core\n", b/o/1e6, b/h/1e6, h/o, n, b/t/1e6, o/t }'

"$provision" serve "$work/bundle" --listen "127.0.0.1:$serve" --plain-http --quiet >/dev/null 2>&1 & pids+=($!)
until curl -sf "127.0.0.1:$serve/v2/" >/dev/null; do sleep 0.2; done
per() { ab -q -H 'Accept: application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json' -n "$2" -c 20 "$1" 2>/dev/null | awk '/Requests per second/ {r=$4} /Transfer rate/ {t=$3} /Failed requests/ {f=$3} END {print r, t/1000, f}'; }
image=kube-proxy
tag=$(awk -F'"' '/^name = .*kube-proxy:/{sub(/.*:/, "", $2); print $2; exit}' "$lock")
blob=$(curl -sf -H 'Accept: application/vnd.oci.image.manifest.v1+json' "127.0.0.1:$registry/v2/$image/manifests/$tag" | grep -o '"digest":"sha256:[0-9a-f]*","size":[0-9]*' | sort -t: -k4 -n | tail -n 1 | grep -o 'sha256:[0-9a-f]*')
for what in "manifests/$tag 2000" "blobs/$blob 200"; do
    read -r path n <<<"$what"
    read -r dr dt _ <<<"$(per "http://127.0.0.1:$registry/v2/$image/$path" "$n")"
    read -r or ot of <<<"$(per "http://127.0.0.1:$serve/v2/$image/$path" "$n")"
    awk -v k="${path%%/*}" -v dr="$dr" -v dt="$dt" -v or="$or" -v ot="$ot" -v f="$of" -v n="$n" 'BEGIN { printf "serve %s: %.0f requests/s, %.0f MB/s; docker-registry %.0f, %.0f: ratio %.2f (%d requests, %d failed)\n", k, or, ot, dr, dt, or/dr, n, f }'
done

bash tests/bundle/bench_delta.sh "$provision"
