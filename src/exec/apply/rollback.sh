# Puts a node back to what the list $2 names out of the content store ($1), and starts the kubelet of it; before that
# containerd, when that is in the list. Prints the kubelet's version.
[ -s "$2" ] || { echo "there is no $2: nothing was kept of the version before" >&2; exit 1; }
# All of it is there and whole, or nothing is touched.
while read -r h _ f; do
    [ "$(sha256 "$1/$h" 2>/dev/null)" = "$h" ] || { echo "$f of the version before is damaged or missing in the node's store" >&2; exit 1; }
done <"$2"
rm -f /var/lib/provision/upgrade/kubeadm
systemctl stop kubelet
while read -r h m f; do
    cp -- "$1/$h" "$f.provision-partial" && chown 0:0 "$f.provision-partial" && chmod "$m" "$f.provision-partial" &&
        sync "$f.provision-partial" && mv -f "$f.provision-partial" "$f" || exit 1
done <"$2"
systemctl daemon-reload
if grep -q ' /usr/local/bin/containerd$' "$2"; then
    systemctl reset-failed containerd 2>/dev/null
    systemctl restart containerd || { journalctl --no-pager -n 8 -u containerd >&2 2>/dev/null; exit 1; }
fi
systemctl reset-failed kubelet 2>/dev/null
systemctl start kubelet && /usr/local/bin/kubelet --version | { read -r _ v && echo "$v"; }
