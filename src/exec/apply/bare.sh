# apply:bare
# Takes away all that provision put on this host. Runs after reset.sh. $1 units, $2 files, $3 directories (white space
# between names; none of ours has any in it).
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
for u in $1; do systemctl disable --now "$u" >/dev/null 2>&1; done
# containerd's shims outlive it by design.
for p in $(ps -eo pid=,comm= | grep ' containerd-shim' | sed 's/^ *//' | cut -d' ' -f1); do kill -9 "$p" 2>/dev/null; done
sleep 0.3
grep -oE ' (/run/containerd|/var/lib/containerd|/var/lib/kubelet)/[^ ]*' /proc/mounts | sort -r | while read -r m; do umount -l "$m" 2>/dev/null; done
for i in cni0 kube-ipvs0 nodelocaldns; do ip link del "$i" 2>/dev/null; done
for i in $(ip -o link show type veth 2>/dev/null | grep -o 'veth[0-9a-f]*@' | tr -d @); do ip link del "$i" 2>/dev/null; done
# Rules and chains of kube-proxy, the kubelet and the CNI plugins only; everything else stays as it is.
for t in iptables ip6tables; do
    for v in $t $t-legacy; do
        command -v "$v-save" >/dev/null 2>&1 || continue
        saved=$("$v-save" 2>/dev/null) || continue
        printf '%s\n' "$saved" | grep -qE '(:| )(KUBE-|CNI-)' || continue
        # In restore's input a chain is made empty when it is named, so name only what shall be flushed, then delete.
        for table in $(printf '%s\n' "$saved" | sed -n 's/^\*//p'); do
            rules=$(printf '%s\n' "$saved" | sed -n "/^\*$table\$/,/^COMMIT/p")
            printf '%s\n' "$rules" | grep -E '^-A ' | grep -vE '^-A (KUBE-|CNI-)' | grep -E '(-j|-g) (KUBE-|CNI-)' | sed 's/^-A/-D/' |
                while read -r r; do eval "$v -w -t $table $r" 2>/dev/null; done
            chains=$(printf '%s\n' "$rules" | grep -oE '^:(KUBE-|CNI-)[^ ]*' | tr -d :)
            for c in $chains; do $v -w -t "$table" -F "$c" 2>/dev/null; done
            for c in $chains; do $v -w -t "$table" -X "$c" 2>/dev/null; done
        done
    done
done
if [ -s /var/lib/provision/sysctl.before ]; then
    while IFS='=' read -r k v; do printf %s "$v" >"/proc/sys/$(printf %s "$k" | tr . /)" 2>/dev/null; done </var/lib/provision/sysctl.before
fi
[ -e /etc/fstab.provision-before ] && mv -f /etc/fstab.provision-before /etc/fstab && swapon -a 2>/dev/null
if grep -q '^# BEGIN provision' /etc/hosts; then
    sed '/^# BEGIN provision/,/^# END provision/d' /etc/hosts >/etc/hosts.provision-partial &&
        chmod --reference=/etc/hosts /etc/hosts.provision-partial && mv -f /etc/hosts.provision-partial /etc/hosts
fi
# Only what provision itself left when it was killed in the middle of an installation.
grep -qs '^# provision' /usr/sbin/policy-rc.d && rm -f /usr/sbin/policy-rc.d
rm -f /var/lib/apt/lists/*_var_lib_provision_repo_deb_*
for f in $2; do rm -f -- "$f"; done
for f in /etc/containerd/certs.d/*/hosts.toml; do
    head -n 1 "$f" 2>/dev/null | grep -q '^# Written by provision' && rm -f -- "$f" && rmdir "${f%/*}" 2>/dev/null
done
for d in $3; do rm -rf -- "$d"; done
# Directories that others may use too go only when nothing is left in them.
for d in /etc/systemd/system/kubelet.service.d /etc/kubernetes/manifests /etc/kubernetes /etc/cni/net.d /etc/cni /opt/cni/bin /opt/cni \
    /etc/containerd/certs.d /etc/containerd /etc/modules-load.d /etc/provision /opt/containerd/bin /opt/containerd/lib \
    /opt/containerd /usr/libexec/kubernetes/kubelet-plugins/volume/exec /usr/libexec/kubernetes/kubelet-plugins/volume \
    /usr/libexec/kubernetes/kubelet-plugins /usr/libexec/kubernetes /lib/modules /run/netns; do rmdir "$d" 2>/dev/null; done
systemctl daemon-reload
systemctl reset-failed >/dev/null 2>&1
exit 0
