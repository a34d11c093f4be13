# Tells whether this host is a member of a cluster, of which, and how whole. Prints key=value lines.
export PATH=$PATH:/usr/local/bin
yes_no() { if "$@"; then echo yes; else echo no; fi; }
echo "kubelet_conf=$(yes_no test -s /etc/kubernetes/kubelet.conf)"
echo "bootstrap_conf=$(yes_no test -s /etc/kubernetes/bootstrap-kubelet.conf)"
echo "admin_conf=$(yes_no test -s /etc/kubernetes/admin.conf)"
echo "etcd_data=$(yes_no test -d /var/lib/etcd/member)"
manifests=
for c in etcd kube-apiserver kube-controller-manager kube-scheduler; do
    [ -s "/etc/kubernetes/manifests/$c.yaml" ] && manifests="$manifests$c,"
done
echo "manifests=$manifests"
if [ -s /etc/kubernetes/pki/ca.crt ]; then echo "ca=$(base64 </etc/kubernetes/pki/ca.crt | tr -d '\n')"; fi
for d in /etc/kubernetes/pki/rotation-*; do
    if [ -d "$d" ]; then echo "rotation=${d##*/rotation-}"; fi
done
[ -s /etc/provision/cluster ] && echo "claim=$(cat /etc/provision/cluster)"
echo "joined=$(yes_no test -s /etc/provision/joined)"
for u in provision-kubeadm-init provision-kubeadm-join; do
    case $(systemctl is-active "$u.service" 2>/dev/null) in active | activating) echo "running=$u" ;; esac
done
if [ -s /etc/kubernetes/kubelet.conf ] && command -v kubectl >/dev/null; then
    if out=$(kubectl --kubeconfig /etc/kubernetes/kubelet.conf --request-timeout=8s get node "$1" -o 'jsonpath={.metadata.labels}' 2>&1); then
        echo node=yes
        case $out in *node-role.kubernetes.io/control-plane* | *node-role.kubernetes.io/master*) echo role=control-plane ;; esac
    else
        case $out in *NotFound* | *"not found"*) echo node=no ;; *) echo node=unknown ;; esac
    fi
fi
