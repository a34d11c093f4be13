# What of an etcd member run as a unit is on this host.
yes_no() { if "$@"; then echo yes; else echo no; fi; }
echo "data=$(yes_no test -d /var/lib/provision-etcd/member)"
echo "formed=$(yes_no test -e /etc/provision/etcd/formed)"
echo "unit=$(yes_no test -e /etc/systemd/system/provision-etcd.service)"
echo "active=$(yes_no systemctl is-active --quiet provision-etcd.service)"
sed -n 's/^ETCD_INITIAL_CLUSTER_STATE=/initial=/p' /etc/provision/etcd/initial.env 2>/dev/null
exit 0
