# How the API behind the cluster's endpoint and etcd are, asked on a control plane: endpoint=ok or endpoint=<what was
# seen>, and etcd=<status of all its members as JSON>.
export PATH=$PATH:/usr/local/bin ETCDCTL_API=3
if out=$(kubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout=8s get --raw /readyz 2>&1); then echo endpoint=ok
else echo "endpoint=$(printf '%s\n' "$out" | head -n 1)"; fi
p=/etc/kubernetes/pki/etcd
[ -f "$p/healthcheck-client.crt" ] || exit 0
# One that does not answer makes it fail; the others are printed all the same.
echo "etcd=$(etcdctl --endpoints https://127.0.0.1:2379 --cacert $p/ca.crt --cert $p/healthcheck-client.crt --key $p/healthcheck-client.key --command-timeout=8s endpoint status --cluster -w json 2>/dev/null)"
