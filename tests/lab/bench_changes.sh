#!/usr/bin/env bash
# The benchmark of small changes to a cluster that serves: renewed certificates and another argument of each component of three
# control planes, by hand as kubernetes.io says ("Certificate management with kubeadm", "Reconfiguring a kubeadm cluster") and
# by `provision`, one after the other on one cluster in one run. Prints seconds and ratios; asserts nothing.
# Usage: bench_changes.sh
# PROVISION_LAB_DIST: other release binaries than Debian's, of which the oldest is run; PROVISION_LAB_PROGRAM: the program to
# measure; without it the release binary is built.
set -euo pipefail
cd "$(dirname "$0")/../.."
name=bench-changes
provision=${PROVISION_LAB_PROGRAM:-}
[ -n "$provision" ] || { cargo build --quiet --release; provision=$PWD/target/release/provision; }
work=$(mktemp -d)
lab=$work/$name
export PROVISION_LAB_DIR=$work PROVISION_STATE=$work/state
end() { "$provision" lab down --name $name >/dev/null 2>&1; rm -rf "$work"; }
trap end EXIT
trap 'exit 130' INT TERM HUP
planes='cp1 cp2 cp3'
address() { awk -F'"' -v n="$1" '/^name/ {h=$2} /^address/ && h == n {print $2}' "$lab/inventory.toml"; }
on() { ssh -q -i "$lab/id_ed25519" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR "admin@$(address "$1")" sudo sh; }
now() { date +%s%N; }

source=()
[ -n "${PROVISION_LAB_DIST:-}" ] || source=(--source debian)
"$provision" lab up --name $name --control-planes 3 --workers 0 "${source[@]}" >/dev/null 2>"$work/up.log" || { tail -n 30 "$work/up.log"; exit 1; }
echo "version: $(echo 'kubeadm version -o short' | on cp1); load average before: $(cut -d' ' -f1 /proc/loadavg)"

# All that kubeadm runs on the host is healthy: what a careful hand waits for before the next host.
well='export KUBECONFIG=/etc/kubernetes/admin.conf
etcd() {
    p=/etc/kubernetes/pki/etcd
    kubectl --kubeconfig /dev/null --request-timeout=3s --server https://127.0.0.1:2379 --certificate-authority $p/ca.crt \
        --client-certificate $p/healthcheck-client.crt --client-key $p/healthcheck-client.key get --raw /health 2>/dev/null | grep -q true
}
local_() { sed /certificate-authority-data/d /etc/kubernetes/admin.conf | kubectl --kubeconfig /dev/stdin --request-timeout=3s --insecure-skip-tls-verify --server "https://127.0.0.1:$1" get --raw "$2" >/dev/null 2>&1; }
well() { etcd && local_ 6443 /readyz && local_ 10257 /healthz && local_ 10259 /healthz; }
until well; do sleep 0.5; done'

renew_by_hand() { # The manifests leave for 20 s and come back: the kubelet makes all static pods anew.
    local h
    for h in $planes; do
        { echo 'set -e; kubeadm certs renew all >/dev/null 2>&1; mkdir -p /run/away; cd /etc/kubernetes/manifests'
          echo 'for m in etcd kube-apiserver kube-controller-manager kube-scheduler; do mv $m.yaml /run/away/; done; sleep 20; mv /run/away/*.yaml .; sleep 2'
          echo "$well"; } | on "$h"
    done
}
argument_by_hand() { # COMPONENT FLAG: kubeadm's manifest gets it, and the kubelet makes the pod anew.
    local h
    for h in $planes; do
        { echo "set -e; m=/etc/kubernetes/manifests/$1.yaml; sed 's/^\( *\)- $1\$/&\n\1- --$2/' \$m >/etc/kubernetes/.new"
          echo "id() { ctr -n k8s.io containers ls -q 'labels.\"io.kubernetes.container.name\"==$1' | sort; }; before=\$(id); mv /etc/kubernetes/.new \$m"
          echo 'fresh() { for i in $(id); do case " $(echo $before) " in *" $i "*) ;; *) return 0 ;; esac; done; return 1; }; until fresh; do sleep 0.5; done'
          echo "$well"; } | on "$h"
    done
}
table() { case $1 in etcd) echo etcd ;; kube-apiserver) echo apiserver ;; kube-controller-manager) echo controller_manager ;; *) echo scheduler ;; esac; }
changes=
argument_by_provision() { # COMPONENT VALUE
    changes="${changes}[$(table "$1").extra_args]\nv = \"$2\"\n"
    sed "s/^\[runtime\]/$changes&/" "$lab/inventory.toml" >"$lab/changed.toml"
    "$provision" apply -y -i "$lab/changed.toml" -b "$lab/bundle" >"$work/apply.log" 2>&1 || { tail -n 20 "$work/apply.log"; exit 1; }
}
measure() { local begun; begun=$(now); "$@"; awk -v ns=$(($(now) - begun)) 'BEGIN { printf "%.1f", ns / 1e9 }'; }
row() { awk -v what="$1" -v hand="$2" -v ours="$3" 'BEGIN { printf "%-56s %8.1f %10.1f %6.2f\n", what, hand, ours, ours / hand }'; }
renew_by_provision() { "$provision" certs renew --yes -i "$lab/inventory.toml" >"$work/renew.log" 2>&1 || { tail -n 20 "$work/renew.log"; exit 1; }; }

printf '%-56s %8s %10s %6s\n' "seconds, three control planes" "by hand" provision ratio
# `provision` first: the kubelet waits before it starts a container again that ended twice, and by hand all of them end.
ours=$(measure renew_by_provision)
hand=$(measure renew_by_hand)
row "certificates renewed" "$hand" "$ours"
ours=$(measure argument_by_provision kube-scheduler 3)
hand=$(measure argument_by_hand kube-scheduler profiling=false)
row "an argument of the scheduler" "$hand" "$ours"
ours=$(measure argument_by_provision kube-apiserver 3)
hand=$(measure argument_by_hand kube-apiserver profiling=false)
row "an argument of the API server" "$hand" "$ours"
sed 's/^/   /' "$work/renew.log" | grep -E ' cp1 |done in'
