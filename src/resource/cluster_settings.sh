# The cluster's own settings, as this control plane reads them: key=BASE64. $1 names the map with the kubelet's.
export PATH=$PATH:/usr/local/bin
k="kubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout=10s -n kube-system get configmap --ignore-not-found"
say() { # KEY MAP FIELD
    v=$($k "$2" -o "jsonpath={.data.$3}") || exit 1
    echo "$1=$(printf %s "$v" | base64 | tr -d '\n')"
}
say cluster kubeadm-config ClusterConfiguration
say kubelet "$1" kubelet
say proxy kube-proxy 'config\.conf'
