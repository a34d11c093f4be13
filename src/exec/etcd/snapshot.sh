# A snapshot of the etcd on this control plane as $1/snapshot.db, for root's eyes only, proved with etcd's own tool. Prints
# what `snapshot status` says as one line of JSON, then size and sha256.
export PATH=$PATH:/usr/local/bin ETCDCTL_API=3
d=$1 p=/etc/kubernetes/pki/etcd
umask 077
# Before anything is written: without it no snapshot can be proved.
util version >/dev/null || exit
rm -rf -- "$d" && mkdir -p -- "$d" || exit 1
needed=$(stat -c %s /var/lib/etcd/member/snap/db 2>/dev/null || echo 0)
room=$(($(df -Pk -- "$d" | tail -n 1 | tr -s ' ' | cut -d' ' -f4) * 1024))
if [ "$room" -lt $((needed * 2)) ]; then
    echo "$room bytes are free below $d; twice the $needed bytes of etcd's database are wanted" >&2; exit 28
fi
etcdctl --endpoints https://127.0.0.1:2379 --cacert $p/ca.crt --cert $p/healthcheck-client.crt --key $p/healthcheck-client.key \
    snapshot save "$d/snapshot.db" >&2 || exit 1
status=$(util snapshot status "$d/snapshot.db" -w json) || exit 1
printf '%s\n' "$status" | tail -n 1
stat -c %s -- "$d/snapshot.db" && sha256sum <"$d/snapshot.db" | cut -c1-64
