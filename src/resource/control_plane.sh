# Health of the control plane on this node, whose address is $1: prints component=ok or component=<what was seen>. The
# controller manager and the scheduler answer on loopback only and tell their health to anyone there.
export PATH=$PATH:/usr/local/bin
case $1 in *:*) a="[$1]" ;; *) a=$1 ;; esac
ask() {
    if out=$("$@" 2>&1); then echo ok; else printf '%s\n' "$out" | head -n 1; fi
}
echo "kube-apiserver=$(ask kubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout=8s --server "https://$a:6443" get --raw /readyz)"
# kubectl asks the terminal for a name when it has no user at all, so it gets the admin's; their certificates are their
# own, not the cluster CA's, and only this host can be at the other end.
for c in kube-controller-manager:10257 kube-scheduler:10259; do
    echo "${c%:*}=$(sed '/certificate-authority-data/d' /etc/kubernetes/admin.conf | ask kubectl --kubeconfig /dev/stdin --request-timeout=8s --server "https://127.0.0.1:${c#*:}" --insecure-skip-tls-verify get --raw /healthz)"
done
