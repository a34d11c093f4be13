# apply:etcd-set-aside
# What etcd and kubeadm have on this control plane goes to $1, for root's eyes only, before it starts anew. On a bare host
# there is nothing to keep.
umask 077
systemctl stop provision-kubeadm-init.service provision-kubeadm-join.service kubelet.service 2>/dev/null
# The directory may be a mount of its own.
if [ -e /var/lib/etcd/member ]; then mkdir -p -- "$1/etcd" && mv -- /var/lib/etcd/member "$1/etcd/member" || exit 1; fi
if [ -e /etc/kubernetes/pki ]; then mkdir -p -- "$1" && mv -- /etc/kubernetes/pki "$1/pki" || exit 1; fi
exit 0
