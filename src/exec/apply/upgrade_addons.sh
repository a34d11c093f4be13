# Gives kube-proxy ($2 = yes) and CoreDNS ($3 = yes) the version in $1 (a file of kubeadm's), and waits up to $4 seconds for
# the pods of each. Where the cluster has none, none is made.
export PATH=$PATH:/usr/local/bin KUBECONFIG=/etc/kubernetes/admin.conf
k="kubectl -n kube-system --request-timeout=20s"
addon() { # PHASE OBJECT SECONDS
    n=$($k get "$2" --ignore-not-found -o name) || exit 1
    [ -n "$n" ] || return 0
    kubeadm init phase addon "$1" --config "$config" || exit 1
    kubectl -n kube-system rollout status "$2" --timeout="$3s" || exit 1
}
config=$1
[ "$2" != yes ] || addon kube-proxy daemonset/kube-proxy "$4"
[ "$3" != yes ] || addon coredns deployment/coredns "$4"
