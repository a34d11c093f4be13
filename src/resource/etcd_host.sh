# What of an etcd member run as a unit is on this host.
yes_no() { if "$@"; then echo yes; else echo no; fi; }
echo "data=$(yes_no test -d /var/lib/provision-etcd/member)"
echo "formed=$(yes_no test -e /etc/provision/etcd/formed)"
echo "unit=$(yes_no test -e /etc/systemd/system/provision-etcd.service)"
echo "active=$(yes_no systemctl is-active --quiet provision-etcd.service)"
v=$(timeout 5 /usr/local/bin/etcd --version 2>/dev/null | sed -n 's/^etcd Version: *\([0-9A-Za-z.+-]\{1,40\}\)$/\1/p')
[ -z "$v" ] || echo "version=$v"
sed -n 's/^ETCD_INITIAL_CLUSTER_STATE=/initial=/p' /etc/provision/etcd/initial.env 2>/dev/null
exit 0
