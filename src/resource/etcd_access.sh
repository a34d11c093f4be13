# Sets $a to the arguments by which this host reaches etcd: a control plane of an external etcd that provision built, a
# host of that etcd, or a control plane with a member of its own.
export PATH=$PATH:/usr/local/bin ETCDCTL_API=3
c=/etc/provision/etcd-client m=/etc/provision/etcd p=/etc/kubernetes/pki/etcd
if [ -s $c/endpoints ]; then
    a="--endpoints $(cat $c/endpoints) --cacert $c/ca.crt --cert $c/apiserver-etcd-client.crt --key $c/apiserver-etcd-client.key"
elif [ -s $m/server.crt ]; then
    a="--endpoints https://127.0.0.1:2379 --cacert $m/ca.crt --cert $m/server.crt --key $m/server.key"
else
    a="--endpoints https://127.0.0.1:2379 --cacert $p/ca.crt --cert $p/healthcheck-client.crt --key $p/healthcheck-client.key"
fi
