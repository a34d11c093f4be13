# The members of the stacked etcd as this control plane sees them, and their health: two JSON documents, one a line.
export PATH=$PATH:/usr/local/bin ETCDCTL_API=3
p=/etc/kubernetes/pki/etcd
e="etcdctl --endpoints https://127.0.0.1:2379 --cacert $p/ca.crt --cert $p/healthcheck-client.crt --key $p/healthcheck-client.key --command-timeout=8s"
$e member list -w json || exit 1
$e endpoint health --cluster -w json || true
