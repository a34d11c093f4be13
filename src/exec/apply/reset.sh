# apply:clear
# Clears what kubeadm made on this host. Ours (containerd, binaries, unit files) stays. Safe to run on a bare host.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
systemctl stop provision-kubeadm-init.service provision-kubeadm-join.service 2>/dev/null
systemctl stop kubelet.service 2>/dev/null
rm -f /run/provision/provision-kubeadm-*
# Our own static pods stay on disk but must not come back before kubeadm starts the kubelet again.
if command -v ctr >/dev/null 2>&1 && timeout 10 ctr -n k8s.io version >/dev/null 2>&1; then
    for i in 1 2 3; do
        tasks=$(ctr -n k8s.io tasks ls -q 2>/dev/null)
        [ -z "$tasks" ] && break
        for t in $tasks; do timeout 10 ctr -n k8s.io tasks kill -s KILL "$t" >/dev/null 2>&1; done
        sleep 0.5
        for t in $tasks; do timeout 10 ctr -n k8s.io tasks rm -f "$t" >/dev/null 2>&1; done
    done
    for c in $(ctr -n k8s.io containers ls -q 2>/dev/null); do timeout 10 ctr -n k8s.io containers rm "$c" >/dev/null 2>&1; done
    for s in $(ctr -n k8s.io snapshots ls 2>/dev/null | tail -n +2 | grep ' Active ' | cut -d' ' -f1); do ctr -n k8s.io snapshots rm "$s" >/dev/null 2>&1; done
    # Its part for Kubernetes keeps a list of its own, and would tell the next kubelet of containers that are no more: their
    # pods could never be ended.
    systemctl -q is-active containerd && systemctl restart containerd
    for i in $(seq 20); do timeout 10 ctr -n k8s.io version >/dev/null 2>&1 && break; sleep 0.5; done
fi
grep -oE ' /var/lib/kubelet(/[^ ]*)? ' /proc/mounts | sort -r | while read -r m; do umount -l "$m" 2>/dev/null; done
grep -o ' /run/netns/cni-[^ ]*' /proc/mounts | sort -r | while read -r m; do umount -l "$m" 2>/dev/null; rm -f "$m"; done
for m in etcd kube-apiserver kube-controller-manager kube-scheduler; do rm -f "/etc/kubernetes/manifests/$m.yaml"; done
rm -f /etc/kubernetes/*.conf
rm -rf /etc/kubernetes/pki /etc/kubernetes/tmp /var/lib/etcd /var/lib/cni/networks /var/lib/cni/results /var/lib/cni/cache
rm -rf /var/lib/kubelet /var/log/pods /var/log/containers
rm -f /etc/provision/joined
ip link del cni0 2>/dev/null
exit 0
