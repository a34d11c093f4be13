# Which etcd answers at the endpoints of an etcd that is not ours: prints endpoint=version lines. $1 CA, $2 certificate, $3 key
# (paths on this host), then the endpoints. Nothing is printed for one that does not answer or where no client is at hand.
export PATH=$PATH:/usr/local/bin
ca=$1 cert=$2 key=$3
shift 3
for e in "$@"; do
    if command -v curl >/dev/null; then
        v=$(curl -sS --max-time 5 --cacert "$ca" --cert "$cert" --key "$key" "$e/version" 2>/dev/null |
            head -c 4096 | grep -oE '"etcdserver" *: *"[0-9A-Za-z.+-]{1,40}"' | cut -d'"' -f4)
    elif command -v etcdctl >/dev/null; then
        v=$(ETCDCTL_API=3 etcdctl --cacert "$ca" --cert "$cert" --key "$key" --endpoints "$e" --command-timeout 5s \
            endpoint status -w json 2>/dev/null | head -c 65536 | grep -oE '"version" *: *"[0-9A-Za-z.+-]{1,40}"' | head -n 1 | cut -d'"' -f4)
    else
        v=
    fi
    [ -z "$v" ] || echo "$e=$v"
done
exit 0
