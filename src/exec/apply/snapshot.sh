# Saves etcd's data to $1 through the member on this host: beside its place first, renamed when it is whole.
export PATH=$PATH:/usr/local/bin ETCDCTL_API=3
p=/etc/kubernetes/pki/etcd
umask 077
mkdir -p "$(dirname "$1")" && rm -f "$1.partial" "$1.partial.part" || exit 1
etcdctl --endpoints https://127.0.0.1:2379 --cacert $p/ca.crt --cert $p/healthcheck-client.crt --key $p/healthcheck-client.key snapshot save "$1.partial" >/dev/null || exit 1
[ "$(head -c -32 "$1.partial" | sha256sum | cut -d' ' -f1)" = "$(tail -c 32 "$1.partial" | od -An -v -tx1 | tr -d ' \n')" ] || {
    rm -f "$1.partial"; echo "the snapshot's own checksum does not match" >&2; exit 1; }
sync "$1.partial" && mv -f "$1.partial" "$1"
