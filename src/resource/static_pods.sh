# The static pods of this host as its own kubelet, that of node $1, has them. Asked by way of the API server: what the API
# itself says of static pods is late. Prints key=value lines; pods is the kubelet's list in JSON, on one line.
export PATH=$PATH:/usr/local/bin
k="kubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout=8s get --raw /api/v1/nodes/$1/proxy"
echo "now=$(date +%s)"
for c in etcd kube-apiserver kube-controller-manager kube-scheduler; do
    [ ! -e "/etc/kubernetes/manifests/$c.yaml" ] || echo "manifest.$c=yes"
done
echo "healthz=$($k/healthz 2>&1 | head -n 1 | cut -c1-200)"
p=$($k/pods 2>/dev/null) && printf 'pods=%s\n' "$(printf %s "$p" | tr -d '\n')"
