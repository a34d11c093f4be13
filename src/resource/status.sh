# How the API behind the cluster's endpoint and etcd are, asked on a control plane: endpoint=ok or endpoint=<what was
# seen>, and etcd=<status of all its members as JSON>.
if out=$(kubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout=8s get --raw /readyz 2>&1); then echo endpoint=ok
else echo "endpoint=$(printf '%s\n' "$out" | head -n 1)"; fi
[ -s "$c/endpoints" ] || [ -f "$p/healthcheck-client.crt" ] || exit 0
# One that does not answer makes it fail; the others are printed all the same.
echo "etcd=$(etcdctl $a --command-timeout=8s endpoint status --cluster -w json 2>/dev/null)"
