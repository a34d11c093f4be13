# util ARGUMENTS...: what is done with the file of a snapshot. etcd 3.6 moved it from etcdctl to etcdutl, and an etcdctl that
# lacks a command prints its help and exits with 0.
util() {
    if command -v etcdutl >/dev/null 2>&1; then etcdutl "$@"; return; fi
    v=$(etcdctl version 2>/dev/null | sed -n 's/^etcdctl version: //p')
    case $v in 3.[0-5].*) etcdctl "$@"; return ;; esac
    echo "etcdutl is not installed, and etcdctl ${v:-of an unknown version} does not check or restore snapshots" >&2
    return 69
}
