# Whether there is a whole snapshot of etcd at $1, taken within the last hour: 0 when there is. etcdctl ends a snapshot
# with the sha256 of what is before it, which tells as much as `snapshot status`, and that is gone from etcdctl 3.6.
[ -n "$(find "$1" -type f -mmin -60 -size +0 2>/dev/null)" ] || exit 1
[ "$(head -c -32 "$1" | sha256sum | cut -d' ' -f1)" = "$(tail -c 32 "$1" | od -An -v -tx1 | tr -d ' \n')" ]
