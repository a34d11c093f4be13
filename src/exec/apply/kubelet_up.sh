# A kubelet that runs well tells so by its lease at once, and every 10 s from then on.
up() {
    begun=$(date +%s)
    systemctl reset-failed kubelet 2>/dev/null
    systemctl restart kubelet || return 1
    n=0
    while [ $n -lt 60 ]; do
        t=$(kubectl --kubeconfig /etc/kubernetes/kubelet.conf --request-timeout=5s -n kube-node-lease get lease "$node" -o 'jsonpath={.spec.renewTime}' 2>/dev/null)
        if [ -n "$t" ] && [ "$(date -d "$t" +%s)" -gt "$begun" ] && systemctl -q is-active kubelet; then return 0; fi
        n=$((n + 1))
        sleep 1
    done
    return 1
}
