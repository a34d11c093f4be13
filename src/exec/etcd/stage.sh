# Makes etcd's data out of the snapshot $1/snapshot.db, for an etcd whose only member is $2 with peer URL $3, in $1/data.
# $4 the snapshot's sha256. Nothing that runs is touched.
export PATH=$PATH:/usr/local/bin ETCDCTL_API=3
d=$1
umask 077
util version >/dev/null || exit
[ "$(sha256sum <"$d/snapshot.db" | cut -c1-64)" = "$4" ] || { echo "the snapshot changed on its way here" >&2; exit 65; }
# Watchers must not take the past for the present: where etcd can, it goes on with revisions that nobody has seen.
bump=
util snapshot restore --help 2>&1 | grep -q -- --bump-revision && bump="--bump-revision 1000000000 --mark-compacted"
rm -rf -- "$d/data"
util snapshot restore "$d/snapshot.db" --name "$2" --initial-cluster "$2=$3" --initial-advertise-peer-urls "$3" \
    --initial-cluster-token "provision-$(date +%s)" --data-dir "$d/data" $bump >&2 || exit 1
[ -d "$d/data/member" ]
