#!/usr/bin/env bash
# The floor of the benchmark: the lab's cluster brought up by hand with kubeadm, as an engineer's shell script would:
# no checks, no plan, no journal, everything sent to every node in parallel. It takes the same parts and the same file
# contents (out of the bundle and a saved plan), so that only the way differs.
# Usage: floor.sh LAB_DIR PLAN.json     Prints seconds per stage; the last line is the whole.
set -euo pipefail
lab=$1 plan=$2 bundle=$1/bundle
ssh_() { ssh -q -i "$lab/id_ed25519" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR "admin@$1" "${@:2}"; }
hosts=$(awk -F'"' '/^\[\[hosts/ {h=1} h && /^name/ {n=$2} h && /^address/ {print n "=" $2}' "$lab/inventory.toml")
address() { sed -n "s/^$1=//p" <<<"$hosts"; }
planes=$(sed -n 's/^\(cp[0-9]*\)=.*/\1/p' <<<"$hosts") workers=$(sed -n 's/^\(w[0-9]*\)=.*/\1/p' <<<"$hosts")
begun=$(date +%s%N) last=$begun
stage() { now=$(date +%s%N); printf '%-12s %6.1f s\n' "$1" "$(((now - last) / 1000000))e-3"; last=$now; }
all() { # FUNCTION HOST...: in parallel
    local f=$1 pids=() h
    shift
    for h in "$@"; do "$f" "$h" & pids+=($!); done
    for p in "${pids[@]}"; do wait "$p"; done
}

send() { tar -C "$bundle" -cf - . | ssh_ "$(address "$1")" 'sudo mkdir -p /var/lib/floor && sudo tar -C /var/lib/floor -xf -'; }
all send $planes $workers
stage send

files() { # the files of a host, as a shell script
    jq -r --arg h "$1" '.steps[] | select(.host == $h and .action.do == "write-file" and (.action.path | test("joined|cluster$") | not)) |
        "mkdir -p \"$(dirname \(.action.path))\"; echo \(.action.content | @base64) | base64 -d >\(.action.path)"' "$plan"
}
parts=$(jq -r '.artifacts[] | select(.kind == "binary") | "install -m 755 $b/\(.digest[7:]) /usr/local/bin/\(.name)"' "$bundle/bundle.json")
archives=$(jq -r '.artifacts[] | select(.kind == "archive") |
    if .name == "cni-plugins" then "mkdir -p /opt/cni/bin; tar -xzf $b/\(.digest[7:]) -C /opt/cni/bin"
    elif .name == "containerd" then "tar -xzf $b/\(.digest[7:]) -C /usr/local"
    else "tar -xzf $b/\(.digest[7:]) -C /usr/local/bin --strip-components 1" end' "$bundle/bundle.json")
install_() {
    { echo "set -e; b=/var/lib/floor/blobs/sha256"; echo "$parts"; echo "$archives"; echo "mv /usr/local/bin/runc /usr/local/sbin/runc"; files "$1"
      echo "echo '127.0.0.1 api.$(basename "$lab").internal' >>/etc/hosts"
      echo "sysctl -q -p /etc/sysctl.d/90-provision.conf; systemctl daemon-reload"
      echo "systemctl -q enable --now containerd provision-pod-routes; systemctl -q enable kubelet"; } | ssh_ "$(address "$1")" sudo sh
}
all install_ $planes $workers
stage install

images=$(jq -r '.artifacts[] | select(.kind == "image") | "\(.name) \(.digest[7:]) \(.blobs[0].size) \(.blobs[0].media_type) \([.blobs[].digest[7:]] | join(","))"' "$bundle/bundle.json")
import() {
    { echo 'set -e; b=/var/lib/floor/blobs/sha256'
      while read -r name digest size type blobs; do
          case $1:$name in w*:*kube-apiserver* | w*:*kube-controller* | w*:*kube-scheduler* | w*:*/etcd:*) continue ;; esac
          echo "t=\$(mktemp -d); mkdir -p \$t/blobs/sha256; for x in $(tr , ' ' <<<"$blobs"); do ln \$b/\$x \$t/blobs/sha256/; done 2>/dev/null || for x in $(tr , ' ' <<<"$blobs"); do cp \$b/\$x \$t/blobs/sha256/; done"
          echo "echo '{\"imageLayoutVersion\":\"1.0.0\"}' >\$t/oci-layout; echo '{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"$type\",\"digest\":\"sha256:$digest\",\"size\":$size,\"annotations\":{\"io.containerd.image.name\":\"$name\"}}]}' >\$t/index.json"
          echo "tar -C \$t -cf - . | ctr -n k8s.io images import - >/dev/null; rm -rf \$t"
      done <<<"$images"; } | ssh_ "$(address "$1")" sudo sh
}
all import $planes $workers
stage images

first=$(head -n 1 <<<"$planes")
jq -r '.steps[] | select(.action.do == "kubeadm-init") | .action.config' "$plan" | ssh_ "$(address "$first")" 'sudo tee /root/init.yaml >/dev/null'
# What the lab's inventory leaves out of kubeadm.
left_out() { # ACTION
    jq -r --arg what "$1" '[.steps[] | select(.action.do == $what)][0].action | "--skip-phases=\(.skip_phases | join(",")) --ignore-preflight-errors=\(.ignore_preflight_errors | join(","))"' "$plan" |
        sed 's/--[a-z-]*=\( \|$\)//g'
}
ssh_ "$(address "$first")" "sudo kubeadm init --config /root/init.yaml $(left_out kubeadm-init)" >/dev/null 2>&1
stage init

hash=$(ssh_ "$(address "$first")" "sudo cat /etc/kubernetes/pki/ca.crt" | openssl x509 -pubkey -noout | openssl pkey -pubin -outform der | sha256sum | cut -d' ' -f1)
token=$(ssh_ "$(address "$first")" 'sudo KUBECONFIG=/etc/kubernetes/admin.conf kubeadm token create --ttl 1h' 2>/dev/null)
key=$(ssh_ "$(address "$first")" 'sudo kubeadm init phase upload-certs --upload-certs --config /root/init.yaml' 2>/dev/null | grep -E '^[0-9a-f]{64}$')
join() { # HOST
    local config
    config=$(jq -r --arg h "$1" '.steps[] | select(.host == $h and .action.do == "kubeadm-join") | .action.config' "$plan")
    config+=$'\n'"discovery: {bootstrapToken: {apiServerEndpoint: \"$(address "$first"):6443\", token: \"$token\", caCertHashes: [\"sha256:$hash\"]}}"
    config=${config/controlPlane:/controlPlane:$'\n'  certificateKey: $key}
    ssh_ "$(address "$1")" "sudo sed -i 's/^127.0.0.1 api/$(address "$first") api/' /etc/hosts; sudo tee /root/join.yaml >/dev/null; sudo kubeadm join --config /root/join.yaml $(left_out kubeadm-join) >/dev/null 2>&1 && sudo sed -i 's/^$(address "$first") api/127.0.0.1 api/' /etc/hosts" <<<"$config"
}
for h in $(tail -n +2 <<<"$planes"); do join "$h"; done
stage join-planes
all join $workers
stage join-workers

count=$(wc -w <<<"$planes $workers")
until [ "$(ssh_ "$(address "$first")" 'sudo kubectl --kubeconfig /etc/kubernetes/admin.conf get nodes' | grep -c ' Ready')" = "$count" ]; do sleep 0.5; done
stage ready
printf '%-12s %6.1f s\n' whole "$((($(date +%s%N) - begun) / 1000000))e-3"
