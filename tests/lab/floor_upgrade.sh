#!/usr/bin/env bash
# The floor of the upgrade's benchmark: the lab's cluster taken to another version by hand, as kubernetes.io's "Upgrading
# kubeadm clusters" says: kubeadm, drain, kubelet, Ready, uncordon, one node after the other. No checks before, no snapshot,
# no gates, no way back. Binaries and images come out of the new version's bundle; each node has them before the first is
# begun, sent and imported on all in parallel.
# Usage: floor_upgrade.sh LAB_DIR VERSION     Prints seconds per stage; the last line is the whole.
set -euo pipefail
lab=$1 version=v$2 bundle=$1/$2/bundle
ssh_() { ssh -q -i "$lab/id_ed25519" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR "admin@$1" "${@:2}"; }
hosts=$(awk -F'"' '/^\[\[hosts/ {h=1} h && /^name/ {n=$2} h && /^address/ {print n "=" $2}' "$lab/inventory.toml")
address() { sed -n "s/^$1=//p" <<<"$hosts"; }
planes=$(sed -n 's/^\(cp[0-9]*\)=.*/\1/p' <<<"$hosts") workers=$(sed -n 's/^\(w[0-9]*\)=.*/\1/p' <<<"$hosts")
first=$(head -n 1 <<<"$planes")
declare -A took
begun=$(date +%s%N) last=$begun
stage() { local now; now=$(date +%s%N); took[$1]=$((${took[$1]:-0} + (now - last) / 1000000)); last=$now; }
all() { # FUNCTION HOST...: in parallel
    local f=$1 pids=() h
    shift
    for h in "$@"; do "$f" "$h" & pids+=($!); done
    for h in "${pids[@]}"; do wait "$h"; done
}
kubectl_() { ssh_ "$(address "$first")" sudo kubectl --kubeconfig /etc/kubernetes/admin.conf "$@"; }

binaries=$(jq -r '.artifacts[] | select(.kind == "binary") | "\(.name) \(.digest[7:])"' "$bundle/bundle.json" | grep -E '^(kubeadm|kubelet|kubectl) ')
images=$(jq -r --arg v ":$version" '.artifacts[] | select(.kind == "image" and (.name | endswith($v))) |
    "\(.name) \(.digest[7:]) \(.blobs[0].size) \(.blobs[0].media_type) \([.blobs[].digest[7:]] | join(","))"' "$bundle/bundle.json")
images_of() { case $1 in w*) grep -E '/kube-proxy:' <<<"$images" ;; *) echo "$images" ;; esac; }
send() {
    { cut -d' ' -f2 <<<"$binaries"; images_of "$1" | cut -d' ' -f5 | tr , '\n'; } | sort -u |
        tar -C "$bundle/blobs/sha256" -cf - -T - | ssh_ "$(address "$1")" 'sudo mkdir -p /var/lib/floor && sudo tar -C /var/lib/floor -xf -'
}
all send $planes $workers
stage send

import() {
    { echo 'set -e; b=/var/lib/floor'
      while read -r name digest size type blobs; do
          echo "t=\$(mktemp -d -p \$b); mkdir -p \$t/blobs/sha256; for x in ${blobs//,/ }; do ln \$b/\$x \$t/blobs/sha256/; done"
          echo "echo '{\"imageLayoutVersion\":\"1.0.0\"}' >\$t/oci-layout; echo '{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"$type\",\"digest\":\"sha256:$digest\",\"size\":$size,\"annotations\":{\"io.containerd.image.name\":\"$name\"}}]}' >\$t/index.json"
          echo "tar -C \$t -cf - . | ctr -n k8s.io images import - >/dev/null; rm -rf \$t"
      done < <(images_of "$1"); } | ssh_ "$(address "$1")" sudo sh
}
all import $planes $workers
stage images

install_() { # PROGRAM...: shell lines that put them in their place
    local p
    for p in "$@"; do echo "install -m 755 /var/lib/floor/$(sed -n "s/^$p //p" <<<"$binaries") /usr/local/bin/.$p; mv /usr/local/bin/.$p /usr/local/bin/$p"; done
}
# What the lab's inventory ignores of kubeadm's preflight.
ignored=$(sed -n 's/^ignore_preflight_errors = \[\(.*\)\]/\1/p' "$lab/$2/inventory.toml" | tr -d '" ')
# A lab of Debian's packages has no crictl, without which this kubeadm does not look whether an image is there; nor has it CoreDNS.
crictl='command -v crictl >/dev/null || { printf "#!/bin/sh\nexit 0\n" >/run/crictl; chmod 755 /run/crictl; PATH=$PATH:/run; }'
kubeadm_() { # HOST COMMAND...
    { echo "set -e; export KUBECONFIG=/etc/kubernetes/admin.conf"; install_ kubeadm; echo "$crictl"
      echo "kubeadm upgrade ${*:2} >/run/kubeadm.log 2>&1 || { tail -n 20 /run/kubeadm.log >&2; exit 1; }"; } | ssh_ "$(address "$1")" sudo sh
}
node_is() { [ "$(kubectl_ get node "$1" -o "'jsonpath={.status.nodeInfo.kubeletVersion} {.status.conditions[?(@.type==\"Ready\")].status}'" 2>/dev/null)" = "$version True" ]; }
for h in $planes $workers; do
    case $h in
    "$first") kubeadm_ "$h" apply "$version" --yes --ignore-preflight-errors=CoreDNSUnsupportedPlugins,CoreDNSMigration,ImagePull${ignored:+,$ignored} ;;
    cp*) kubeadm_ "$h" node --ignore-preflight-errors=ImagePull${ignored:+,$ignored} ;;
    *) kubeadm_ "$h" node --ignore-preflight-errors=ImagePull${ignored:+,$ignored} ;;
    esac
    stage kubeadm
    kubectl_ drain "$h" --ignore-daemonsets --delete-emptydir-data >"$lab/drain.log" 2>&1 || { cat "$lab/drain.log" >&2; exit 1; }
    stage drain
    { echo 'set -e'; install_ kubelet kubectl; echo 'systemctl daemon-reload; systemctl restart kubelet'; } | ssh_ "$(address "$h")" sudo sh
    until node_is "$h"; do sleep 0.5; done
    stage kubelet
    kubectl_ uncordon "$h" >/dev/null
    stage uncordon
done
for s in send images kubeadm drain kubelet uncordon; do printf '%-10s %6.1f s\n' "$s" "${took[$s]}e-3"; done
printf '%-10s %6.1f s\n' whole "$((($(date +%s%N) - begun) / 1000000))e-3"
