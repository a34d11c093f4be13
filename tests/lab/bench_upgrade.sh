#!/usr/bin/env bash
# The benchmark of an upgrade: the lab's 3+2 cluster taken to another version under load, by hand (floor_upgrade.sh) and by
# `provision apply`, in one run on one machine, each on a cluster of its own. Prints seconds, ratio and failed requests;
# asserts nothing.
# Usage: bench_upgrade.sh [VERSION]     Without VERSION the newest in PROVISION_LAB_DIST, else Debian's source under another version.
# PROVISION_LAB_PROGRAM: the program to measure; without it the release binary is built.
set -euo pipefail
cd "$(dirname "$0")/../.."
to=${1:-} name=bench-upgrade
[ -n "$to" ] || to=$(cd "${PROVISION_LAB_DIST:-/nonexistent}" 2>/dev/null && printf '%s\n' v*/kubeadm | sed 's/^v//; s,/.*,,' | sort -V | tail -n 1) || true
to=${to:-1.20.5}
for p in jq curl; do dpkg-query -W "$p" >/dev/null 2>&1 || apt-get -qq install -y --no-install-recommends "$p" >/dev/null; done
provision=${PROVISION_LAB_PROGRAM:-}
[ -n "$provision" ] || { cargo build --quiet --release; provision=$PWD/target/release/provision; }
work=$(mktemp -d)
lab=$work/$name reader=
export PROVISION_LAB_DIR=$work PROVISION_STATE=$work/state
end() { [ -z "$reader" ] || kill "$reader" 2>/dev/null; "$provision" lab down --name $name >/dev/null 2>&1; rm -rf "$work"; }
trap end EXIT
trap 'exit 130' INT TERM HUP

now() { date +%s%N; }
seconds() { echo "$((($2 - $1) / 1000000))e-3"; }
processors() { awk '/^cpu / {print $5 + $6, $2 + $3 + $4 + $5 + $6 + $7 + $8 + $9}' /proc/stat; } # idle, all
idle() { awk -v a="$1" -v b="$(processors)" 'BEGIN { split(a, x); split(b, y); printf "%.0f", 100 * (y[1] - x[1]) / (y[2] - x[2]) }'; }
address() { awk -F'"' -v n="$1" '/^name/ {h=$2} /^address/ && h == n {print $2}' "$lab/inventory.toml"; }
on() { ssh -q -i "$lab/id_ed25519" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR "admin@$(address "$1")" sudo sh; }
kubectl_() { echo "kubectl --kubeconfig /etc/kubernetes/admin.conf $*" | on cp1; }

up() {
    "$provision" lab down --name $name >/dev/null
    local begun cpu
    begun=$(now) cpu=$(processors)
    "$provision" lab up --name $name --also "$to" >/dev/null 2>"$work/up.log" || { tail -n 30 "$work/up.log"; exit 1; }
    printf 'lab up: %.0f s, of it apply %s s; the processors were idle for %s %% of it\n' "$(seconds "$begun" "$(now)")" \
        "$(sed -n 's/^done in \([0-9.]*\)s.*/\1/p' "$work/up.log" | tail -n 1)" "$(idle "$cpu")"
    printf '\n[upgrade]\nsoak_s = 0\n' >>"$lab/$to/inventory.toml"
}
ask() { curl --noproxy '*' -sf -m 5 -o /dev/null "http://$1:30080/hostname"; }
read_() {
    local well=0 failed=0 a
    while :; do
        for a in "$@"; do
            if ask "$a"; then well=$((well + 1)); else failed=$((failed + 1)); fi
            echo "$well of $((well + failed)) requests answered, $failed failed" >"$work/reads"
            sleep 0.1
        done
    done
}
# Before 1.21 disruption budgets are policy/v1beta1.
case $to in 1.20.*) objects='s,policy/v1$,policy/v1beta1,' ;; *) objects= ;; esac
load() { # A workload that is asked through every node, and a client of the API that writes through its node's endpoint
    { echo 'cat >/run/web.yaml <<"EOF"'; sed "$objects" tests/lab/web.yaml; echo EOF; } | on cp1
    kubectl_ apply -f /run/web.yaml >/dev/null
    kubectl_ rollout status deploy/web --timeout=90s >/dev/null
    local nodes a
    nodes=$(sed -n 's/^address = "\(.*\)"/\1/p' "$lab/inventory.toml")
    for a in $nodes; do until ask "$a"; do sleep 1; done; done
    { echo 'umask 077; cat >/run/admin.conf <<"EOF"'; echo 'cat /etc/kubernetes/admin.conf' | on cp1; echo EOF
      echo 'cat >/run/writer.sh <<"EOF"'; cat tests/lab/writer.sh; echo EOF
      echo 'systemd-run --quiet --unit lab-writer --setenv=PATH="$PATH:/usr/local/bin" sh /run/writer.sh'; } | on w1
    until echo 'cat /run/writes 2>/dev/null' | on w1 | grep -q .; do sleep 1; done
    read_ $nodes & reader=$!
}
unload() {
    kill "$reader"; wait "$reader" 2>/dev/null || true; reader=
    echo 'touch /run/stop; while systemctl is-active --quiet lab-writer; do sleep 0.2; done' | on w1
    echo "load: $(cat "$work/reads"); writes: $(echo 'cat /run/writes' | on w1 | awk '{print $1 " at the first try, " $2 " at the second, " $3 " lost"}')"
    kubectl_ get nodes -o "'jsonpath={range .items[*]}{.metadata.name} {.status.nodeInfo.kubeletVersion}{\"  \"}{end}'"; echo
}

echo "== by hand; load average before: $(cut -d' ' -f1 /proc/loadavg)"
up
load
cpu=$(processors)
tests/lab/floor_upgrade.sh "$lab" "$to" >"$work/floor"
echo "processors idle: $(idle "$cpu") %"
unload
floor() { sed -n "s/^$1 *\([0-9.]*\) s/\1/p" "$work/floor"; }

echo "== provision apply; load average before: $(cut -d' ' -f1 /proc/loadavg)"
up
load
cpu=$(processors) begun=$(now)
"$provision" apply -y --format json -i "$lab/$to/inventory.toml" -b "$lab/$to/bundle" >/dev/null 2>"$work/events" || { tail -n 20 "$work/events"; exit 1; }
apply=$(seconds "$begun" "$(now)")
echo "processors idle: $(idle "$cpu") %"
unload

# Seconds of the phases that act on all nodes at once, and of the steps that are one after the other.
events() { grep '^{' "$work/events" | jq -s "$1"; }
phases() { events "[.[] | select(.event == \"phase-ended\" and (.phase | test(\"^($1)\$\"))) | .seconds] | add // 0"; }
steps() { events "[.[] | select(.event == \"step-ended\" and (.step | test(\"^upgrade-.*/($1)\$\"))) | .seconds] | add // 0"; }
whole=$(events '[.[] | select(.event == "ended") | .seconds] | add')
echo "== figures (seconds)"
row() { printf '%-44s %8s %10s\n' "$1" "${2:+$(printf %.1f "$2")}" "${3:+$(printf %.1f "$3")}"; }
printf '%-44s %8s %10s\n' "" "by hand" provision
row "connect, look at all hosts, refusals, plan" "" "$(jq -n "$apply - $whole")"
row "files, binaries and images on all nodes" "$(jq -n "$(floor send) + $(floor images)")" "$(phases 'prepare|distribute|packages|runtime|cni|registry|images')"
row "etcd snapshot" "" "$(phases snapshot)"
row "kubeadm upgrade" "$(floor kubeadm)" "$(steps 'kubeadm|kubeadm-upgrade')"
row "control plane and etcd healthy before the next" "" "$(steps 'healthy|etcd|healthy-again|etcd-again')"
row "cordon and drain" "$(floor drain)" "$(steps 'cordon|drain')"
row "kubelet until Ready" "$(floor kubelet)" "$(steps 'kubelet|kubectl|kubelet-service|version')"
row "uncordon" "$(floor uncordon)" "$(steps uncordon)"
row "the version before kept for a way back" "" "$(steps keep)"
row "gates of the waves (soak 0)" "" "$(steps 'gate-.*')"
row "labels, addons, verify" "" "$(phases 'label|addons|verify')"
row "whole" "$(floor whole)" "$apply"
awk -v a="$apply" -v f="$(floor whole)" 'BEGIN { printf "ratio %.2f\n", a / f }'
echo "slowest steps of apply: $(events '[.[] | select(.event == "step-ended")] | sort_by(-.seconds)[:5][] | "\(.seconds | round) s \(.step)"' | jq -sr 'join(", ")')"
