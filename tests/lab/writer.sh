# shellcheck shell=sh
# Writes through the endpoint as this node has it, and writes once more what failed. Keeps in /run/writes how many went
# well, how many at the second try and how many not at all.
n=0 well=0 again=0 lost=0
k="kubectl --kubeconfig /run/admin.conf --request-timeout=8s"
until $k create configmap probe --from-literal=n=0; do sleep 1; done
while [ ! -e /run/stop ]; do
    n=$((n + 1)); p="{\"data\":{\"n\":\"$n\"}}"
    if $k patch configmap probe -p "$p"; then well=$((well + 1))
    elif sleep 1; $k patch configmap probe -p "$p"; then again=$((again + 1))
    else lost=$((lost + 1)); fi
    echo "$well $again $lost" >/run/writes.partial; mv /run/writes.partial /run/writes
    sleep 0.3
done
