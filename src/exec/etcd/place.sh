# apply:etcd-place
# Puts the data that was made in $1 where etcd will look for it.
umask 077
[ ! -e /var/lib/etcd/member ] || { echo "there is a /var/lib/etcd/member" >&2; exit 1; }
mkdir -p /var/lib/etcd && chmod 700 /var/lib/etcd && mv -- "$1/data/member" /var/lib/etcd/member && rm -rf -- "$1"
