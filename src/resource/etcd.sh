# The members of etcd as this host sees them, and their health: two JSON documents, one a line.
e="etcdctl $a --command-timeout=8s"
$e member list -w json || exit 1
$e endpoint health --cluster -w json || true
