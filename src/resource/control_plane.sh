# Health of the control plane on node $1 at address $2: prints component=ok or component=<what was seen>.
export PATH=$PATH:/usr/local/bin
k="kubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout=8s"
case $2 in *:*) a="[$2]" ;; *) a=$2 ;; esac
if out=$($k --server "https://$a:6443" get --raw /readyz 2>&1); then echo kube-apiserver=ok; else echo "kube-apiserver=$(printf %s "$out" | head -n 1)"; fi
for c in kube-controller-manager kube-scheduler; do
    r=$($k -n kube-system get pod "$c-$1" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}' 2>&1)
    if [ "$r" = True ]; then echo "$c=ok"; else echo "$c=$(printf %s "$r" | head -n 1)"; fi
done
